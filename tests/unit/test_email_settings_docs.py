"""docs/email-settings.md says what there is: the rules, fields and defaults of the code, and a file that can be applied."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
import typer

from headrace.cli import email
from headrace.reports.conditions import OPERATORS
from headrace.reports.model.checking import checked, plain_values
from headrace.reports.model.differences import differences
from headrace.reports.model.rule_fields import DESCRIBED_FIELDS
from headrace.reports.model.settings import ORDERS, RULES, Goal, LabelRule, ModelSettings, Rule
from headrace.reports.model.settings_file import read, written

FILE = Path(__file__).parents[2] / "docs/email-settings.md"
TEXT = FILE.read_text()
SOURCES = ("newsletter-tool", "shop")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines).replace("| --- | --- |", "|---|---|").replace(
        "|---|---| --- |", "|---|---|---|"
    )  # fmt: skip


def tables() -> dict[str, str]:
    """What stands between two comments."""
    flags = {"opened": "opens", "clicked": "clicks", "both": "opens and clicks"}
    return {
        "rules": table(("rule", "flags", "when"), ((f"`{rule.name}`", flags[rule.kind], rule.sentence) for rule in RULES)),
        "fields": table(
            ("field", "type", "what it is"),
            ((f"`{name}`", field.type, field.sentence) for name, field in DESCRIBED_FIELDS.items()),
        ),
    }  # fmt: skip


def completed(text: str) -> str:
    """The page with the tables of the code in it."""
    for name, rows in tables().items():
        pattern = rf"(?s)<!-- {name} -->\n.*<!-- end of {name} -->\n"
        text = re.sub(pattern, lambda _: f"<!-- {name} -->\n{rows}<!-- end of {name} -->\n", text)  # noqa: B023 - used at once
    return text


def example() -> str:
    return TEXT.partition("```toml\n")[2].partition("```")[0]


def names() -> set[str]:
    """Everything that must stand there as `name`."""
    found = {*OPERATORS, *(rule.name for rule in RULES), *DESCRIBED_FIELDS}
    for struct in (ModelSettings, Rule, Goal, LabelRule):
        found |= set(struct.__struct_fields__)
    return found - {"rules", "goals", "labels"}  # the parts of the page


def missing(text: str) -> set[str]:
    return {name for name in names() if f"`{name}`" not in text}


def commands(app: typer.Typer, path: str) -> Iterable[str]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield f"{path} {command.name or command.callback.__name__}"
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{path} {group.name}")


def test_the_tables_of_rules_and_fields_are_those_of_the_code() -> None:
    assert completed(TEXT) == TEXT, f"run python {Path(__file__).relative_to(FILE.parents[1])}"


def test_every_setting_rule_field_and_operator_is_documented() -> None:
    assert set() == missing(TEXT)


def test_what_is_not_documented_is_missed() -> None:
    """The control of the two tests above."""
    assert {"open_days", "fast_click"} == missing(TEXT.replace("`open_days`", "").replace("`fast_click`", ""))
    assert completed(TEXT.replace("`fast_click` |", "`slow_click` |")) == TEXT


def test_every_command_is_documented() -> None:
    documented = re.sub(r"\s+", " ", TEXT)
    assert [] == [name for name in commands(email.commands, "headrace email") if name not in documented]


def test_the_example_is_a_file_that_can_be_applied() -> None:
    settings = checked(tomllib.loads(example()), SOURCES)
    assert ("our_office", "every_link") == (settings.rules[0].name, settings.disabled_rules[0])
    assert plain_values(settings) == plain_values(read(written(settings)))
    assert differences(ModelSettings(), settings)


def test_the_example_shows_every_setting_but_the_switch_of_a_rule() -> None:
    found = tomllib.loads(example())
    shown = set(found) | {key for part in ("rules", "goals", "labels") for one in found[part] for key in one}
    structs = (ModelSettings, Rule, Goal, LabelRule)
    assert {"enabled"} == {name for struct in structs for name in struct.__struct_fields__} - shown


@pytest.mark.parametrize("name", ["value", "key", "click_days", "open_days"])
def test_the_defaults_of_a_goal_are_those_of_the_code(name: str) -> None:
    told = TEXT.partition(f"<!-- goal {name} -->")[2].partition("<!-- end -->")[0]
    default = getattr(ORDERS, name)
    assert told == (f"{default:g}" if isinstance(default, float) else ", ".join(f"`{one}`" for one in default))


if __name__ == "__main__":
    FILE.write_text(completed(TEXT))
