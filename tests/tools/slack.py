"""Slack's incoming webhooks and chat.postMessage, as documented.

Webhooks, `ok` and error words: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
Their statuses: https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks
chat.postMessage: https://docs.slack.dev/reference/methods/chat.postMessage
429 with Retry-After, one message a second: https://docs.slack.dev/apis/web-api/rate-limits
Longer texts are cut: https://api.slack.com/changelog/2018-04-truncating-really-long-messages; this one refuses them, so that a kind does it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from headrace.destinations.base import Answer, Request

WEBHOOK = "https://hooks.slack.com/services/T00000000/B00000000/made-up"
TOKEN = "xoxb-made-up"
CHANNEL = "C024BE91L"
MARKUP = re.compile(r"&(?!(?:amp|lt|gt);)|<(?![@#!]|https?://)")


class Tool:
    settings: ClassVar[Mapping[str, Any]] = {
        "webhook_url": WEBHOOK,
        "templates": {
            "Email Opened": "*Opened* <https://example.com/c/{properties.campaign_id}|campaign> by {userId ?? anonymousId}",
            "Nothing to say": "{properties.note}",
        },
    }
    wrong_key: ClassVar[Mapping[str, Any]] = {"webhook_url": WEBHOOK + "-no-longer"}
    events: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {
            "type": "track",
            "event": "Email Opened",
            "messageId": "t-1",
            "userId": "42 & <friends>",
            "properties": {"campaign_id": "spring"},
        },
        {"type": "track", "event": "Order Completed", "messageId": "t-2", "anonymousId": "tom@example.org"},
        {"type": "identify", "messageId": "i-1", "userId": "42", "traits": {"plan": "team"}},
        {"type": "page", "messageId": "p-1", "anonymousId": "a-1", "name": "Home"},
        {"type": "screen", "messageId": "s-1", "anonymousId": "a-1", "name": "Start"},
        {"type": "group", "messageId": "g-1", "userId": "42", "groupId": "acme"},
        {"type": "alias", "messageId": "l-1", "userId": "42", "previousId": "a-1"},
    )
    refused: ClassVar[Mapping[str, Any] | None] = {
        "type": "track",
        "event": "Nothing to say",
        "messageId": "bad-1",
        "userId": "42",
    }
    drops_repeats: ClassVar[bool] = False

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.limited = 0
        self.broken = 0

    def answer(self, request: Request) -> Answer:
        is_webhook = request.url.startswith("https://hooks.slack.com/")
        if self.limited:
            self.limited -= 1
            body = b"rate_limited" if is_webhook else b'{"ok": false, "error": "ratelimited"}'
            return Answer(429, {"retry-after": "30"}, body)
        if self.broken:
            self.broken -= 1
            return Answer(500, {}, b"rollup_error")
        word = self._posted(request, is_webhook=is_webhook)
        if is_webhook:
            status = {"ok": 200, "no_service": 404}.get(word, 400)
            return Answer(status, {"content-type": "text/html"}, word.encode())
        said = {"ok": True, "ts": "1503435956.000247"} if word == "ok" else {"ok": False, "error": word}
        return Answer(200, {"content-type": "application/json"}, json.dumps(said).encode())

    def _posted(self, request: Request, *, is_webhook: bool) -> str:
        """The word of the answer."""
        if is_webhook and request.url != WEBHOOK:
            return "no_service"
        if not is_webhook and request.url != "https://slack.com/api/chat.postMessage":
            return "unknown_method"
        if not is_webhook and request.headers.get("authorization") != f"Bearer {TOKEN}":
            return "invalid_auth"
        if request.method != "POST" or not request.headers.get("content-type", "").startswith("application/json"):
            return "invalid_payload"
        try:
            sent = json.loads(request.body)
        except ValueError:
            return "invalid_payload"
        if not is_webhook and sent.get("channel") != CHANNEL:
            return "channel_not_found"
        text = sent.get("text")
        if not isinstance(text, str) or not text.strip():
            return "no_text"
        if len(text) > 40_000:
            return "msg_too_long"
        if MARKUP.search(text):
            return "invalid_payload"
        self.taken += text.split("\n")
        return "ok"
