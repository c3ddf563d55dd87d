"""Nicknames, slugs and schemas, through the workspace that keeps them unique."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ConfigError
from headrace.workspace import names
from headrace.workspace.saved import SAVED_KINDS, SavedKind
from headrace.workspace.workspace import Workspace

CASES: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "cases/workspace/names.json").read_text(encoding="utf-8")
)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("case", CASES["proposed"], ids=lambda case: case["slug"])
def test_slug_and_schema_are_proposed_from_the_nickname(workspace: Workspace, case: dict[str, str]) -> None:
    source, _ = workspace.add_source("http-api", case["nickname"])
    assert (case["slug"], case["schema"]) == (source.slug, source.schema)
    assert names.is_schema(source.schema)


@pytest.mark.parametrize("schema", CASES["allowed_schemas"])
def test_an_allowed_schema_is_taken_as_it_is(workspace: Workspace, schema: str) -> None:
    assert schema == workspace.add_source("http-api", "x", schema)[0].schema


@pytest.mark.parametrize("case", CASES["refused_schemas"], ids=lambda case: repr(case["schema"]))
def test_a_bad_schema_is_refused_with_the_rule_and_a_proposal(workspace: Workspace, case: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"digits and _.*for example '{case['proposal']}'$"):
        workspace.add_source("http-api", "x", case["schema"])
    assert workspace.sources() == []
    assert names.is_schema(case["proposal"])


@pytest.mark.parametrize("kind", SAVED_KINDS)
def test_what_is_saved_never_has_the_address_of_what_is_not_yet(workspace: Workspace, kind: SavedKind) -> None:
    saved = workspace.saved()
    assert ["new-2", "new-3", "newer"] == [
        saved.add(kind, title, "", {}, "Ada").slug for title in ("New", "new!", "Newer")
    ]
    with pytest.raises(ConfigError, match="for example 'new-4'"):
        saved.add(kind, "Another", "", {}, "Ada", "new")


def test_slug_and_schema_are_unique_for_ever(workspace: Workspace) -> None:
    first, _ = workspace.add_source("http-api", "Mails")
    workspace.remove(first.slug)
    second, _ = workspace.add_source("http-api", "Mails")
    third, _ = workspace.add_source("http-api", "mails")
    assert [(source.slug, source.schema) for source in (first, second, third)] == [
        ("mails", "mails"),
        ("mails-2", "mails_2"),
        ("mails-3", "mails_3"),
    ]


def test_a_taken_schema_is_refused_with_a_proposal_also_after_its_source_was_removed(workspace: Workspace) -> None:
    workspace.add_source("http-api", "a", "mails")
    workspace.remove("a")
    with pytest.raises(ConfigError, match="'mails_2'"):
        workspace.add_source("http-api", "b", "mails")


def test_a_number_behind_a_long_name_keeps_to_63_bytes(workspace: Workspace) -> None:
    schemas = [workspace.add_source("http-api", "a" * 80)[0].schema for _ in range(2)]
    assert schemas == ["a" * 63, "a" * 61 + "_2"]


@pytest.mark.parametrize("nickname", ["", "   ", "a" * 101, "a\nb", "a\tb", "a\x1b[31m", "a\u202eb", "\x00"])
def test_a_bad_nickname_is_refused(workspace: Workspace, nickname: str) -> None:
    with pytest.raises(ConfigError, match="1 to 100 printable"):
        workspace.add_source("http-api", nickname)


def test_a_nickname_is_trimmed_and_may_have_100_characters_of_any_script(workspace: Workspace) -> None:
    assert workspace.add_source("http-api", " " + "产" * 100 + "\n")[0].nickname == "产" * 100
