"""The figures of the demo: the report of its campaigns, and what the simulation decided beside what was found and what rows would say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.cli.output import print_line, print_table
from headrace.errors import ConfigError, HeadraceError, QueryError

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.reports.answers import ReportAnswer
    from headrace.simulator.truth import Truth

MODEL_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.2
_WORDS: Final = {
    "delivered": "messages delivered",
    "opens": "opened by anyone",
    "human_opens": "opened by a person",
    "human_clicks": "clicked by a person",
    "orders": "orders they led to",
}
_ROWS: Final = {
    "delivered": "{mail}.email_delivered",
    "opens": "{mail}.email_opened",
    "human_opens": "{mail}.email_opened WHERE NOT coalesce(machine_open, false)",
    "human_clicks": "{mail}.email_link_clicked",
    "orders": "{shop}.order_completed",
}
"""What one would count without the model."""


class Figure(NamedTuple):
    """`truth` is what the simulation decided, `rows` the rows of the event's table; null where there is no such table."""

    figure: str
    truth: int
    model: int
    rows: int | None


def report(config: Config) -> ReportAnswer:
    """The campaigns, once the model knows all that is loaded. Raises HeadraceError when that takes too long."""
    from headrace.app import reach  # noqa: PLC0415 - --help needs no database
    from headrace.reports.request import ReportRequest  # noqa: PLC0415 - as above

    deadline = time.monotonic() + MODEL_SECONDS
    while True:
        try:
            answer = reach.report(config, ReportRequest(preset="campaigns"))
            if not answer.loads_behind:
                return answer
        except (ConfigError, QueryError):  # no tables of e-mail yet
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise HeadraceError(f"demo: the e-mail model is not up to date after {MODEL_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def campaigns(answer: ReportAnswer) -> list[dict[str, Any]]:
    names = [column.name for column in answer.columns]
    return [dict(zip(names, row, strict=True)) for row in answer.rows]


def figures(config: Config, answer: ReportAnswer, truth: Truth, mail: str, shop: str) -> list[Figure]:
    """`mail` and `shop` are schemas."""
    from headrace.simulator.tally import Tally  # noqa: PLC0415 - as above

    total = Tally()
    for tally in truth.tallies.values():
        total.plus(tally)
    rows = campaigns(answer)
    return [
        Figure(
            words,
            getattr(total, name),
            sum(row[name] for row in rows),
            _rows(config, _ROWS[name].format(mail=mail, shop=shop)),
        )
        for name, words in _WORDS.items()
    ]


def _rows(config: Config, counted: str) -> int | None:
    from headrace.app import reach  # noqa: PLC0415 - as above

    try:
        return int(reach.query(config, f"SELECT count(*) FROM {counted}").rows[0][0])  # noqa: S608 -- a schema's name is plain ASCII
    except HeadraceError:  # nobody ordered, for example
        return None


def print_figures(answer: ReportAnswer, found: list[Figure]) -> None:
    from headrace.cli import report_shown  # noqa: PLC0415 - as above

    report_shown.print_report(answer, None, None, (), is_line=False)
    print_line("\nThe simulation knows what people and machines did:\n")
    print_table(
        ("", "TRUTH", "E-MAIL MODEL", "COUNTING ROWS"),
        ([one.figure, *("" if count is None else f"{count:,}" for count in one[1:])] for one in found),
        "",
    )
