"""What a person copies to send a first event: curl, Segment's SDKs, plain HTTP. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from headrace.sources.base import SourceKind

PLACEHOLDER: Final = "WRITE_KEY"
"""Stands for a key that is not known any more: keys are shown once."""
Language = Literal["curl", "python", "node", "browser", "http"]

_EMAIL: Final[Mapping[str, Any]] = {
    "event": "Email Delivered",
    "properties": {
        "email_id": "welcome-1",
        "email_subject": "Welcome",
        "campaign_id": "test",
        "campaign_name": "Test of the source",
    },
    "context": {"traits": {"email": "test@example.com"}},
}
_PLAIN: Final[Mapping[str, Any]] = {"event": "Order Completed", "properties": {"order_id": "test-1", "revenue": 49.9}}


class Snippet(msgspec.Struct, frozen=True):
    """`install` is the command that comes before, empty where nothing has to be installed."""

    language: Language
    title: str
    code: str
    install: str = ""


def snippets(kind: type[SourceKind] | None, url: str, write_key: str) -> Sequence[Snippet]:
    """`url` is the tracking API's, without a path."""
    example = _EMAIL if kind is not None and kind.handover is not None else _PLAIN
    return (
        Snippet("curl", "curl", _curl(example, url, write_key)),
        Snippet("python", "Python", _python(example, url, write_key), "pip install segment-analytics-python"),
        Snippet("node", "Node", _node(example, url, write_key), "npm install @segment/analytics-node"),
        Snippet("browser", "Browser", _browser(example, url, write_key), "npm install @segment/analytics-next"),
        Snippet("http", "HTTP", _http(example, url, write_key)),
    )


def _sent(example: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "track", "userId": "test-user", **example}


def _curl(example: Mapping[str, Any], url: str, write_key: str) -> str:
    body = json.dumps(_sent(example), indent=2)
    return f"curl -u {write_key}: {url}/v1/track \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"


def _python(example: Mapping[str, Any], url: str, write_key: str) -> str:
    context = f", context={json.dumps(example['context'])}" if "context" in example else ""
    return (
        "import segment.analytics as analytics\n\n"
        f'analytics.write_key = "{write_key}"\n'
        f'analytics.host = "{url}"\n\n'
        f'analytics.track("test-user", "{example["event"]}", {json.dumps(example["properties"], indent=4)}{context})\n'
        "analytics.flush()\n"
    )


def _node(example: Mapping[str, Any], url: str, write_key: str) -> str:
    given = json.dumps({"userId": "test-user", **example}, indent=2)
    return (
        "import { Analytics } from '@segment/analytics-node'\n\n"
        f"const analytics = new Analytics({{ writeKey: '{write_key}', host: '{url}' }})\n\n"
        f"analytics.track({given})\n"
        "await analytics.closeAndFlush()\n"
    )


def _browser(example: Mapping[str, Any], url: str, write_key: str) -> str:
    return (
        "import { AnalyticsBrowser } from '@segment/analytics-next'\n\n"
        f"const analytics = AnalyticsBrowser.load({{ writeKey: '{write_key}', cdnURL: '{url}' }})\n\n"
        f"analytics.track('{example['event']}', {json.dumps(example['properties'], indent=2)})\n"
    )


def _http(example: Mapping[str, Any], url: str, write_key: str) -> str:
    known = write_key != PLACEHOLDER
    proof = base64.b64encode(f"{write_key}:".encode()).decode() if known else 'BASE64("WRITE_KEY:")'
    return (
        "POST /v1/track HTTP/1.1\n"
        f"Host: {urlsplit(url).netloc}\n"
        f"Authorization: Basic {proof}\n"
        "Content-Type: application/json\n\n"
        f"{json.dumps(_sent(example), indent=2)}"
    )
