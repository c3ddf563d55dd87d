"""The tables of the schema `email` as documentation: `python -m headrace.reports.model` prints them as Markdown, with `dbt` as sources.yml,
and `into FILE` puts them at the end of a document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from headrace.reports.model.kinds import KINDS
from headrace.reports.model.schema import SCHEMA, TABLES, Column, Table, Type

HEADING: Final = "## The tables"
"""In docs/email-model.md what is printed begins here and goes to the end."""
TYPES: Final[Mapping[Type, str]] = {
    Type.TEXT: "text",
    Type.KEY: "whole number",
    Type.COUNT: "whole number",
    Type.TIME: "time",
    Type.DAY: "date",
    Type.TRUTH: "truth",
    Type.MONEY: "amount",
    Type.RATE: "fraction",
}

ACCEPTED: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("events", "kind"): tuple(dict.fromkeys(found.kind for found in KINDS.values())),
    ("events", "bounce_type"): ("hard", "soft", "block", "unknown"),
    ("messages", "bounce_type"): ("hard", "soft", "block", "unknown"),
    ("messages", "device"): ("mobile", "tablet", "desktop", "webmail", "unknown"),
    ("attribution", "model"): ("last", "first", "any"),
    ("attribution", "touch"): ("click", "open"),
}
"""Nulls are accepted besides."""
PARENTS: Final[Mapping[tuple[str, str], str]] = {
    ("events", "message_id"): "messages",
    ("attribution", "message_id"): "messages",
    ("attribution", "conversion_key"): "conversions",
    ("messages", "campaign_id"): "campaigns",
    ("messages", "recipient_key"): "recipients",
    ("campaign_sends", "campaign_id"): "campaigns",
    ("campaigns_daily", "campaign_id"): "campaigns",
    ("links", "campaign_id"): "campaigns",
    ("domains", "campaign_id"): "campaigns",
    ("engagement_curve", "campaign_id"): "campaigns",
    ("labels", "campaign_id"): "campaigns",
}
"""Which table has each value of the column in one of the same name. Test sends alone make no campaign and no recipient."""
WITHOUT_TESTS: Final = ("messages",)
UNBOUNDED_RATES: Final = ("revenue_per_recipient", "conversion_rate")
"""One mail may lead to more than one order."""


def promised() -> Mapping[str, Table]:
    return {name: table for name, table in TABLES.items() if not table.is_inner}


def markdown() -> str:
    inner = {name: table for name, table in TABLES.items() if table.is_inner}
    parts = [
        HEADING,
        "",
        "Written from the code by `python -m headrace.reports.model into docs/email-model.md`. Times are in UTC, amounts exact to four places after the point, rates fractions from 0 to 1, null when the",
        "denominator is 0. Below each name stands what makes a row unique.",
        "",
    ]
    for name, table in promised().items():
        parts += [*_section(name, table), ""]
    parts += [
        "### Inner tables",
        "",
        "The model keeps these for itself. They may change from one version to the next: do not build on them.",
        "",
        "| table | is |",
        "|---|---|",
        *(f"| `{SCHEMA}.{name}` | {table.sentence} |" for name, table in inner.items()),
    ]
    return "\n".join([*parts, ""])


def _section(name: str, table: Table) -> Iterator[str]:
    yield f"### `{SCHEMA}.{name}`"
    yield ""
    key = f" One row for each {', '.join(f'`{column}`' for column in table.key)}." if table.key else ""
    yield f"{table.sentence}{key}"
    yield ""
    yield "| column | type | is |"
    yield "|---|---|---|"
    for column, of in table.columns.items():
        yield f"| `{column}` | {TYPES[of.type]} | {of.sentence} |"


def dbt_sources() -> str:
    """models/sources.yml of the dbt package. Every text is written as a JSON string, which is one of YAML, too."""
    lines = [
        "# Written from the code by `python -m headrace.reports.model dbt`.",
        "version: 2",
        "sources:",
        "  - name: headrace_email",
        f"    description: {_quoted('The e-mail model that headrace keeps in the warehouse.')}",
        """    database: "{{ var('headrace_database', target.database) }}\"""",
        """    schema: "{{ var('headrace_email_schema', 'email') }}\"""",
        "    tables:",
    ]
    for name, table in promised().items():
        lines += [f"      - name: {name}", f"        description: {_quoted(table.sentence)}"]
        if name == "events":
            lines += _FRESHNESS
        if len(table.key) > 1:
            lines += ["        data_tests:", "          - headrace_email.unique_together:"]
            lines += ["              arguments:", f"                columns: {json.dumps(list(table.key))}"]
        lines.append("        columns:")
        for column, of in table.columns.items():
            lines += [f"          - name: {column}", f"            description: {_quoted(of.sentence)}"]
            tests = list(_tests(name, table, column, of))
            if tests:
                lines += ["            data_tests:", *tests]
    return "\n".join([*lines, ""])


_FRESHNESS: Final = (
    "        config:",
    "          loaded_at_field: received_at",
    "          freshness:",
    "            warn_after: {count: 1, period: day}",
    "            error_after: {count: 7, period: day}",
)


def _tests(name: str, table: Table, column: str, of: Column) -> Iterator[str]:
    indent = " " * 14
    if (column in table.key and column != "journey_id") or of.type is Type.COUNT:
        yield f"{indent}- not_null" + _only_of_messages(name, column)
    if [column] == list(table.key):
        yield f"{indent}- unique"
    if accepted := ACCEPTED.get((name, column)):
        yield from (
            f"{indent}- accepted_values:",
            f"{indent}    arguments:",
            f"{indent}      values: {json.dumps(accepted)}",
        )
    if parent := PARENTS.get((name, column)):
        yield from (
            f"{indent}- relationships:",
            f"{indent}    arguments:",
            f"{indent}      to: source('headrace_email', '{parent}')",
            f"{indent}      field: {column}",
        )
        if name in WITHOUT_TESTS:
            yield from (f"{indent}    config:", f"{indent}      where: not is_test")
    if of.type is Type.RATE:
        highest = "" if column in UNBOUNDED_RATES else ", high: 1"
        yield from (
            f"{indent}- headrace_email.between:",
            f"{indent}    arguments: {{low: 0{highest}}}",
        )


def _only_of_messages(name: str, column: str) -> str:
    """Subscriptions are events of no message."""
    return (
        ":\n" + " " * 18 + "config:\n" + " " * 20 + "where: message_id is not null"
        if (name, column) == ("events", "send_number")
        else ""
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case []:
            sys.stdout.write(markdown())
        case ["dbt"]:
            sys.stdout.write(dbt_sources())
        case ["into", file]:
            document = Path(file)
            document.write_text(document.read_text().partition(HEADING)[0] + markdown())
        case _:
            sys.exit("python -m headrace.reports.model [dbt | into FILE.md]")


if __name__ == "__main__":
    main(sys.argv[1:])
