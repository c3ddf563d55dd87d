"""The cases of tests/cases/email: sentences about the e-mail model, with events and figures counted by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from conftest import CASES
from email_lines import SOURCES, events_of, moment
from email_oracle import Row, plain_value
from headrace.event import Event
from headrace.reports.model.schema import COUNTS, TABLES, Type
from headrace.reports.place import MailSource

_STRICT: Final[Mapping[str, Mapping[str, Any]]] = {
    "messages": {name: False for name, of in TABLES["messages"].columns.items() if of.type is Type.TRUTH},
    "campaigns": dict.fromkeys(COUNTS, 0),
    "campaigns_daily": dict.fromkeys(COUNTS, 0),
}
"""What a case need not say."""
_EITHER: Final = ("is_matched",)


class Case(NamedTuple):
    """`own_sources`: what it counts by source, or sends of unusual types, must not meet other cases'."""

    number: int
    name: str
    lines: Sequence[Sequence[Any]]
    expected: Mapping[str, Sequence[Row]]
    own_sources: bool

    @property
    def events(self) -> list[Event]:
        return events_of(self.lines)

    @property
    def mark(self) -> str:
        return f"k{self.number:03}."

    @property
    def source_mark(self) -> str:
        return f"_k{self.number:03}" if self.own_sources else ""

    @property
    def marked_events(self) -> list[Event]:
        """Which have nothing to do with those of other cases."""
        return events_of(self.lines, self.mark, self.source_mark)

    def sources(self) -> list[MailSource]:
        """Those of `marked_events`."""
        mark = self.source_mark
        return [MailSource(one.slug + mark, one.schema + mark, one.is_email) for one in SOURCES]

    def own(self, tables: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
        """Its rows out of what many cases' marked events made, without marks."""
        return {table: [self._plain(row) for row in rows if self._is_own(row)] for table, rows in tables.items()}

    def _is_own(self, row: Row) -> bool:
        texts = [value for value in row.values() if isinstance(value, str)]
        is_unnamed = row.get("campaign_id") == "" and {"campaign_id": ""}.items() <= self._first("campaigns").items()
        return any(self._unmarked(text) != text for text in texts) or is_unnamed

    def _first(self, table: str) -> Row:
        return dict(next(iter(self.expected.get(table, ())), {}))

    def _plain(self, row: Row) -> Row:
        return {name: self._unmarked(value) if isinstance(value, str) else value for name, value in row.items()}

    def _unmarked(self, text: str) -> str:
        if text.startswith(self.mark):
            return text.removeprefix(self.mark)
        return text.removesuffix(self.source_mark) if self.source_mark else text


def cases() -> list[Case]:
    files = sorted((CASES / "email").glob("*.json"))
    told = [case for file in files for case in json.loads(file.read_text(encoding="utf-8"))]
    return [
        Case(number, case["name"], case["events"], case["expected"], case.get("own_sources", False))
        for number, case in enumerate(told, 1)
    ]


def contradictions(case: Case, tables: Mapping[str, Sequence[Row]]) -> list[str]:
    """Where the tables are not as the case says, in sentences."""
    lines = []
    for table, rows in case.expected.items():
        left = list(tables[table])
        for row in rows:
            expected = {**_STRICT.get(table, {}), **{name: value_of(table, name, told) for name, told in row.items()}}
            wanted = {name: value for name, value in expected.items() if name in row or name not in _EITHER}
            fitting = [one for one in left if not _wrong(wanted, one)]
            if not fitting:
                lines.append(f"{table}: no row is {row}; left are {[_wrong(wanted, one) for one in left]}")
            else:
                left.remove(fitting[0])
        lines += [f"{table}: not expected: {row}" for row in left if len(tables[table]) != len(rows)]
    return lines


def _wrong(wanted: Row, row: Row) -> Row:
    return {name: row[name] for name, value in wanted.items() if plain_value(row[name]) != plain_value(value)}


def value_of(table: str, column: str, told: Any) -> Any:
    """A value of a case as one of the column's type."""
    match TABLES[table].columns[column].type:
        case Type.TIME if told is not None:
            return moment(told)
        case Type.DAY:
            return date.fromisoformat(told)
        case Type.MONEY if told is not None:
            return Decimal(str(told))
        case _:
            return told
