"""What tests of alerts share: figures and a clock that say what a test wants, an HTTP that keeps what it was asked, a workspace and its loop."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from headrace.alerts import conditions
from headrace.alerts.alerts import Alerts, kept_in
from headrace.alerts.base import DestinationFigures, Finding, Received, SourceFigures, WarehouseFigures
from headrace.alerts.channels import Outside
from headrace.destinations.base import Answer, Exchange, Http, Request
from headrace.event import Hour
from headrace.log.base import Hourly, Tally
from headrace.workspace.workspace import Workspace

NOW = datetime(2026, 11, 18, 12, 30, tzinfo=UTC)
SLACK = "https://hooks.slack.example/services/T000/B000/geheimes-ende"
TOKEN = "geheimes-ende"


@dataclass
class ScriptedFigures:
    """Says what it was set to say; `asked` are the periods for which destinations were asked."""

    of_destinations: list[DestinationFigures] = field(default_factory=list)
    usual: list[DestinationFigures] = field(default_factory=list)
    of_sources: list[SourceFigures] = field(default_factory=list)
    of_warehouses: list[WarehouseFigures] = field(default_factory=list)
    tallies: dict[Hour, Tally] = field(default_factory=dict)
    rejected: dict[Hour, int] = field(default_factory=dict)
    since: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    asked: list[tuple[datetime, datetime]] = field(default_factory=list)
    broken: Exception | None = None

    def destinations(self, since: datetime, until: datetime) -> Sequence[DestinationFigures]:
        if self.broken:
            raise self.broken
        self.asked.append((since, until))
        return self.usual if until - since > timedelta(days=1) else self.of_destinations

    def sources(self) -> Sequence[SourceFigures]:
        return self.of_sources

    def received(self) -> Received:
        return Received(Hourly(self.since, self.tallies), self.rejected)

    def warehouses(self) -> Sequence[WarehouseFigures]:
        return self.of_warehouses

    def came(self, source: str, hours: Mapping[datetime, int], refused: int = 0) -> None:
        for hour, count in hours.items():
            self.tallies[Hour(source, hour)] = Tally(count - refused, refused)


def found(
    kind: str, figures: ScriptedFigures, now: datetime = NOW, lasting: Sequence[str] = (), **settings: Any
) -> Finding:
    """The one finding of a condition."""
    (finding,) = conditions.configured(kind, settings).findings(figures, now, lasting)
    return finding


class ScriptedHttp:
    """Answers 200, or what `answers` says next: an answer, or the code of a failure."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[Answer | str] = []

    async def exchange(self, request: Request) -> Exchange:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else Answer(200, {}, b"ok")
        if isinstance(answer, str):
            return Exchange(request, None, answer, f"no answer from {request.url}")
        return Exchange(request, answer)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Http]:
        yield self

    @property
    def texts(self) -> list[str]:
        """What Slack was told."""
        return [msgspec.json.decode(request.body)["text"] for request in self.requests]


class Scene:
    """A workspace with alerts, and the loop over it; threads only where a test asks for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.figures = ScriptedFigures()
        self.http = ScriptedHttp()
        self.opened = Workspace.open(folder)
        self.workspace = kept_in(self.opened)
        self.begun: list[Callable[[], None]] = []
        """What was to send a notice, where `is_held` says that it must not go yet."""
        self.is_held = False
        self.alerts = self.started()

    def started(self) -> Alerts:
        """As after a restart of the server."""
        outside = Outside(self.http.opened, lambda _: None, lambda: self.now)
        self.alerts = Alerts(self.workspace, self.figures, outside, self.folder, start=self._start)
        return self.alerts

    def _start(self, work: Callable[[], None]) -> None:
        self.begun.append(work)
        if not self.is_held:
            self.begun.pop()()

    def slack(self, name: str = "Ops", url: str = SLACK) -> str:
        return self.workspace.add_channel("slack", name, {"url": url}).slug

    def watch(self, *to: str, name: str = "Deliveries", **settings: Any) -> str:
        """An alert on deliveries."""
        return self.workspace.add_alert("delivery-rate", name, settings, to or ("ops",)).slug

    def step(self, minutes: float = 0, *, delivered: int | None = None, times: int = 1) -> None:
        """So much later, `times` times; of 100 events of the destination `crm` so many were delivered."""
        if delivered is not None:
            self.figures.of_destinations = [DestinationFigures("crm", "CRM", delivered, 100 - delivered)]
        for _ in range(times):
            self.now += timedelta(minutes=minutes)
            self.alerts.step()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a channel, to be copied: making one anew takes as long as ten tests."""
    folder = tmp_path_factory.mktemp("begun")
    with Scene(folder) as made:
        made.slack()
    return folder


@pytest.fixture
def scene(begun: Path, tmp_path: Path) -> Iterator[Scene]:
    shutil.copytree(begun, tmp_path / "data")
    with Scene(tmp_path / "data") as made:
        yield made


def titles(scene: Scene) -> list[str]:
    """The first line of each notice."""
    return [text.splitlines()[0].strip("*") for text in scene.http.texts]


FAILS = "Delivery to CRM (crm) fails"
WORKS = "Delivery to CRM (crm) works again"
