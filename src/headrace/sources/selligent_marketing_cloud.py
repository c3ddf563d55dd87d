"""Selligent Marketing Cloud: six e-mail events by server-side track calls."""

from __future__ import annotations

from headrace.sources._email import EmailSource


class SelligentMarketingCloud(EmailSource):
    title = "Selligent Marketing Cloud"
    summary = "E-mail deliveries, opens, clicks, unsubscribes, bounces and spam reports of Selligent Marketing Cloud."
    docs_url = "https://segment.com/docs/connections/sources/catalog/cloud-apps/selligent-marketing-cloud/"
    maintainer = "Selligent (the sending side)"
    also_known_as = ("Marigold Engage", "Selligent by Zeta", "SMC", "Selligent")
