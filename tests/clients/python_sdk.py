"""Sends every call that Segment's Python SDK offers: python_sdk.py HOST WRITE_KEY PREFIX [gzip].

Prints the events as JSON lines, as it meant them. Ends with 1 when the SDK reported an error.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from segment.analytics import Client

errors: list[str] = []
meant: list[dict[str, Any]] = []


def main(host: str, write_key: str, prefix: str, *options: str) -> int:
    client = Client(
        write_key,
        host=host,
        gzip="gzip" in options,
        max_retries=5,
        upload_interval=0.2,
        on_error=lambda error, _items: errors.append(repr(error)),
    )
    happened = datetime(2026, 8, 3, 9, 41, 7, 123000, tzinfo=UTC)
    properties = {
        "Total": 14.99,
        "count": 3,
        "machine_open": True,
        "subject": "Ça va? ☕",
        "nested": {"Deep Key": [1, "two"]},
    }
    context = {"ip": "198.51.100.23", "campaign": {"name": "spring"}, "traits": {"email": "ada@example.com"}}

    def call(kind: str, **arguments: Any) -> None:
        message_id = f"{prefix}-{kind}"
        getattr(client, kind)(message_id=message_id, timestamp=happened, context=dict(context), **arguments)
        names = {"user_id": "userId", "anonymous_id": "anonymousId", "group_id": "groupId", "previous_id": "previousId"}
        said = {names.get(name, name): value for name, value in arguments.items()}
        meant.append(
            said | {"type": kind, "messageId": message_id, "timestamp": happened.isoformat(), "context": context}
        )

    call("track", user_id="ada", event="Email Opened", properties=properties)
    call("identify", user_id="ada", traits={"email": "ada@example.com", "Plan": "pro", "logins": 7})
    call("page", user_id="ada", name="Pricing", properties={"url": "https://example.com/?q=1", "title": "T"})
    call("screen", anonymous_id="anon-1", name="Home", properties={"Dark Mode": False})
    call("group", user_id="ada", group_id="initech", traits={"name": "Initech", "employees": 329})
    call("alias", user_id="ada", previous_id="anon-1")
    client.flush()
    client.join()
    sys.stdout.writelines(json.dumps(event) + "\n" for event in meant)
    sys.stderr.writelines(f"{error}\n" for error in errors)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
