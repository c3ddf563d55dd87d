"""The loop of alerts: look, decide, keep, send.

`Alerts.step` is called by one thread every few seconds. It never waits for a channel: each sends in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

from headrace.alerts import channels, conditions, kept, lasting, sending
from headrace.alerts.base import Condition, DestinationFigures, Figures, Received, SourceFigures, WarehouseFigures
from headrace.alerts.channels import Outside
from headrace.alerts.kept import State, Waiting
from headrace.alerts.lasting import Lasting
from headrace.alerts.notices import Notice, Part
from headrace.destinations.base import Result
from headrace.errors import HeadraceError
from headrace.workspace.alerts import Alert, Channel, WorkspaceAlerts, hidden
from headrace.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 30.0
Start = Callable[[Callable[[], None]], None]


def in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="alert notice", daemon=True).start()


def kept_in(workspace: Workspace) -> WorkspaceAlerts:
    """The alerts and channels of a workspace."""
    return workspace.alerts(lambda slug: conditions.condition(slug).Settings, lambda slug: channels.kind(slug).Settings)


class Alerts:
    def __init__(
        self,
        workspace: WorkspaceAlerts,
        figures: Figures,
        outside: Outside,
        folder: Path,
        *,
        check_seconds: float = CHECK_SECONDS,
        start: Start = in_a_thread,
    ) -> None:
        """`folder` is the data folder, `start` runs what sends a notice. The clock is `outside.now`."""
        self._workspace = workspace
        self._figures = figures
        self._outside = outside
        self._folder = folder
        self._check = timedelta(seconds=check_seconds)
        self._start = start
        self._turn = threading.Lock()
        self._state = kept.begun(folder)
        self._written = State()
        self._busy: set[str] = set()
        self._revision = -1
        self._alerts: Sequence[Alert] = ()
        self._channels: Mapping[str, Channel] = {}
        self._checked_at: datetime | None = None

    @property
    def state(self) -> State:
        with self._turn:
            return self._state

    def step(self) -> None:
        """Take up what changed in the workspace, check what is due, and begin to send. Raises RetryableError and ConfigError of the
        workspace."""
        self._follow()
        now = self._outside.now()
        if self._checked_at is None or not self._checked_at <= now < self._checked_at + self._check:
            self._checked_at = now
            self._look(now)
        with self._turn:
            self._state, lost = sending.without_old(self._state, now)
            self._keep()
            going = [w for w in sending.due(self._state, self._busy, now) if w.channel in self._channels]
            self._busy |= {waiting.channel for waiting in going}
        for waiting in lost:
            logger.error("alerts: a notice to %s was given up: %s", waiting.channel, waiting.error)
        for waiting in going:
            self._start(partial(self._send, waiting, self._channels[waiting.channel]))

    def _follow(self) -> None:
        if self._workspace.revision() == self._revision:
            return
        revision, alerts, found = self._workspace.snapshot()
        self._revision, self._alerts, self._channels = revision, alerts, {channel.slug: channel for channel in found}
        self._checked_at = None
        watched = {alert.slug for alert in alerts if not alert.paused}
        with self._turn:
            state = sending.at_once(self._state, self._channels)
            by_alert = {alert: subjects for alert, subjects in state.lasting.items() if alert in watched}
            errors = {alert: error for alert, error in state.errors.items() if alert in watched}
            self._state = msgspec.structs.replace(state, lasting=by_alert, errors=errors)

    def _look(self, now: datetime) -> None:
        """One check of every alert. What goes wrong with one is shown with it, and holds up no other."""
        figures = _Once(self._figures)
        by_alert = dict(self.state.lasting)
        errors: dict[str, str] = {}
        parts: dict[str, list[Part]] = {}
        for alert in self._alerts:
            if alert.paused:
                continue
            try:
                condition = conditions.configured(alert.kind, alert.settings)
                by_alert[alert.slug], told = _checked(alert, condition, figures, by_alert.get(alert.slug, {}), now)
            except (HeadraceError, msgspec.ValidationError) as error:
                errors[alert.slug] = str(error)
            except Exception as error:
                logger.exception("alerts: %s cannot be checked", alert.slug)
                errors[alert.slug] = f"{type(error).__name__}: {error}"
            else:
                for channel in alert.channels:
                    parts.setdefault(channel, []).extend(told)
        new = [
            Waiting(Notice(f"alert_{uuid4().hex}", now, tuple(found)), channel)
            for channel, found in parts.items()
            if found and channel in self._channels
        ]
        with self._turn:
            self._state = msgspec.structs.replace(
                self._state, checked_at=now, lasting=by_alert, errors=errors, waiting=(*self._state.waiting, *new)
            )

    def _send(self, waiting: Waiting, channel: Channel) -> None:
        try:
            result, error = attempt(self._workspace, channel, waiting.notice, self._outside)
            if result.outcome != "delivered":
                logger.warning("alerts: %s did not take a notice, it is tried again: %s", channel.slug, error)
            with self._turn:
                self._state = sending.noted(self._state, waiting, result, error, self._outside.now())
                self._keep()
        except Exception:
            logger.exception("alerts: what became of a notice to %s cannot be kept", waiting.channel)
        finally:
            with self._turn:
                self._busy.discard(waiting.channel)

    def _keep(self) -> None:
        """Only called with the turn. Whatever is sent has been kept before; on a full disk it is sent all the same, since somebody must
        hear of it, and may come again after a restart."""
        shown = msgspec.structs.replace(self._state, checked_at=self._written.checked_at)
        if shown != self._written or _is_older(self._written.checked_at, self._state.checked_at):
            try:
                kept.write(self._folder, self._state)
            except OSError as error:
                logger.error("alerts: cannot write %s: %s", self._folder / kept.FILE, error)  # noqa: TRY400 - the reason is the text
            else:
                self._written = self._state


_SHOWN_CHECK: Final = timedelta(minutes=5)


def _is_older(written: datetime | None, now: datetime | None) -> bool:
    """A check that changed nothing is worth no write of its own."""
    return now is not None and (written is None or abs(now - written) >= _SHOWN_CHECK)


def attempt(workspace: WorkspaceAlerts, channel: Channel, notice: Notice, outside: Outside) -> tuple[Result, str]:
    """Send a notice once. The error has no secret of the channel in it; it may be there for a delivered one too. Never raises."""
    try:
        settings = workspace.revealed_settings(channel.slug)
    except HeadraceError as error:
        return Result("failed", "INVALID_SETTINGS"), str(error)
    return attempt_with(channel.kind, settings, workspace.secrets_among(channel.kind, settings), notice, outside)


def attempt_with(
    kind: str, settings: Mapping[str, Any], secrets: Mapping[str, Any], notice: Notice, outside: Outside
) -> tuple[Result, str]:
    """The same with settings in clear, of which `secrets` are the secret ones."""
    try:
        result = channels.configured(kind, settings).send(notice, outside)
    except (HeadraceError, msgspec.ValidationError) as error:
        return Result("failed", "INVALID_SETTINGS"), hidden(str(error), secrets)
    except Exception as error:  # noqa: BLE001 - an alert must survive it, and its text must not be logged as it is
        text = hidden(f"{type(error).__name__}: {error}", secrets)
        logger.error("alerts: sending by %s failed in an unforeseen way: %s", kind, text)  # noqa: TRY400 - no secret
        return Result("retry", "INTERNAL"), text
    return result, hidden(" ".join(part for part in (result.code, result.detail) if part), secrets)


def _checked(
    alert: Alert, condition: Condition, figures: Figures, before: Mapping[str, Lasting], now: datetime
) -> tuple[Mapping[str, Lasting], list[Part]]:
    """The subjects of an alert that are not well, and what is told."""
    found = {finding.subject: finding for finding in condition.findings(figures, now, told_of(before))}
    after: dict[str, Lasting] = {}
    parts: list[Part] = []
    for subject in (*found, *(subject for subject in before if subject not in found)):
        earlier = before.get(subject)
        if subject in found:
            finding = found[subject]
            step = lasting.step(earlier, finding, condition.settings, now)
        elif earlier is not None:
            finding = msgspec.structs.replace(
                earlier.finding, title=f"{subject} is not watched any more", what="It was removed.", remedy="", look=""
            )
            step = lasting.gone(earlier, condition.settings, now)
        if step.lasting is not None:
            after[subject] = step.lasting
        if step.told is not None:
            current = step.lasting or earlier
            since = current.since if current else now
            until = None if step.lasting else (current.good_since if current else None) or now
            zone = condition.settings.time_zone
            parts.append(Part(alert.slug, alert.nickname, alert.kind, step.told, finding, since, until, zone))
    return after, parts


def told_of(by_subject: Mapping[str, Lasting]) -> set[str]:
    return {subject for subject, lasting in by_subject.items() if lasting.told_at is not None}


class _Once:
    """Within one check every question is asked once, however many alerts ask it."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._answers: dict[tuple[Any, ...], Any] = {}

    def _once(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        key = (ask.__name__, *arguments)
        if key not in self._answers:
            self._answers[key] = ask(*arguments)
        return self._answers[key]

    def destinations(self, since: datetime, until: datetime) -> Sequence[DestinationFigures]:
        found: Sequence[DestinationFigures] = self._once(self._figures.destinations, since, until)
        return found

    def sources(self) -> Sequence[SourceFigures]:
        found: Sequence[SourceFigures] = self._once(self._figures.sources)
        return found

    def received(self) -> Received:
        found: Received = self._once(self._figures.received)
        return found

    def warehouses(self) -> Sequence[WarehouseFigures]:
        found: Sequence[WarehouseFigures] = self._once(self._figures.warehouses)
        return found
