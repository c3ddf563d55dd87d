"""Writes each event's id to the file that the environment names; for docs/destinations/python.md and its tests."""

import json
import os
from pathlib import Path
from typing import Any

TAKEN = Path(os.environ["TAKEN_FILE"])


class Retry(Exception):  # noqa: N818 -- the name is what headrace goes by
    """The same may succeed later."""

    def __init__(self, reason: str, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class Reject(Exception):  # noqa: N818 -- as above
    """The tool will never take it."""


def send(event: dict[str, Any]) -> None:
    properties = event.get("properties", {})
    if "wait" in properties:
        raise Retry("the shop is closed", properties["wait"])
    if "refuse" in properties:
        raise Reject("the shop does not sell that")
    with TAKEN.open("a") as file:
        file.write(json.dumps([event["messageId"], event["type"], event.get("userId")]) + "\n")


async def send_batch(events: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    answers: list[dict[str, Any] | None] = []
    for event in events:
        try:
            send(event)
        except Retry as error:
            answers.append({"retry": str(error), "after_seconds": error.after_seconds})
        except Reject as error:
            answers.append({"reject": str(error)})
        else:
            answers.append(None)
    return answers
