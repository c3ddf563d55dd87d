"""Any Segment SDK, or any program that can post JSON."""

from __future__ import annotations

from headrace.sources.base import SourceKind


class HttpApi(SourceKind):
    title = "HTTP API"
    summary = "Events from any Segment SDK (Python, Node, browser, Ruby, PHP, Go, ...) or by plain HTTP."
    docs_url = "https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/"
    maintainer = "headrace"
    also_known_as = ("Segment", "Analytics.js", "SDK", "server", "RudderStack", "Jitsu")
    setup = ("Set the SDK's host to this server and its write key to the one shown.",)
