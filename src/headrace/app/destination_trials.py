"""Test events: a destination of a data folder, as it is set up now, tried with one event. Works beside a running server and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from headrace.app.destination_checks import place_of
from headrace.collector import accept
from headrace.delivery import preparing
from headrace.delivery.addresses import AllowedNetworks
from headrace.delivery.examples import EXAMPLES
from headrace.delivery.http import HttpClient
from headrace.delivery.trying import Step, Trial, TrialOrder, Tried, tried
from headrace.destinations import base
from headrace.destinations.base import DestinationKind
from headrace.errors import ConfigError, NotFoundError
from headrace.event import Event
from headrace.sources import base as sources
from headrace.workspace import destinations as of_workspace
from headrace.workspace.secret_settings import without_secrets

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.workspace.records import Destination, Source
    from headrace.workspace.workspace import Workspace


UNSAVED: Final = "unsaved"
"""Stands for the slug of a destination that is not there yet."""


def try_out(config: Config, workspace: Workspace, slug: str, order: TrialOrder) -> Tried:
    """Blocks until the tool has answered. Raises ConfigError for settings that cannot work and an event that the collector would refuse, and
    NotFoundError."""
    record = workspace.destination(slug)
    if record.removed_at is not None:
        raise NotFoundError(f"destination: {slug} was removed; see: headrace destination list")
    return try_settings(config, workspace, record, workspace.revealed_destination_settings(slug), order)


def try_settings(
    config: Config, workspace: Workspace, record: Destination, settings: Mapping[str, Any], order: TrialOrder
) -> Tried:
    """As `try_out`, with settings in clear that may not be saved yet."""
    secrets = of_workspace.secrets_of(record.kind, settings)

    def mask(text: str) -> str:
        return without_secrets(text, secrets)

    try:
        kind = base.configured(record.kind, settings, place_of(config, record.slug))
        preparation = preparing.checked(kind)
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{mask(str(error))}; mend it: headrace destination set {record.slug} KEY=VALUE") from None
    source = _source(workspace, record, order.source)
    event = _event(order, kind, source)
    trial = Trial(kind, record.kind, preparation, event, mask, _first_steps(record, source))
    return asyncio.run(_tried(config, trial, is_dry=order.dry_run))


async def _tried(config: Config, trial: Trial, *, is_dry: bool) -> Tried:
    http = HttpClient(
        AllowedNetworks(config.allowed_networks),
        connect_seconds=config.delivery.connect_timeout_seconds,
        request_seconds=config.delivery.request_timeout_seconds,
        connections=trial.kind.settings.concurrency,
    )
    try:
        return await tried(trial, http, is_dry=is_dry)
    finally:
        await http.close()


def _source(workspace: Workspace, record: Destination, wanted: str | None) -> Source | None:
    """An enabled one that is connected, if there is any. Raises NotFoundError."""
    if wanted is not None:
        return workspace.source(wanted)
    connected = [source for source in workspace.sources(include_removed=True) if source.slug in record.sources]
    usual = [source for source in connected if source.enabled and source.removed_at is None]
    return next(iter((*usual, *connected)), None)


def _first_steps(record: Destination, source: Source | None) -> Sequence[Step]:
    found: list[Step] = []
    if record.disabled is not None:
        found.append(
            Step("destination", "note", f"switched off by headrace: {record.disabled}; a test is sent all the same")
        )
    elif record.paused:
        found.append(Step("destination", "note", "paused: events wait; a test is sent all the same"))
    connect = f"headrace destination connect {record.slug} --source"
    if source is None and record.slug == UNSAVED:
        return [*found, Step("source", "note", "none is chosen, so nothing would be sent but this test")]
    if source is None:
        return [*found, Step("source", "note", f"none is connected, so nothing is sent but this test; {connect} SLUG")]
    if source.removed_at is not None:
        text = f"{source.slug} was removed, so none of its events come; {connect} SLUG"
        return [*found, Step("source", "stopped", text)]
    if not source.enabled:
        text = f"{source.slug} is disabled, so the collector refuses its events; headrace source enable {source.slug}"
        return [*found, Step("source", "stopped", text)]
    if source.slug not in record.sources:
        text = f"{source.slug} is not connected, so its events are not sent; {connect} {source.slug}"
        return [*found, Step("source", "stopped", text)]
    return [*found, Step("source", "passed", f"{source.slug} is enabled and connected")]


def _event(order: TrialOrder, kind: DestinationKind, source: Source | None) -> Event:
    """As the collector accepts it of that source. Raises ConfigError and NotFoundError."""
    if order.event is not None:
        if order.sample is not None:
            raise ConfigError("test event: give an event or the name of an example, not both")
        return _accepted(order.event, source)
    if order.sample is not None:
        if order.sample not in EXAMPLES:
            raise NotFoundError(
                f"test event: there is no example {order.sample[:100]!r}; there are {', '.join(EXAMPLES)}"
            )
        return _accepted(EXAMPLES[order.sample], source)
    of_its_types = [example for example in EXAMPLES.values() if example["type"] in kind.types]
    taken = (example for example in of_its_types if kind.declines(_accepted(example, source)) is None)
    return _accepted(next(taken, of_its_types[0]), source)


def _accepted(sent: Mapping[str, Any], source: Source | None) -> Event:
    now = datetime.now(UTC)
    usual = {
        "messageId": f"headrace-test-{uuid4().hex[:16]}",
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    of_source = (
        sources.configured(source.kind, source.slug, source.settings)
        if source is not None
        else sources.configured("http-api", "test", {})
    )
    raw = msgspec.json.encode({**usual, **sent})
    found = accept.single(raw, None, of_source, now, accept.Origin(), dry=True)
    if not found.events:
        refusal = found.refusals[0]
        raise ConfigError(
            f"test event: the collector refuses it, {refusal.code}: {refusal.message}; correct it and test again"
        )
    return found.events[0]
