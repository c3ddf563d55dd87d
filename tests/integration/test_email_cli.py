"""`headrace email ...` as people and scripts run it, over a data folder without a server."""

from __future__ import annotations

import io
import json
import shutil
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import email_tables
from headrace import cli
from headrace.cli import email as email_commands
from headrace.config import WarehouseConfig
from headrace.reports.model import kept
from headrace.reports.model.settings import RULES
from headrace.warehouses._duckdb import DuckDB
from headrace.workspace.workspace import Workspace

APP = typer.Typer(callback=lambda: None, rich_markup_mode="markdown")
email_commands.register(APP)


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (0, "") == (self.code, self.err)
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to be copied: the sources `mails` (of Selligent), `blog` and `shop`, and nothing loaded."""
    folder = tmp_path_factory.mktemp("begun") / "data"
    with Workspace.open(folder) as workspace:
        workspace.add_source("selligent-marketing-cloud", "Mails")
        workspace.add_source("http-api", "Blog")
        workspace.add_source("http-api", "Shop", "shop_events")
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    shutil.copytree(begun, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = cli.run(APP, ["email", *map(str, arguments), "--data", str(folder)])
        return Answer(code, *capsys.readouterr())

    return run


def settings(folder: Path) -> Any:
    with Workspace.open(folder) as workspace:
        return kept.kept(workspace).settings


def fill(folder: Path, **rows: Any) -> None:
    warehouse: Any = DuckDB(folder / "warehouse.duckdb", WarehouseConfig(memory_bytes=128_000_000))
    email_tables.create(warehouse)
    email_tables.fill(warehouse, rows)
    warehouse.close()


# show


def test_show_tells_sources_and_why_rules_goals_labels_and_the_model(run: Run) -> None:
    shown = run("show", "--json").json
    assert [("mails", True), ("blog", False), ("shop", False)] == [
        (one["slug"], one["is_email"]) for one in shown["sources"]
    ]
    assert "its kind is e-mail" == shown["sources"][0]["why"]
    assert [rule.name for rule in RULES] == [rule["name"] for rule in shown["rules"] if rule["on"]]
    assert ["order_completed"] == [goal["name"] for goal in shown["goals"]]
    assert [("warehouse", "none yet")] == [(one["slug"], one["state"]) for one in shown["warehouses"]]
    text = run("show").out
    for part in ("its kind is e-mail", RULES[0].sentence, "Order Completed", "Label rules: 0", "none yet"):
        assert part in text


def test_show_tells_how_far_a_warehouses_model_is(run: Run, folder: Path) -> None:
    read: dict[str, Any] = {"schema_name": "mails", "table_name": "email_opened", "role": "mail"}
    read["loaded_to"] = datetime(2026, 7, 1, tzinfo=UTC)
    fill(folder, progress=[read], campaigns=[{"campaign_id": "c"}])
    (standing,) = run("show", "--json").json["warehouses"]
    assert ("up to date", 1, 1, 0) == tuple(
        standing[name] for name in ("state", "tables_read", "campaigns", "loads_waiting")
    )
    assert not standing["is_flagging"]
    out = run("show").out
    assert "2026-07-01" in out
    assert "still by the former ones" not in out


def test_show_tells_that_mails_are_still_flagged_by_former_rules(run: Run, folder: Path) -> None:
    read = {"schema_name": "mails", "table_name": "email_opened", "role": "mail"}
    again = {"schema_name": "", "table_name": "", "role": "again", "state": "7"}
    fill(folder, progress=[row | {"loaded_to": datetime(2026, 7, 1, tzinfo=UTC)} for row in (read, again)])
    assert run("show", "--json").json["warehouses"][0]["is_flagging"]
    assert (
        "warehouse: rules for machines have changed: figures of some mails are still by the former ones."
        in run("show").out
    )


# rules


def test_a_built_in_rule_is_switched_off_and_on(run: Run, folder: Path) -> None:
    told = run("rules", "off", "fast_click", "--json").json
    assert (["~ rule fast_click: switched off"], ["rules"]) == (told["differences"], list(told["made_anew"]))
    assert "fast_click" not in {rule.name for rule in settings(folder).active_rules()}
    assert "From this follows: opens and clicks are flagged anew" in run("rules", "on", "fast_click").out
    assert "fast_click" in {rule.name for rule in settings(folder).active_rules()}
    assert "Nothing is different." in run("rules", "on", "fast_click").out


def test_a_rule_is_added_switched_and_removed(run: Run, folder: Path) -> None:
    when = (
        "ip starts_with 10.1.",
        "domain in a.example, b.example",
        "links_of_email at_least 3",
        "machine_flag is true",
    )
    given = [argument for condition in (*when, "user_agent known") for argument in ("--when", condition)]
    assert 0 == run("rules", "add", "office", "--sentence", "Ours.", "--kind", "clicked", *given).code
    (rule,) = settings(folder).rules
    assert [
        ("ip", "starts_with", "10.1."),
        ("domain", "in", ["a.example", "b.example"]),
        ("links_of_email", "at_least", 3),
        ("machine_flag", "is", True),
        ("user_agent", "known", None),
    ] == [(c.field, c.operator, c.value) for c in rule.when]
    run("rules", "off", "office")
    listed = {one["name"]: one for one in run("rules", "list", "--json").json}
    assert (False, False) == (listed["office"]["on"], listed["office"]["built_in"])
    assert "domain in a.example,b.example" in run("rules", "list").out
    run("rules", "remove", "office")
    assert [] == list(settings(folder).rules)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rules", "off", "none"), "there is no 'none'; see: headrace email rules list"),
        (("rules", "remove", "fast_click"), "built in; switch it off: headrace email rules off fast_click"),
        (("rules", "remove", "none"), "there is no 'none'"),
        (("rules", "add", "fast_click", "--sentence", "a", "--when", "ip is 1"), "is a built-in rule's name"),
        (("rules", "add", "a", "--sentence", "a", "--when", "colour is red"), "there is no field 'colour'"),
        (("rules", "add", "a", "--sentence", "a", "--when", "links_of_email less many"), "'many' is none"),
        (("rules", "add", "a", "--sentence", "a", "--when", "ip is 1", "--kind", "sent"), "found 'sent'"),
        (("goals", "add", "order_completed", "--event", "x"), "there is order_completed already"),
        (("goals", "add", "a", "--event", "x", "--source", "none"), "there is no source 'none'"),
        (("goals", "remove", "order_completed"), "give one at least"),
        (("goals", "first", "none"), "there is no 'none'"),
        (("goals", "remove", "none"), "there is no 'none'"),
        (("labels", "add", "My Set", "a", "b"), "set: take small letters"),
        (("labels", "remove", "type", "x*"), "'type' has no rule with campaign_name 'x*'"),
        (("labels", "test"), "the campaigns cannot be read"),
        (("sources", "add", "none"), "there is no source 'none'; there are blog, mails, shop"),
        (("sources", "remove", "blog"), "'blog' was not added"),
        (("apply", "/nowhere/email.toml"), "there is no file /nowhere/email.toml; make one: headrace email export"),
        (("apply", "/"), "cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_changes_nothing(
    run: Run, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    answer = run(*arguments)
    assert 1 == answer.code
    assert said in answer.err
    with Workspace.open(folder) as workspace:
        assert 0 == kept.kept(workspace).revision


def test_a_condition_that_is_none_is_wrong_usage(run: Run) -> None:
    answer = run("rules", "add", "a", "--sentence", "a", "--when", "ip resembles 10")
    assert 2 == answer.code
    assert "contains_any" in answer.err


# goals


def test_goals_are_added_put_first_and_removed(run: Run, folder: Path) -> None:
    run(
        "goals", "add", "signed_up", "--event", "Signed Up", "--source", "shop", "--value", "price", "--click-days", "7"
    )
    run("goals", "add", "called", "--event", "Called", "--first", "--key", "call_id", "--key", "id", "--open-days", "0")
    assert ["called", "order_completed", "signed_up"] == [goal.name for goal in settings(folder).goals]
    called, _, signed_up = settings(folder).goals
    assert (["call_id", "id"], 5, 0) == (called.key, called.click_days, called.open_days)
    assert (["price"], "shop", 7, 1) == (signed_up.value, signed_up.source, signed_up.click_days, signed_up.open_days)
    run("goals", "first", "order_completed")
    assert ["order_completed", "called", "signed_up"] == [one["name"] for one in run("goals", "list", "--json").json]
    assert "Signed Up" in run("goals", "list").out
    run("goals", "remove", "called")
    assert ["order_completed", "signed_up"] == [goal.name for goal in settings(folder).goals]


# labels


def test_labels_are_added_listed_and_removed(run: Run, folder: Path) -> None:
    assert "No labels." in run("labels", "list").out
    run("labels", "add", "type", "Newsletter", "NL*")
    told = run("labels", "add", "type", "Welcome", "w-?", "--field", "campaign_id", "--first", "--json").json
    assert (["+ label type: campaign_id w-? is Welcome"], ["labels"]) == (told["differences"], list(told["made_anew"]))
    assert [("Welcome", "w-?"), ("Newsletter", "NL*")] == [
        (one["label"], one["pattern"]) for one in run("labels", "list", "--json").json
    ]
    assert "Newsletter" in run("labels", "list").out
    assert 1 == run("labels", "remove", "type", "w-?").code
    assert 0 == run("labels", "remove", "type", "w-?", "--field", "campaign_id").code
    assert ["NL*"] == [rule.pattern for rule in settings(folder).labels]


def test_labels_are_tried_before_and_after_they_hold(run: Run, folder: Path, tmp_path: Path) -> None:
    fill(folder, names=[{"campaign_id": "a", "campaign_name": "NL 1"}, {"campaign_id": "b", "campaign_name": "Sale"}])
    file = tmp_path / "labels.toml"
    file.write_text(
        "labels = [\n{ set = 'type', label = 'Newsletter', pattern = 'NL*' },\n"
        "{ set = 'type', label = 'One', pattern = '*1' },\n{ set = 'type', label = 'Never', pattern = 'zz' },\n]"
    )
    before = run("labels", "test", "--file", file).out
    assert "type: 1 of 2 campaigns have a label" in before
    assert "type: campaign_name zz fits nothing" in before
    assert "type: campaign_name *1 fits 1, but earlier rules have all of them" in before
    run("apply", file)
    assert {"type": ["b"]} == run("labels", "test", "--json").json["unlabelled"]


# sources


def test_sources_are_added_and_removed(run: Run, folder: Path) -> None:
    run("sources", "add", "blog")
    assert "added by headrace email sources add" in run("show").out
    assert "Nothing is different." in run("sources", "add", "blog").out
    run("sources", "remove", "blog")
    assert [] == list(settings(folder).email_sources)


# a file


def test_what_is_exported_is_applied_without_a_difference(run: Run, folder: Path, tmp_path: Path) -> None:
    run("goals", "add", "signed_up", "--event", "Inscription terminée")
    run("labels", "add", "brand", "Été", "*été*")
    file = tmp_path / "email.toml"
    file.write_text(run("export").out)
    assert "Été" == tomllib.loads(file.read_text())["labels"][0]["label"]
    assert [] == run("apply", file, "--json").json["differences"]


def test_a_dry_run_tells_all_and_changes_nothing(run: Run, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "email.toml"
    file.write_text("disabled_rules = ['every_link']\n[[goals]]\nname = 'called'\nevent = 'Called'\n")
    told = run("apply", file, "--dry-run")
    assert [
        "~ rule every_link: switched off",
        "+ goal called: Called",
        "- goal order_completed",
        "~ the orders of email.campaigns are those of the goal called, were those of order_completed",
    ] == told.out.splitlines()[:4]
    assert "It would mean: all tables of the schema email are made anew" in told.out
    assert ["order_completed"] == [goal.name for goal in settings(folder).goals]
    run("apply", file)
    assert ["called"] == [goal.name for goal in settings(folder).goals]


def test_a_file_that_is_refused_names_the_place(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "email.toml"
    file.write_text("[[goals]]\nname = 'called'\nevent = 'Called'\nwindow = 5\n")
    answer = run("apply", file)
    assert (1, True) == (answer.code, "there is no setting 'window'; there are name, event" in answer.err)


def test_a_file_is_read_from_stdin(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"email_sources = ['blog']")))
    assert ["+ source blog"] == run("apply", "-", "--json").json["differences"]
    assert ["blog"] == list(settings(folder).email_sources)


def test_every_change_counts_so_that_the_server_notices(run: Run, folder: Path) -> None:
    with Workspace.open(folder) as workspace:
        before = workspace.revision()
        run("rules", "off", "fast_click")
        assert before + 1 == workspace.revision()


def test_a_rebuild_is_ordered_as_a_job(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ordered: list[Any] = []

    def run_job(_: object, *given: Any) -> dict[str, Any]:
        ordered.append(given[:3])
        return {"tables": 3}

    monkeypatch.setattr("headrace.app.reach.run_job", run_job)
    assert {"tables": 3} == run("rebuild", "--json").json
    assert [("warehouse", "email_rebuild", {})] == ordered
