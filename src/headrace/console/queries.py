"""The API's queries of users: they run by themselves, are asked for until they are over, end when told to, and come as CSV as a whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, cast

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.concurrency import sync_to_thread
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Body, FromPath, QueryParameter
from litestar.response import Stream

from headrace.console.access import REQUESTER, Requester
from headrace.console.problems import Problem
from headrace.errors import RequestError
from headrace.warehouses.base import CellKind, Stop

MOST_CHARACTERS: Final = 100_000
MOST_WAIT_SECONDS: Final = 25.0
LOOK_SECONDS: Final = (0.004, 0.05)
"""The first and the longest pause between two looks at whether a query is over."""
CSV: Final = "text/csv; charset=utf-8; header=present"
State = Literal["running", "done", "failed", "cancelled"]
Sql = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_CHARACTERS)]
Slug = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class QueryOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One SELECT. `max_rows` and `timeout_seconds` may only lower the server's limits. Without `warehouse` the one that is meant is asked.
    `explain`: what the engine means to do is the answer, and nothing is run. `wait_seconds`: how long the answer to this order may wait for the end."""

    sql: Sql
    warehouse: Slug | None = None
    max_rows: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    timeout_seconds: Seconds | None = None
    explain: bool = False
    wait_seconds: Annotated[float, msgspec.Meta(ge=0, le=MOST_WAIT_SECONDS)] = 0.3


class CsvOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One SELECT. `spreadsheet`: for programs that take a text for a formula; see the description of the answer."""

    sql: Sql
    warehouse: Slug | None = None
    spreadsheet: bool = False


class AnswerColumn(msgspec.Struct, frozen=True):
    """`type` is the engine's name of it; `kind` says how the cells are to be read."""

    name: str
    type: str
    kind: CellKind


class QueryAnswer(msgspec.Struct, frozen=True):
    r"""Rows of cells. null is NULL. By the column's kind: integer: a number, beyond 2^53 a text of its digits. decimal: a text with every digit. float:
    a number, or the text NaN, Infinity or -Infinity. timestamp, date, time: ISO 8601, with Z for moments in UTC. interval: an ISO 8601
    duration. bytes: the text \x and hexadecimal digits. nested: a text of JSON. `rows_read`: of tables, where the engine tells."""

    columns: Sequence[AnswerColumn]
    rows: Sequence[Sequence[Any]]
    row_count: int
    truncated: bool
    """There were more rows than `max_rows`."""
    max_rows: int
    rows_read: int | None = None


class QueryProblem(Problem, frozen=True, kw_only=True):
    """`position`: the character of the SQL where it is wrong, from 0; null where that is not known."""

    position: int | None = None


class QueryShown(msgspec.Struct, frozen=True):
    """`answer` is there when `state` is done, until it is forgotten some minutes later. `seconds`: how long it has run."""

    id: str
    state: State
    sql: str
    warehouse: str
    asked_by: str
    started_at: datetime
    seconds: float
    explain: bool = False
    answer: QueryAnswer | None = None
    problem: QueryProblem | None = None


class CompletionTable(msgspec.Struct, frozen=True):
    """`columns` are pairs of name and type. `rows` is null where the engine does not tell; `is_exact` is about it."""

    schema: str
    table: str
    rows: int | None
    is_exact: bool
    columns: Sequence[tuple[str, str]]


class WarehouseColumns(msgspec.Struct, frozen=True):
    """All tables with their columns. `kind` of the warehouse says whose SQL it takes. `problem`: why it could not be asked now; then
    these are the tables of `as_of`."""

    warehouse: str
    kind: str
    tables: Sequence[CompletionTable]
    as_of: datetime | None
    problem: str | None = None


class Download(NamedTuple):
    """`close` ends it, whether or not the blocks were read to the end."""

    name: str
    blocks: Iterator[bytes]
    close: Any


class Queries(Protocol):
    """All may be called from any thread and raise HeadraceError. Somebody sees what they ordered themselves; an admin sees all."""

    def start(self, order: QueryOrder, who: Requester) -> str:
        """The query's id."""
        ...

    def is_over(self, id_: str) -> bool:
        """Quick; true also for one that is not known."""
        ...

    def shown(self, id_: str, who: Requester, wait_seconds: float = 0.0) -> bytes:
        """A QueryShown in JSON. Whoever asks comes back for it after `wait_seconds` or a little later; else it is cancelled."""
        ...

    def every(self, who: Requester) -> Sequence[QueryShown]: ...

    def cancel(self, id_: str, who: Requester) -> None: ...

    def download(self, order: CsvOrder, who: Requester, stop: Stop) -> Download:
        """Runs already, and its first rows are there: an error of the beginning is raised here. `stop` ends it, before this returns too."""
        ...

    def csv_order(self, id_: str, who: Requester, *, spreadsheet: bool) -> CsvOrder: ...

    def columns(self, slug: str) -> WarehouseColumns: ...


class Worker(Protocol):
    @property
    def queries(self) -> Queries: ...


Wait = Annotated[float, QueryParameter(ge=0, le=MOST_WAIT_SECONDS, description="Seconds that the answer may wait")]
Spreadsheet = Annotated[
    bool, QueryParameter(description="An apostrophe before texts that a spreadsheet would take for a formula, and a byte order mark")
]  # fmt: skip
_CSV_ANSWER: Final = {
    200: ResponseSpec(
        None,
        media_type=CSV,
        generate_examples=False,
        description="RFC 4180, with all rows. NULL is nothing, an empty text is two quotes. For spreadsheets an apostrophe stands before texts "
        "that begin with = + - @, a tab or a return: anybody may have sent them, and a spreadsheet would run them.",
    )
}


def routes(worker: Worker) -> list[Any]:
    async def until_over(id_: str, seconds: float) -> Response[QueryShown]:
        until = time.monotonic() + seconds
        pause, longest = LOOK_SECONDS
        while not worker.queries.is_over(id_) and time.monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, longest)
        encoded = await sync_to_thread(worker.queries.shown, id_, _who())
        return cast("Response[QueryShown]", Response(encoded, media_type="application/json"))

    @post("/queries", role="viewer", status_code=200)
    async def start_query(data: Annotated[QueryOrder, Body(description="One SELECT")]) -> Response[QueryShown]:
        id_ = await sync_to_thread(worker.queries.start, data, _who())
        return await until_over(id_, data.wait_seconds)

    @get("/queries", role="viewer", sync_to_thread=True)
    def list_queries() -> Sequence[QueryShown]:
        return worker.queries.every(_who())

    @get("/queries/{id_:str}", role="viewer")
    async def show_query(id_: FromPath[str], wait_seconds: Wait = 0.0) -> Response[QueryShown]:
        await sync_to_thread(worker.queries.shown, id_, _who(), wait_seconds)
        return await until_over(id_, wait_seconds)

    @delete("/queries/{id_:str}", role="viewer", status_code=200)
    async def cancel_query(id_: FromPath[str]) -> Response[QueryShown]:
        await sync_to_thread(worker.queries.cancel, id_, _who())
        return await until_over(id_, 2.0)

    @post("/queries/csv", role="viewer", status_code=200, responses=_CSV_ANSWER)
    async def download_csv(request: Request[Any, Any, Any], data: Annotated[CsvOrder, Body(description="One SELECT")]) -> Stream:  # fmt: skip
        return await _downloaded(worker.queries, data, request)

    @get("/queries/{id_:str}/csv", role="viewer", responses=_CSV_ANSWER)
    async def download_query_csv(
        request: Request[Any, Any, Any],
        id_: FromPath[str],
        spreadsheet: Spreadsheet = False,  # noqa: FBT002 -- of the query string
    ) -> Stream:
        return await _downloaded(
            worker.queries, worker.queries.csv_order(id_, _who(), spreadsheet=spreadsheet), request
        )

    @get("/warehouses/{slug:str}/columns", role="viewer", sync_to_thread=True)
    def list_columns(slug: FromPath[str]) -> WarehouseColumns:
        return worker.queries.columns(slug)

    return [
        start_query,
        list_queries,
        show_query,
        cancel_query,
        download_csv,
        download_query_csv,
        list_columns,
    ]


def _who() -> Requester:
    who = REQUESTER.get()
    if who is None:
        raise RequestError("login_required", "login: this needs a login; send a token, or log in again", 401)
    return who


async def _downloaded(queries: Queries, order: CsvOrder, request: Request[Any, Any, Any]) -> Stream:
    """Whoever asks may go away before the first row is there: then the query ends, too."""
    stop = Stop()
    ready = asyncio.ensure_future(sync_to_thread(queries.download, order, _who(), stop))
    gone = asyncio.ensure_future(_disconnected(request))
    await asyncio.wait({ready, gone}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        stop.stop()
    gone.cancel()
    return _streamed(await ready)


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # the body, of a GET an empty one


def _streamed(download: Download) -> Stream:
    async def blocks() -> AsyncIterator[bytes]:
        """The reader of the answer may go away at any moment: then the query ends, too."""
        try:
            while block := await sync_to_thread(next, download.blocks, b""):
                yield block
        finally:
            download.close()

    headers = {
        "content-disposition": f'attachment; filename="{download.name}"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    return Stream(blocks(), media_type=CSV, headers=headers)
