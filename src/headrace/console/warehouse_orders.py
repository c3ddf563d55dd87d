"""The API's orders about warehouses: their settings, their tests, what they load, and jobs on their tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
from litestar import delete, get, patch, post, put
from litestar.params import Body, FromPath

from headrace.console.job_kinds import JobKind
from headrace.console.jobs import Job
from headrace.console.warehouse_shown import WarehouseEntry, WarehouseShown
from headrace.workspace.actor import detail

Nickname = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
MOST_TRIED: int = 50_000


class WarehouseOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new warehouse; `slug` is made from the nickname where none is given. With `is_checked` it is tested first, and not added
    when a step fails."""

    kind: str
    nickname: Nickname
    settings: dict[str, Any] = {}
    slug: str | None = None
    is_checked: bool = True


class WarehouseChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not named stays. In `settings` null takes one back to its default, and the mask of a secret leaves it as it is."""

    nickname: Nickname | None = None
    settings: dict[str, Any] | None = None
    paused: bool | None = None


class CheckOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a warehouse that is not there yet."""

    kind: str
    settings: dict[str, Any] = {}
    nickname: Nickname = "test"


class SavedCheckOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`settings`: changes to try before they are kept."""

    settings: dict[str, Any] = {}


class CheckStep(msgspec.Struct, frozen=True):
    """One step of a test. `remedy` is the statement or setting that mends it, empty when `ok`."""

    step: str
    ok: bool
    text: str
    remedy: str = ""


class Checked(msgspec.Struct, frozen=True):
    """Each step up to the first that fails."""

    ok: bool
    steps: Sequence[CheckStep]


class SelectionOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See docs/selective-loading.md; null is everything."""

    selection: dict[str, Any] | None


class SelectionTrialOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tried on the newest `entries` of the log, at the most."""

    selection: dict[str, Any] | None
    entries: Annotated[int, msgspec.Meta(ge=1, le=MOST_TRIED)] = 10_000


class SelectableColumn(msgspec.Struct, frozen=True):
    """`original` is the path of names as sent. `is_standard`: it cannot be switched off."""

    column: str
    type: str
    original: str
    is_on: bool
    is_standard: bool


class SelectableTable(msgspec.Struct, frozen=True):
    """`is_named`: it can stand in a selection; the others follow their history."""

    table: str
    is_on: bool
    is_named: bool
    rows: int | None
    is_exact: bool
    columns: Sequence[SelectableColumn]


class SourceSelection(msgspec.Struct, frozen=True):
    """What of a source is loaded: `selection` is null for everything. `notes` say what follows from it and may not be expected; `problem`
    why it cannot be read or the tables are missing."""

    source: str
    nickname: str
    schema: str
    removed: bool
    selection: dict[str, Any] | None
    notes: Sequence[str] = ()
    tables: Sequence[SelectableTable] = ()
    problem: str | None = None


class TriedTable(msgspec.Struct, frozen=True):
    """Of the events that would have a row in this table: how many have, and how many would not."""

    table: str
    stored: int
    left_out: int


class SelectionTrial(msgspec.Struct, frozen=True):
    """What the selection makes of the newest events of the log: `events` of the source among `entries`. Nothing is changed by it."""

    entries: int
    events: int
    stored: int
    left_out: int
    since: datetime | None
    until: datetime | None
    tables: Sequence[TriedTable]
    notes: Sequence[str]


class JobOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    job: str
    arguments: dict[str, Any] = {}


class Orders(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    def every(self) -> Sequence[WarehouseEntry]: ...

    def state(self, slug: str) -> WarehouseEntry: ...

    def add(self, order: WarehouseOrder) -> WarehouseShown: ...

    def change(self, slug: str, change: WarehouseChange) -> WarehouseShown: ...

    def remove(self, slug: str) -> WarehouseShown: ...

    def check(self, order: CheckOrder) -> Checked: ...

    def check_saved(self, slug: str, order: SavedCheckOrder) -> Checked: ...

    def selections(self, slug: str) -> Sequence[SourceSelection]: ...

    def select(self, slug: str, source: str, order: SelectionOrder) -> SourceSelection: ...

    def try_selection(self, slug: str, source: str, order: SelectionTrialOrder) -> SelectionTrial: ...

    def job_kinds(self, slug: str) -> Sequence[JobKind]: ...

    def order_job(self, slug: str, order: JobOrder) -> Job: ...

    def jobs(self, slug: str) -> Sequence[Job]: ...

    def job(self, number: int) -> Job: ...

    def cancel_job(self, number: int) -> Job: ...


class Worker(Protocol):
    @property
    def warehouse_orders(self) -> Orders: ...


def routes(worker: Worker) -> list[Any]:
    return [*_settings(worker), *_selections(worker), *_jobs(worker)]


def _settings(worker: Worker) -> list[Any]:
    @get("/warehouses", role="viewer", sync_to_thread=True)
    def list_warehouses() -> Sequence[WarehouseEntry]:
        return worker.warehouse_orders.every()

    @get("/warehouses/{slug:str}/state", role="viewer", sync_to_thread=True)
    def show_warehouse_state(slug: FromPath[str]) -> WarehouseEntry:
        return worker.warehouse_orders.state(slug)

    @post("/warehouses", role="admin", sync_to_thread=True)
    def add_warehouse(data: Annotated[WarehouseOrder, Body(description="The new warehouse")]) -> WarehouseShown:
        return worker.warehouse_orders.add(data)

    @patch("/warehouses/{slug:str}", role="editor", sync_to_thread=True)
    def change_warehouse(
        slug: FromPath[str], data: Annotated[WarehouseChange, Body(description="What becomes another")]
    ) -> WarehouseShown:
        return worker.warehouse_orders.change(slug, data)

    @delete("/warehouses/{slug:str}", role="admin", sync_to_thread=True, status_code=200)
    def remove_warehouse(slug: FromPath[str]) -> WarehouseShown:
        return worker.warehouse_orders.remove(slug)

    @post("/warehouses/checks", role="admin", sync_to_thread=True, status_code=200)
    def check_warehouse_settings(
        data: Annotated[CheckOrder, Body(description="Settings to test before the warehouse is added")],
    ) -> Checked:
        return worker.warehouse_orders.check(data)

    @post("/warehouses/{slug:str}/checks", role="editor", sync_to_thread=True, status_code=200)
    def check_warehouse(
        slug: FromPath[str], data: Annotated[SavedCheckOrder, Body(description="{} for its settings as they are")]
    ) -> Checked:
        return worker.warehouse_orders.check_saved(slug, data)

    return [
        list_warehouses,
        show_warehouse_state,
        add_warehouse,
        change_warehouse,
        remove_warehouse,
        check_warehouse_settings,
        check_warehouse,
    ]


def _selections(worker: Worker) -> list[Any]:
    @get("/warehouses/{slug:str}/selections", role="viewer", sync_to_thread=True)
    def list_selections(slug: FromPath[str]) -> Sequence[SourceSelection]:
        return worker.warehouse_orders.selections(slug)

    @put("/warehouses/{slug:str}/selections/{source:str}", role="editor", sync_to_thread=True)
    def change_selection(
        slug: FromPath[str],
        source: FromPath[str],
        data: Annotated[SelectionOrder, Body(description="What of the source is loaded from now on")],
    ) -> SourceSelection:
        return worker.warehouse_orders.select(slug, source, data)

    @post("/warehouses/{slug:str}/selections/{source:str}/trials", role="viewer", sync_to_thread=True, status_code=200)
    def try_selection(
        slug: FromPath[str],
        source: FromPath[str],
        data: Annotated[SelectionTrialOrder, Body(description="A selection, tried on the newest events of the log")],
    ) -> SelectionTrial:
        return worker.warehouse_orders.try_selection(slug, source, data)

    return [list_selections, change_selection, try_selection]


def _jobs(worker: Worker) -> list[Any]:
    @get("/warehouses/{slug:str}/job-kinds", role="viewer", sync_to_thread=True)
    def list_job_kinds(slug: FromPath[str]) -> Sequence[JobKind]:
        return worker.warehouse_orders.job_kinds(slug)

    @get("/warehouses/{slug:str}/jobs", role="viewer", sync_to_thread=True)
    def list_jobs(slug: FromPath[str]) -> Sequence[Job]:
        return worker.warehouse_orders.jobs(slug)

    @post("/warehouses/{slug:str}/jobs", role="editor", sync_to_thread=True, status_code=201)
    def order_job(slug: FromPath[str], data: Annotated[JobOrder, Body(description="What is to be done")]) -> Job:
        detail(**{**{name: str(value) for name, value in data.arguments.items()}, "job": data.job})
        return worker.warehouse_orders.order_job(slug, data)

    @get("/jobs/{number:int}", role="viewer", sync_to_thread=True)
    def show_job(number: FromPath[int]) -> Job:
        return worker.warehouse_orders.job(number)

    @post("/jobs/{number:int}/cancel", role="editor", sync_to_thread=True, status_code=200)
    def cancel_job(number: FromPath[int]) -> Job:
        return worker.warehouse_orders.cancel_job(number)

    return [list_job_kinds, list_jobs, order_job, show_job, cancel_job]
