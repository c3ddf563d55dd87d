"""What stands in a saved query, report and dashboard, and what of it does not fit any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from headrace.errors import ConfigError
from headrace.reports.presets import PRESETS
from headrace.reports.refused import explained
from headrace.reports.request import ReportRequest
from headrace.workspace.saved import SavedKind

MOST_SQL: Final = 100_000
MOST_TILES: Final = 60
COLUMNS: Final = 12
"""Of a dashboard's grid."""
Chart = Literal["auto", "table", "pivot", "bar", "line", "area", "stacked", "funnel", "heat"]
Slug = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
Moment = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Check = Callable[[ReportRequest], Sequence[str]]
"""What of a request does not fit, a sentence each."""


class QueryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`chart` is how the page draws the result, and the page's own."""

    sql: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_SQL)]
    warehouse: Slug | None = None
    chart: dict[str, Any] | None = None


class Drawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`series`: those of the request's dimensions that are columns or lines instead of rows. `measures`: those that are drawn; empty for all that fit.
    `shown`: how many values of a dimension a chart draws one by one; what is left is added up where the measure allows it. `compare`: with the period before."""

    chart: Chart = "auto"
    series: Annotated[Sequence[str], msgspec.Meta(max_length=8)] = ()
    measures: Annotated[Sequence[str], msgspec.Meta(max_length=60)] = ()
    shown: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    compare: bool = False
    totals: bool = True


class ReportBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    request: ReportRequest
    drawn: Drawn = Drawn()


class Tile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a report stands on the grid: columns from 0 to 11, rows of 80 pixels. `chart`: drawn otherwise than the report says."""

    x: Annotated[int, msgspec.Meta(ge=0, lt=COLUMNS)]
    y: Annotated[int, msgspec.Meta(ge=0, lt=1_000)]
    width: Annotated[int, msgspec.Meta(ge=2, le=COLUMNS)]
    height: Annotated[int, msgspec.Meta(ge=2, le=20)]
    report: Slug | None = None
    preset: Slug | None = None
    text: Annotated[str, msgspec.Meta(max_length=2_000)] | None = None
    chart: Chart | None = None


class DashboardPeriod(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of all its reports; what is null is each report's own."""

    since: Moment | None = None
    until: Moment | None = None
    zone: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    compare: bool | None = None


class DashboardBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    period: DashboardPeriod = DashboardPeriod()
    tiles: Annotated[Sequence[Tile], msgspec.Meta(max_length=MOST_TILES)] = ()


BODIES: Final[Mapping[SavedKind, type[msgspec.Struct]]] = {
    "query": QueryBody,
    "report": ReportBody,
    "dashboard": DashboardBody,
}


def body(kind: SavedKind, given: Mapping[str, Any], check: Check) -> dict[str, Any]:
    """As it is kept, with what was not said. A report that a dashboard shows may be gone: then the dashboard says so.

    Raises ConfigError that says what does not fit."""
    found = _converted(kind, given)
    if wrong := _wrong(found, check, None):
        raise ConfigError(wrong[0])
    kept: dict[str, Any] = msgspec.to_builtins(found)
    return kept


def misfits(kind: SavedKind, kept: Mapping[str, Any], check: Check, reports: Collection[str]) -> list[str]:
    """What of a kept body is not known any more. `reports`: slugs of those that are saved."""
    try:
        return _wrong(_converted(kind, kept), check, reports)
    except ConfigError as error:
        return [str(error)]


def _converted(kind: SavedKind, given: Mapping[str, Any]) -> msgspec.Struct:
    type_ = BODIES[kind]
    try:
        return msgspec.convert(given, type_)
    except msgspec.ValidationError as error:
        raise ConfigError(f"saved {kind}: {explained(error, given, type_)}") from None


def _wrong(found: msgspec.Struct, check: Check, reports: Collection[str] | None) -> list[str]:
    match found:
        case ReportBody():
            wrong = list(check(found.request))
            known = found.request.dimensions or ()
            return wrong + [
                f"report: {name} stands for series and is none of the dimensions; add it, or take it out of the series"
                for name in found.drawn.series
                if name not in known
            ]
        case DashboardBody():
            return [text for number, tile in enumerate(found.tiles, 1) for text in _wrong_of(tile, number, reports)]
    return []


def _wrong_of(tile: Tile, number: int, reports: Collection[str] | None) -> list[str]:
    wrong = []
    if sum(of is not None for of in (tile.report, tile.preset, tile.text)) != 1:
        wrong.append(f"dashboard: tile {number} needs one of report, preset and text; give it one")
    if tile.x + tile.width > COLUMNS:
        wrong.append(f"dashboard: tile {number} ends beyond column {COLUMNS}; make it narrower, or move it to the left")
    if reports is not None and tile.report is not None and tile.report not in reports:
        wrong.append(
            f"dashboard: tile {number} shows the report {tile.report!r}, which is not there any more; remove the tile"
        )
    if tile.preset is not None and tile.preset not in PRESETS:
        wrong.append(f"dashboard: tile {number} shows the preset {tile.preset!r}, which is none; take another")
    return wrong
