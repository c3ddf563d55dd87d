"""docs/email-model.md and the dbt package name the tables as the code has them."""

from __future__ import annotations

from pathlib import Path

from headrace.reports.model import settings
from headrace.reports.model.__main__ import HEADING, dbt_sources, markdown
from headrace.reports.model.schema import TABLES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/email-model.md").read_text()


def reference(text: str) -> str:
    return HEADING + text.partition(HEADING)[2]


def test_the_tables_are_documented_as_they_are() -> None:
    assert markdown() == reference(TEXT), "run python -m headrace.reports.model into docs/email-model.md"


def test_another_sentence_would_be_seen() -> None:
    """The control of the test above."""
    sentence = TABLES["messages"].sentence
    assert markdown() != reference(TEXT.replace(sentence, sentence[:-1]))


def test_inner_tables_are_named_apart() -> None:
    promised, inner = markdown().split("### Inner tables")
    for name, table in TABLES.items():
        assert table.is_inner == (f"### `email.{name}`" not in promised)
        assert table.is_inner == (f"| `email.{name}` |" in inner)


def test_every_rule_for_machines_is_documented() -> None:
    assert set() == {rule.name for rule in settings.RULES if f"| `{rule.name}` | {rule.sentence} |" not in TEXT}


def test_the_sources_of_dbt_are_the_tables() -> None:
    file = ROOT / "deploy/dbt/headrace_email/models/sources.yml"
    assert dbt_sources() == file.read_text(), f"run python -m headrace.reports.model dbt > {file.relative_to(ROOT)}"
