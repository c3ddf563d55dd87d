"""Queries of users while they run and some time after: whose they are, how many at once, and when nobody waits for them any more."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import msgspec

from headrace.app.reporting import OpenWarehouse
from headrace.config import WarehouseConfig
from headrace.console import comma_separated
from headrace.console.access import Requester
from headrace.console.problems import problem_of
from headrace.console.queries import (
    AnswerColumn,
    CompletionTable,
    CsvOrder,
    Download,
    QueryAnswer,
    QueryOrder,
    QueryProblem,
    QueryShown,
    State,
    WarehouseColumns,
)
from headrace.errors import HeadraceError, NotFoundError, QueryError, RequestError
from headrace.warehouses.base import CANCELLED, Readable, ReadColumn, Reading, Stop, StoredTable, TableName
from headrace.workspace.roles import may

LEASE_SECONDS: Final = 10.0
"""A query for which nobody has come back for so long is cancelled: its page was closed."""
ANSWER_BYTES: Final = 64_000_000
KEPT_BYTES: Final = 128_000_000
"""Of all answers that are kept together; the oldest are forgotten first."""
KEPT_SECONDS: Final = 300.0
REMEMBERED_SECONDS: Final = 6 * 3600.0
REMEMBERED: Final = 2_000
REMEMBERED_CHARACTERS: Final = 20_000_000
"""Queries without their answers, and their SQL together: who asked what. The oldest are forgotten first."""
WATCH_SECONDS: Final = 0.5
CSV_BLOCK_ROWS: Final = 2_000

Tables = Callable[[str], tuple[Mapping[TableName, StoredTable], datetime | None, str | None]]
"""Of a warehouse: its tables, of when that is, and why it is not of now."""


class _Query:
    """One query; changed under the turn of `Queries`, save by the thread that runs it."""

    def __init__(self, order: QueryOrder, who: Requester, slug: str) -> None:
        self.id = secrets.token_urlsafe(12)
        self.order = order
        self.owner = who.owner
        self.asked_by = who.name
        self.slug = slug
        self.stop = Stop()
        self.state: State = "running"
        self.started_at = datetime.now(UTC)
        self.began = time.monotonic()
        self.ended: float | None = None
        self.needed_until = self.began + LEASE_SECONDS + order.wait_seconds
        self.answer: bytes | None = None
        self.problem: QueryProblem | None = None

    def shown(self) -> QueryShown:
        """Without the answer."""
        seconds = (self.ended or time.monotonic()) - self.began
        return QueryShown(
            self.id,
            self.state,
            self.order.sql,
            self.slug,
            self.asked_by,
            self.started_at,
            round(seconds, 6),
            self.order.explain,
            None,
            self.problem,
        )


class Queries:
    """Safe to use from several threads."""

    def __init__(self, opened: Callable[[str | None], OpenWarehouse], tables: Tables, limits: WarehouseConfig) -> None:
        self._opened = opened
        self._tables = tables
        self._limits = limits
        self._turn = threading.Lock()
        self._by_id: dict[str, _Query] = {}
        self._downloads: dict[str, list[Stop]] = {}
        self._watching = False

    def start(self, order: QueryOrder, who: Requester) -> str:
        found = self._opened(order.warehouse)
        query = _Query(order, who, found.slug)
        with self._turn:
            self._check_room(query.owner)
            self._forget()
            self._by_id[query.id] = query
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="queries", daemon=True).start()
        threading.Thread(target=self._run, args=(query, found), name=f"query-{query.id}", daemon=True).start()
        return query.id

    def _check_room(self, mine: str) -> None:
        """Raises RequestError (429) when enough run already."""
        running = [query.owner for query in self._by_id.values() if query.state == "running"]
        running += [whose for whose, stops in self._downloads.items() for _ in stops]
        own = running.count(mine)
        if own >= self._limits.queries_per_person:
            raise RequestError(
                "too_many_queries",
                f"query: {own} of yours run already, as many as one person may have; wait for one, or cancel it",
                429,
                retry_after_seconds=2.0,
            )
        if len(running) >= self._limits.queries_at_once:
            raise RequestError(
                "too_many_queries",
                f"query: {len(running)} run already for everybody together; try again in a moment",
                429,
                retry_after_seconds=2.0,
            )

    # One query.

    def _run(self, query: _Query, found: OpenWarehouse) -> None:
        rows = min(query.order.max_rows or self._limits.query_rows, self._limits.query_rows)
        seconds = min(
            query.order.timeout_seconds or self._limits.query_timeout_seconds, self._limits.query_timeout_seconds
        )
        answer, problem, state = None, None, "done"
        try:
            answer = _answer(found, query.order, rows, seconds, query.stop)
        except HeadraceError as error:
            state = "cancelled" if isinstance(error, QueryError) and error.code == CANCELLED else "failed"
            problem = _problem(error)
        except Exception as error:  # noqa: BLE001 -- a thread's end: whoever waits must hear of it
            state, problem = "failed", _problem(HeadraceError(f"query: it failed within headrace: {error!r}"))
        with self._turn:
            query.ended = time.monotonic()
            query.answer, query.problem = answer, problem
            query.state = state  # type: ignore[assignment]  # one of the three

    def is_over(self, id_: str) -> bool:
        query = self._by_id.get(id_)
        return query is None or query.state != "running"

    def _mine(self, id_: str, who: Requester) -> _Query:
        """Raises NotFoundError, also for another's."""
        query = self._by_id.get(id_)
        if query is None or (query.owner != who.owner and not may(who.role, "admin")):
            raise NotFoundError("query: there is no such query of yours, or it is long over; ask again")
        return query

    def shown(self, id_: str, who: Requester, wait_seconds: float = 0.0) -> bytes:
        with self._turn:
            query = self._mine(id_, who)
            query.needed_until = time.monotonic() + LEASE_SECONDS + wait_seconds
            shown, answer = query.shown(), query.answer
        if answer is not None:
            shown = msgspec.structs.replace(shown, answer=msgspec.Raw(answer))
        return msgspec.json.encode(shown)

    def every(self, who: Requester) -> Sequence[QueryShown]:
        with self._turn:
            found = [q for q in self._by_id.values() if q.owner == who.owner or may(who.role, "admin")]
            return [query.shown() for query in reversed(found)]

    def cancel(self, id_: str, who: Requester) -> None:
        with self._turn:
            query = self._mine(id_, who)
        query.stop.stop()

    # Looking after them.

    def _watch(self) -> None:
        """Runs while queries run or answers are kept."""
        pause = threading.Event()
        while True:
            now = time.monotonic()
            with self._turn:
                self._forget()
                left = [
                    query for query in self._by_id.values() if query.state == "running" and now > query.needed_until
                ]
                if not any(query.state == "running" or query.answer for query in self._by_id.values()):
                    self._watching = False
                    return
            for query in left:
                query.stop.stop()
            pause.wait(WATCH_SECONDS)

    def _forget(self) -> None:
        now, kept, count, characters = time.monotonic(), 0, 0, 0
        for query in reversed(list(self._by_id.values())):
            count, characters = count + 1, characters + len(query.order.sql)
            if query.ended is None:
                continue
            kept += len(query.answer or b"")
            if kept > KEPT_BYTES or now - query.ended > KEPT_SECONDS:
                query.answer = None
            is_old = now - query.ended > REMEMBERED_SECONDS
            if is_old or count > REMEMBERED or characters > REMEMBERED_CHARACTERS:
                del self._by_id[query.id]

    def end(self) -> None:
        with self._turn:
            stops = [query.stop for query in self._by_id.values() if query.state == "running"]
            stops += chain.from_iterable(self._downloads.values())
        for stop in stops:
            stop.stop()

    # The whole answer.

    def csv_order(self, id_: str, who: Requester, *, spreadsheet: bool) -> CsvOrder:
        with self._turn:
            query = self._mine(id_, who)
        return CsvOrder(query.order.sql, query.slug, spreadsheet)

    def download(self, order: CsvOrder, who: Requester, stop: Stop) -> Download:
        found = self._opened(order.warehouse)
        mine, held = who.owner, ExitStack()
        with self._turn:
            self._check_room(mine)
            self._downloads.setdefault(mine, []).append(stop)
        held.callback(self._forget_download, mine, stop)
        try:
            reading = held.enter_context(_opened_reading(found, order.sql, self._limits, stop))
            blocks = _csv(reading, spreadsheet=order.spreadsheet)
            first = next(blocks)
        except BaseException:
            held.close()
            raise
        name = f"{found.slug}-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.csv"
        return Download(name, chain((first,), blocks), _Closing(stop, held).close)

    def _forget_download(self, mine: str, stop: Stop) -> None:
        with self._turn:
            self._downloads[mine].remove(stop)
            if not self._downloads[mine]:
                del self._downloads[mine]

    def columns(self, slug: str) -> WarehouseColumns:
        found = self._opened(slug)
        tables, as_of, problem = self._tables(found.slug)
        return WarehouseColumns(
            found.slug,
            found.kind,
            [
                CompletionTable(
                    name.schema,
                    name.table,
                    stored.rows,
                    stored.is_exact,
                    [(column, type_.value) for column, type_ in stored.columns.items()],
                )
                for name, stored in sorted(tables.items())
            ],
            as_of,
            problem,
        )


class _Closing:
    """Ends a download from another thread than the one that may be reading it."""

    def __init__(self, stop: Stop, held: ExitStack) -> None:
        self._stop = stop
        self._held = held

    def close(self) -> None:
        self._stop.stop()
        threading.Thread(target=self._held.close, name="download-end", daemon=True).start()


def _opened_reading(found: OpenWarehouse, sql: str, limits: WarehouseConfig, stop: Stop) -> Any:
    if not isinstance(found.warehouse, Readable):
        raise RequestError(
            "download_refused", f"download: warehouses of the kind {found.kind} give no whole answers; use LIMIT", 409
        )
    return found.warehouse.reading(sql, timeout_seconds=limits.download_timeout_seconds, stop=stop)


def _csv(reading: Reading, *, spreadsheet: bool) -> Iterator[bytes]:
    """The header comes with the first rows, so that what fails at once fails before anything is sent."""
    kinds = [column.kind for column in reading.columns]
    text = comma_separated.header([column.name for column in reading.columns], spreadsheet=spreadsheet)
    for block in reading.blocks:
        for start in range(0, len(block), CSV_BLOCK_ROWS):
            text += comma_separated.lines(block[start : start + CSV_BLOCK_ROWS], kinds, spreadsheet=spreadsheet)
            yield text.encode()
            text = ""
    if text:
        yield text.encode()


def _answer(found: OpenWarehouse, order: QueryOrder, max_rows: int, seconds: float, stop: Stop) -> bytes:
    """A QueryAnswer in JSON. Raises QueryError."""
    warehouse = found.warehouse
    if not isinstance(warehouse, Readable):
        return _whole(found, order, max_rows, seconds)
    if order.explain:
        lines = warehouse.plan(order.sql, timeout_seconds=seconds, stop=stop)
        plan = Reading([ReadColumn("plan", "text", "text")], iter([[[line] for line in lines]]))
        return _encoded(plan, len(lines))
    with warehouse.reading(order.sql, timeout_seconds=seconds, stop=stop) as reading:
        return _encoded(reading, max_rows)


def _whole(found: OpenWarehouse, order: QueryOrder, max_rows: int, seconds: float) -> bytes:
    """From a warehouse of another package, which gives whole answers alone: its values are texts or what they seem."""
    if order.explain:
        raise QueryError(f"EXPLAIN is not there for warehouses of the kind {found.kind}")
    result = found.warehouse.query(order.sql, max_rows=max_rows, timeout_seconds=seconds)
    columns = [ReadColumn(name, type_, "text") for name, type_ in zip(result.columns, result.types, strict=True)]
    return _encoded(Reading(columns, iter([result.rows])), max_rows)


def _encoded(reading: Reading, max_rows: int) -> bytes:
    """Row by row as they come, so that an answer takes no more room than its JSON."""
    parts: list[bytes] = []
    count = size = 0
    truncated = False
    for block in reading.blocks:
        taken = block[: max_rows - count]
        truncated = len(taken) < len(block)
        if taken:
            encoded = msgspec.json.encode(taken)[1:-1]
            parts.append(encoded)
            size += len(encoded)
            count += len(taken)
        if size > ANSWER_BYTES:
            large = f"the answer is larger than {ANSWER_BYTES // 1_000_000} MB: ask for fewer columns or rows, or download it"
            raise QueryError(large, "query_too_large")
        if truncated:
            break
    columns = [AnswerColumn(*column) for column in reading.columns]
    rows: Any = msgspec.Raw(b"[" + b",".join(parts) + b"]")
    return msgspec.json.encode(QueryAnswer(columns, rows, count, truncated, max_rows, reading.rows_read()))


def _problem(error: HeadraceError) -> QueryProblem:
    plain = msgspec.structs.asdict(problem_of(error))
    position = error.position if isinstance(error, QueryError) else None
    return QueryProblem(**plain, position=position)
