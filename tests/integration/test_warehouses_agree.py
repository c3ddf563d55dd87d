"""Every engine holds the same tables, types and rows after the same log: what real clients sent, a campaign, and what is awkward."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

import engines
from headrace.collector import accept, incoming
from headrace.collector.accept import Origin
from headrace.collector.routes import ROUTES
from headrace.config import LoaderConfig
from headrace.errors import RequestError
from headrace.event import decode_lines, encode, join_lines
from headrace.loader.loader import Loader
from headrace.simulator import simulation
from headrace.sources import base
from headrace.warehouses.base import TableName, Warehouse
from list_log import ListLog
from made_events import source
from made_loads import arrow, load
from same_rows import Side, differences, of_the_events

REFERENCE: Final = "duckdb"
ENGINES: Final = sorted(module.name for module in pkgutil.iter_modules(engines.__path__) if module.name != REFERENCE)
LONG: Final = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200))
"""More than an index of PostgreSQL takes, and hard to compress."""
PLAYED: Final = frozenset(("bigquery", "snowflake"))
"""Engines whose stand-ins are slow: they get few events, and no moments that Python's own dates cannot hold in every time zone."""
SOURCES: Final = {slug: source(slug) for slug in ("clients", "mail", "odd")}
START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAR: Final = (b"9999-12-31", b"0001-01-01")
CASES: Final = Path(__file__).parents[1] / "cases" / "client-requests"
ODD: Final[list[dict[str, Any]]] = [
    {"n": 1, "free": 1.5, "when": "2026-02-03T04:05:06.123456Z", "yes": True, "text": "é😀\u0000'\"\\;--"},
    {"n": 2.5, "free": "free", "when": "soon", "yes": "no", "text": 7},
    {"n": 2**53 + 1, "free": -0.0, "when": "0001-01-01T00:00:00Z", "text": ""},
    {"big": 2**63 - 1, "least": -(2**63), "small": 5e-324, "large": 1.7976931348623157e308, "text": " "},
    {"big": 2**64, "list": [1, {"a": None}, "x"], "order": {"select": 1, "table": {"user": "u"}}, "text": "NULL"},
    {"when": "9999-12-31T23:59:59.999999Z", "third": 1 / 3, "text": "1970-01-01", "2nd": 2, "id": "own", "_": 1},
    {"when": "1969-12-31T23:59:59.999999+14:00", "text": "line\nline\r\n\ttab", "Ünï côdé": "ß", "产品": "茶"},
]


def accepted(slug: str, target: str, body: bytes, second: float) -> Iterator[Any]:
    """The entries of the log for a posted body."""
    route = ROUTES[target.partition("?")[0]]
    kind = base.configured("http-api", slug, {})
    raw = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    at, origin = START + timedelta(seconds=second), Origin("203.0.113.7")
    try:
        if route.kind == "batch":
            found = accept.batched(incoming.batch(raw), kind, at, origin)
        else:
            found = accept.single(raw, route.type, kind, at, origin)
    except RequestError as error:
        found = accept.unreadable(raw, error, kind, at)
    yield from decode_lines(join_lines(found.lines))


def everything() -> list[Any]:
    entries: list[Any] = []
    for number, file in enumerate(sorted(CASES.glob("*.json"))):
        entry = json.loads(file.read_text())
        if entry["method"] == "POST":
            entries += accepted("clients", entry["target"], base64.b64decode(entry["body_b64"]), number)
    again = list(entries)
    for number, event in enumerate(simulation.simulate(60, 1, 7, START)):
        entries += accepted("mail", "/v1/batch", json.dumps({"batch": [event]}).encode(), 1_000 + number / 10)
    for number, properties in enumerate(ODD * 2):
        track = {
            "messageId": f"odd-{number}",
            "userId": f"u{number % 3}",
            "event": "Odd Thing",
            "properties": properties,
        }
        entries += accepted("odd", "/v1/track", json.dumps(track).encode(), 5_000 + number)
        identify = {"messageId": f"who-{number}", "userId": f"u{number % 3}", "traits": properties}
        late = 5_000 - number if number % 2 else 5_000 + number
        entries += accepted("odd", "/v1/identify", json.dumps(identify).encode(), late)
    for kind, more in (("identify", {}), ("group", {"groupId": LONG}), ("track", {"event": "Odd Thing"})):
        event = {"messageId": f"long-{kind}", "userId": LONG, "traits": {"plan": LONG}, **more}
        entries += accepted("odd", f"/v1/{kind}", json.dumps(event).encode(), 5_500)
    for body in (b'{"event": "Nobody\'s"}', b"no JSON", json.dumps({"userId": "u", "event": 5}).encode()):
        entries += accepted("odd", "/v1/track", body, 6_000)
    return entries + again


def loaded(warehouse: Warehouse, entries: list[Any]) -> None:
    log = ListLog()
    log.append(entries)
    loader = Loader(
        "agree",
        [log],
        warehouse,
        lambda: SOURCES,
        LoaderConfig(load_events=700),
        now=lambda: START + timedelta(hours=3),
    )
    while loader.step() is not None:
        pass


def written(engine: str) -> Callable[[str], str]:
    """How a name is written in the engine's SQL. BigQuery has no columns that begin with a digit."""
    if engine == "bigquery":
        return lambda name: f"`_{name}`" if name[:1].isdigit() else f"`{name}`"
    return '"{}"'.format


def opener(engine: str, folder: Path) -> Callable[[], Warehouse]:
    opened: Callable[[], Warehouse] = importlib.import_module(f"engines.{engine}").fresh(folder)
    return opened


@pytest.fixture(scope="module")
def entries() -> list[Any]:
    return everything()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, entries: list[Any]) -> Iterator[Side]:
    warehouse = opener(REFERENCE, tmp_path_factory.mktemp("reference"))()
    loaded(warehouse, entries)
    yield Side(REFERENCE, warehouse)
    warehouse.close()


@pytest.mark.parametrize("engine", sorted(set(ENGINES) - PLAYED))
def test_an_engine_holds_what_duckdb_holds(engine: str, reference: Side, entries: list[Any], tmp_path: Path) -> None:
    assert [] == differing(engine, reference, entries, tmp_path)


@pytest.mark.parametrize("engine", sorted(PLAYED & set(ENGINES)))
def test_an_engine_that_is_played_holds_what_duckdb_holds(engine: str, entries: list[Any], tmp_path: Path) -> None:
    few = [entry for entry in entries if entry.source == "odd" and not any(far in encode(entry) for far in FAR)]
    few += entries[:60]
    (tmp_path / "reference").mkdir()
    reference = opener(REFERENCE, tmp_path / "reference")()
    try:
        loaded(reference, few)
        assert [] == differing(engine, Side(REFERENCE, reference), few, tmp_path / engine)
    finally:
        reference.close()


def differing(engine: str, reference: Side, entries: list[Any], folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    warehouse = opener(engine, folder)()
    try:
        loaded(warehouse, entries)
        other = Side(engine, warehouse, written(engine))
        return of_the_events(reference, other, [kind.schema for kind in SOURCES.values()])
    finally:
        warehouse.close()


def test_a_difference_of_any_kind_is_found(reference: Side, entries: list[Any], tmp_path: Path) -> None:
    warehouse = opener(REFERENCE, tmp_path)()
    other = Side("other", warehouse)
    try:
        loaded(warehouse, entries[:-1])
        assert [] == differences(reference, other, "mail")
        known = warehouse.tables()
        extra = {}
        for name in (TableName("odd", "tracks"), TableName("odd", "users")):
            columns = {column: known[name][column] for column in ("id", "received_at")}
            extra[name] = arrow(columns, [("extra", START)])
        position = warehouse.position("agree", 0)
        assert position is not None
        end = position.next + 1
        warehouse.commit(load(position.next, end, extra, consumer="agree", incarnation=position.incarnation))
        found = "\n".join(differences(reference, other, "odd"))
        assert "only in other: {'id': \"'extra'\"" in found
        assert "odd.tracks, by arrow" in found
        assert "odd.users, by query" in found
    finally:
        warehouse.close()
