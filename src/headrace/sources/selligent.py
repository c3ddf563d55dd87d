"""Selligent's older product, Message Studio: the same six events."""

from __future__ import annotations

from headrace.sources._email import EmailSource


class Selligent(EmailSource):
    title = "Selligent"
    summary = "E-mail events of Selligent Message Studio, the older product."
    docs_url = "https://segment.com/docs/connections/sources/catalog/cloud-apps/selligent/"
    maintainer = "Selligent (the sending side)"
    also_known_as = ("Message Studio", "StrongView")
    deprecated = "Selligent Marketing Cloud"
