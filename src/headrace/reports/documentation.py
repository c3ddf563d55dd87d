"""What may be asked for, as Markdown: `python -m headrace.reports.documentation` prints it, and `into FILE` puts it at the end of docs/reports.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from headrace.reports.datasets import DATASETS
from headrace.reports.dimensions import LABEL, LABEL_SENTENCE
from headrace.reports.measures import MEASURES, definition
from headrace.reports.planning import fields_of, measures_of
from headrace.reports.presets import PRESETS

HEADING: Final = "## The reports"
"""From here on the document is printed."""


def documentation() -> str:
    """From HEADING to the end."""
    return "\n".join((HEADING, "", *_presets(), "", *_datasets(), "", *_fields(), "", *_measures(), ""))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _presets() -> list[str]:
    rows = [(f"`{of.name}`", of.sentence, of.dataset, _names(of.dimensions)) for of in PRESETS.values()]
    return _table(("report", "what it says", "dataset", "a row for each"), rows)


def _datasets() -> list[str]:
    rows = [(f"`{of.name}`", of.sentence) for of in DATASETS.values()]
    return ["## The datasets", "", *_table(("dataset", "what is counted, and what a period selects"), rows)]


def _fields() -> list[str]:
    datasets = {name: fields_of(dataset) for name, dataset in DATASETS.items()}
    known = {field.name: field for fields in datasets.values() for field in fields}
    rows = [
        (
            f"`{name}`",
            field.type + (", only in filters" if field.only_filters else ""),
            field.sentence,
            ", ".join(dataset for dataset, fields in datasets.items() if field in fields),
        )
        for name, field in known.items()
    ]
    with_campaigns = [name for name, fields in datasets.items() if known["campaign_id"] in fields]
    rows.append((f"`{LABEL}SET`", "text", LABEL_SENTENCE, ", ".join(with_campaigns)))
    return ["## The fields", "", *_table(("field", "type", "what it says", "datasets"), rows)]


def _measures() -> list[str]:
    datasets = {name: {of.name for of in measures_of(dataset)} for name, dataset in DATASETS.items()}
    rows = [
        (
            f"`{of.name}`",
            of.unit,
            of.sentence,
            f"`{definition(of)}`" if definition(of) else "",
            ", ".join(name for name, known in datasets.items() if of.name in known),
        )
        for of in MEASURES.values()
    ]
    columns = ("measure", "unit", "what it says", "numerator / denominator", "datasets")
    return ["## The measures", "", *_table(columns, rows)]


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] != ["into"]:
        sys.stdout.write(documentation())
        return
    file = Path(arguments[1])
    before, _, _ = file.read_text(encoding="utf-8").partition(HEADING)
    file.write_text(before + documentation(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
