"""A simulated month on its way: each event to the source that would send it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, Final

import msgspec

from headrace.simulator.orders import is_of_shop
from headrace.simulator.sender import Sender, Totals

DEMO_CAMPAIGNS: Final = 4
DEMO_SEED: Final = 1


def send_each(events: Iterable[dict[str, Any]], mail: Sender, shop: Sender | None = None) -> None:
    """What is the shop's goes to its sender if there is one, all else to Selligent's. Raises as `Sender.add` does."""
    for event in events:
        sender = shop if shop is not None and is_of_shop(event) else mail
        sender.add(msgspec.json.encode(event))


def send_month(
    url: str, mail_key: str, shop_key: str, events: Iterable[dict[str, Any]], progress: Callable[[int], object]
) -> Totals:
    """Sends all and waits for the answers; what became of the events of both sources. Raises ConfigError, as `Sender.add` does, and
    whatever `events` raises: then it stops sending at once."""
    senders = [Sender(url, key, progress=progress) for key in (mail_key, shop_key)]
    with ExitStack() as stack:
        for sender in senders:
            stack.enter_context(sender)
        send_each(events, *senders)
    return merged(sender.totals for sender in senders)


def merged(parts: Iterable[Totals]) -> Totals:
    """The totals of several senders as one."""
    whole = Totals()
    for part in parts:
        for name in ("read", "unreadable", "sent", "accepted", "rejected", "retried"):
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        whole.by_name.update(part.by_name)
        for problem in part.problems:
            whole.add_problem(problem)
        whole.stopped = whole.stopped or part.stopped
    return whole
