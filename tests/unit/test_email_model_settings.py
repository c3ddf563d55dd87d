"""What may be chosen about the e-mail model, and how the workspace keeps it."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic import config as alembic_config

from headrace.errors import ConfigError
from headrace.reports.conditions import Condition
from headrace.reports.model import kept
from headrace.reports.model.checking import checked, plain_values
from headrace.reports.model.rule_fields import DESCRIBED_FIELDS, RULE_FIELDS
from headrace.reports.model.settings import RULES, Goal, LabelRule, ModelSettings
from headrace.workspace import database
from headrace.workspace.workspace import DATABASE_FILE, SECRET_FILE, Workspace

SOURCES = ("mails", "shop")
RULE = {"name": "office", "sentence": "From the office.", "when": [["ip", "starts_with", "10.1."]]}
GOAL = {"name": "signed_up", "event": "Signed Up"}
LABEL = {"set": "type", "label": "Newsletter", "pattern": "NL*"}


def refused(given: object) -> str:
    with pytest.raises(ConfigError) as refusal:
        checked(given, SOURCES)
    return str(refusal.value)


# what is refused, and what the refusal says


def test_settings_that_make_sense_are_taken() -> None:
    """The control of all refusals below."""
    given = {
        "email_sources": ["mails"],
        "disabled_rules": ["every_link"],
        "rules": [RULE],
        "goals": [GOAL, {**GOAL, "name": "ordered", "source": "shop", "value": [], "click_days": 365}],
        "labels": [LABEL, {**LABEL, "pattern": "*"}, {**LABEL, "field": "campaign_id"}],
    }
    found = checked(given, SOURCES)
    assert "office" in {rule.name for rule in found.active_rules()}
    assert "every_link" not in {rule.name for rule in found.active_rules()}
    assert [Condition("ip", "starts_with", "10.1.")] == list(found.rules[0].when)
    assert ["signed_up", "ordered"] == [goal.name for goal in found.goals]


def test_nothing_chosen_is_the_defaults() -> None:
    assert plain_values(ModelSettings()) == plain_values(checked({}, ()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"colour": 1}, "there is no setting 'colour'; there are email_sources, disabled_rules, rules"),
        ({"email_sources": ["elsewhere"]}, "email_sources: there is no source 'elsewhere'; there are mails, shop"),
        ({"email_sources": ["mails", "mails"]}, "'mails' stands there twice"),
        ({"disabled_rules": ["no_such"]}, "disabled_rules: there is no 'no_such'; there are every_link, fast_click"),
        ({"rules": [{**RULE, "name": "fast_click"}]}, "rules: fast_click: that is a built-in rule's name"),
        ({"rules": [RULE, RULE]}, "rules: 'office' stands there twice"),
        ({"rules": [{**RULE, "name": "My Rule"}]}, "rules: number 1: name: take small letters"),
        ({"rules": [{**RULE, "sentence": " "}]}, "rules: office: sentence: give 1 to 500 characters"),
        ({"rules": [{**RULE, "when": []}]}, "rules: office: when: give 1 to 20 conditions"),
        ({"rules": [{**RULE, "when": [["colour", "is", "red"]]}]}, "there is no field 'colour'; there are campaign_id"),
        (
            {"rules": [{**RULE, "when": [["ip", "resembles", "10"]]}]},
            "rules: office: when: number 1: operator: take one of at_least, at_most",
        ),
        ({"rules": [{**RULE, "when": [["ip", "less", "10"]]}]}, "ip is a text; less is for numbers"),
        ({"rules": [{**RULE, "when": [["ip", "is", 10]]}]}, "ip is a text, and 10 is none"),
        ({"rules": [{**RULE, "when": [["ip", "is", "10\n"]]}]}, "ip is: give 1 to 500 characters in one line"),
        ({"rules": [{**RULE, "when": [["ip", "known", "10"]]}]}, "ip known takes no value"),
        ({"rules": [{**RULE, "when": [["ip", "in", []]]}]}, "ip in wants a list of 1 to 1000 values"),
        ({"rules": [{**RULE, "when": [["links_of_email", "more", "3"]]}]}, "links_of_email is a number, and '3' is"),
        ({"rules": [{**RULE, "when": [["links_of_email", "more", math.nan]]}]}, "links_of_email is a number, and nan"),
        ({"rules": [{**RULE, "when": [["machine_flag", "is", 1]]}]}, "machine_flag is a truth, and 1 is none"),
        ({"rules": [{**RULE, "when": [["kind", "is", "delivered"]]}]}, "kind is opened or clicked, never 'delivered'"),
        ({"goals": []}, "goals: give one at least"),
        ({"goals": [GOAL, GOAL]}, "goals: 'signed_up' stands there twice"),
        ({"goals": [{**GOAL, "event": ""}]}, "goals: signed_up: event: give 1 to 500 characters"),
        ({"goals": [{**GOAL, "source": "elsewhere"}]}, "goals: signed_up: source: there is no source 'elsewhere'"),
        ({"goals": [{**GOAL, "value": ["a\0b"]}]}, "goals: signed_up: value: give 1 to 500 characters"),
        (
            {"goals": [{**GOAL, "click_days": 0}]},
            "goals: signed_up: click_days: give a number above 0, at most 365; found 0",
        ),
        (
            {"goals": [{**GOAL, "open_days": 366}]},
            "goals: signed_up: open_days: give a number at least 0, at most 365; found 366",
        ),
        ({"goals": [{**GOAL, "open_days": math.nan}]}, "days"),
        ({"goals": [{**GOAL, "click_days": math.inf}]}, "days"),
        ({"labels": [{**LABEL, "pattern": "a\nb"}]}, "labels: rule 1 (type): pattern: give 1 to 500 characters"),
        ({"labels": [{**LABEL, "label": "\udc80"}]}, "labels: rule 1 (type): label: give 1 to 500 characters"),
        (
            {"labels": [{**LABEL, "pattern": "a" * 501}]},
            "labels: number 1: pattern: give 1 to 500 characters; found 'aaa",
        ),
        ({"labels": [LABEL, {**LABEL, "label": "Other"}]}, "of two with the same pattern the second is never used"),
        (
            {"labels": [{**LABEL, "field": "subject"}]},
            "labels: number 1: field: take one of campaign_id, campaign_name; found 'subject'",
        ),
        ({"labels": [LABEL] * 10_001}, "labels: 10001 are too many; 10000 are possible"),
        ([], "give an object of email_sources, disabled_rules, rules, goals, labels; found []"),
        ({"goals": [{"name": "bought"}]}, "goals: bought: event is missing; give name, event"),
        ({"goals": {}}, "goals: give a list; found {}"),
        ({"goals": [{**GOAL, "source": 1}]}, "goals: signed_up: source: give a text; found 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(given: Any, said: str) -> None:
    text = refused(given)
    assert text.startswith("email settings: ")
    assert said in text


def test_every_built_in_rule_asks_for_fields_that_there_are() -> None:
    named = [{"name": f"own_{rule.name}", "sentence": rule.sentence, "when": rule.when} for rule in RULES]
    assert len(RULES) == len(checked({"rules": named}, ()).rules)


def test_every_field_of_a_rule_has_a_sentence() -> None:
    assert [] == [name for name, field in DESCRIBED_FIELDS.items() if not field.sentence.endswith(".")]
    assert list(DESCRIBED_FIELDS) == list(RULE_FIELDS)


# what the workspace keeps


@pytest.fixture
def workspace(tmp_path: Path) -> Any:
    with Workspace.open(tmp_path) as opened:
        opened.add_source("http-api", "Shop")
        yield opened


CHOSEN = ModelSettings(
    goals=[Goal(name="signed_up", event="Signed Up", source="shop")],
    labels=[LabelRule(set="type", label="Été", pattern="*")],
)


def test_a_new_workspace_has_the_defaults_at_revision_0(workspace: Workspace) -> None:
    assert (ModelSettings(), 0) == kept.kept(workspace)


def test_settings_are_found_again_and_count_in_the_workspaces_revision(workspace: Workspace) -> None:
    before = workspace.revision()
    assert 1 == kept.keep(workspace, CHOSEN, 0).revision
    found = kept.kept(workspace)
    assert (plain_values(CHOSEN), 1) == (plain_values(found.settings), found.revision)
    assert before + 1 == workspace.revision()


def test_the_same_settings_again_are_no_change(workspace: Workspace) -> None:
    kept.keep(workspace, CHOSEN, 0)
    before = workspace.revision()
    assert 1 == kept.keep(workspace, kept.kept(workspace).settings, 1).revision
    assert before == workspace.revision()


def test_a_change_made_from_older_settings_is_refused_and_changes_nothing(workspace: Workspace) -> None:
    kept.keep(workspace, CHOSEN, 0)
    with pytest.raises(ConfigError, match=r"at revision 1, and these were made from 0.*read them again"):
        kept.keep(workspace, ModelSettings(), 0)
    assert plain_values(CHOSEN) == plain_values(kept.kept(workspace).settings)


def test_settings_that_make_no_sense_are_not_kept(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match="no source 'elsewhere'"):
        kept.keep(workspace, ModelSettings(email_sources=["elsewhere"]), 0)
    assert 0 == kept.kept(workspace).revision


def test_settings_may_name_a_removed_source_whose_events_stay(workspace: Workspace) -> None:
    workspace.remove("shop")
    assert 1 == kept.keep(workspace, CHOSEN, 0).revision


def test_settings_of_a_newer_release_are_refused_with_the_remedy(workspace: Workspace) -> None:
    workspace.email_model().keep('{"moods": []}', 0)
    with pytest.raises(ConfigError, match=r"not understood.*if a newer headrace wrote it, run that one"):
        kept.kept(workspace)


def test_the_table_is_the_one_of_the_migration(workspace: Workspace) -> None:
    with workspace._database.read() as connection:
        found = sa.inspect(connection).get_columns("email_model")
    declared = {(column.name, column.nullable) for column in database.email_model.columns}
    assert declared == {(column["name"], column["nullable"]) for column in found}


def test_a_workspace_of_the_fourth_migration_is_upgraded_and_has_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_FILE
    (tmp_path / SECRET_FILE).write_bytes(b"s" * 32)
    engine = sa.create_engine(f"sqlite:///{path}")
    settings = alembic_config.Config()
    settings.set_main_option("script_location", str(database.MIGRATIONS))
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0004")
        connection.execute(sa.text("UPDATE revision SET value = 7"))
    engine.dispose()
    with sqlite3.connect(path) as before:
        assert [] == before.execute("SELECT name FROM sqlite_master WHERE name = 'email_model'").fetchall()
    before.close()
    with Workspace.open(tmp_path) as workspace:
        assert 7 == workspace.revision()
        assert (ModelSettings(), 0) == kept.kept(workspace)
