"""A simulated list, its mails and its shop in a warehouse, loaded as a server loads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from headrace.collector import accept, incoming
from headrace.collector.accept import Origin
from headrace.config import LoaderConfig
from headrace.event import LogEntry, decode_lines, join_lines
from headrace.loader.loader import Loader
from headrace.reports.model.model import EmailModel
from headrace.reports.model.settings import LabelRule, ModelSettings
from headrace.reports.place import MailSource
from headrace.simulator.orders import is_of_shop
from headrace.simulator.realism import Realism
from headrace.simulator.simulation import simulate
from headrace.sources import base
from headrace.warehouses.base import Deriving, Warehouse
from headrace.workspace.records import Source
from list_log import ListLog

END: Final = datetime(2026, 11, 8, 12, tzinfo=UTC)
SOURCES: Final = {
    slug: Source(slug, kind, slug.title(), slug, True, END - timedelta(days=90))
    for slug, kind in (("selligent", "selligent-marketing-cloud"), ("shop", "http-api"))
}
ORIGIN: Final = Origin("203.0.113.7")


def entries(
    recipients: int, campaigns: int, realism: Realism, seed: int = 1, end: datetime = END
) -> Iterator[LogEntry]:
    """Each event is received when it was sent."""
    kinds = {slug: base.configured(source.kind, slug, {}) for slug, source in SOURCES.items()}
    for event in simulate(recipients, campaigns, seed, end, realism):
        slug = "shop" if is_of_shop(event) else "selligent"
        body = json.dumps({"batch": [event]}).encode()
        accepted = accept.batched(incoming.batch(body), kinds[slug], _sent_at(event), ORIGIN)
        yield from decode_lines(join_lines(accepted.lines))


def _sent_at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event.get("sentAt") or event["timestamp"])


def loaded(
    warehouse: Warehouse, log: list[LogEntry], after: Callable[[], None] = lambda: None, load_events: int = 2_000
) -> None:
    """`after` is called after each load."""
    held = ListLog()
    held.append(log)
    config = LoaderConfig(load_events=load_events)
    loader = Loader("warehouse", [held], warehouse, lambda: SOURCES, config, now=lambda: END + timedelta(hours=1))
    while loader.step() is not None:
        after()


MODEL: Final = ModelSettings(
    labels=[
        LabelRule(set="type", label="journey", pattern="Journey_*"),
        LabelRule(set="type", label="sale", pattern="*sale*"),
        LabelRule(set="type", label="newsletter", pattern="*"),
    ]
)
MAIL_SOURCES: Final = (MailSource("selligent", "selligent", is_email=True), MailSource("shop", "shop", is_email=False))


def modelled(warehouse: Warehouse, settings: ModelSettings = MODEL) -> None:
    """Brings the schema `email` up to date."""
    assert isinstance(warehouse, Deriving)
    model = EmailModel(warehouse, MAIL_SOURCES, settings)
    while model.advance(warehouse.tables()):
        pass
