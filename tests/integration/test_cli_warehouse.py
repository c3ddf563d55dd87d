"""`headrace warehouse ...`, `headrace catalog` and `headrace query` as people and scripts run them.

What needs a worker is answered by a stand-in here; tests/integration/test_loader.py and test_serve.py have the real one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace import cli
from headrace.app import reach
from headrace.cli import warehouse_jobs
from headrace.console.status import HeldColumn, PartitionStatus, WarehouseState, WarehouseStatus
from headrace.console.warehouses import WarehouseDetail, loads_of, misfits_of
from headrace.errors import ConfigError, WarehouseUnavailableError
from headrace.loader.columns import ARROW_TYPES
from headrace.warehouses.base import HOUSEKEEPING_TABLES, QueryResult
from headrace.workspace import secret_settings
from headrace.workspace.workspace import Workspace
from made_warehouse import DSN, ESCAPED, PASSWORD, SHOWN_DSN, TOKEN, Made, made

__all__ = ["made"]

pytestmark = pytest.mark.usefixtures("made")

MOMENT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (0, "") == (self.code, self.err)
        assert self.out.count("\n") == 1
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process."""

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        code = cli.run(cli.app, [str(argument) for argument in arguments])
        return Answer(code, *capfd.readouterr())

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    with Workspace.open(folder) as workspace:
        workspace.add_source("http-api", "Mails")
    return folder


@pytest.fixture
def warehouse(run: Run, data: Path) -> Run:
    """Runs `headrace warehouse COMMAND` on a data folder of this test."""
    return lambda *arguments: run("warehouse", *arguments, "--data", data)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "dsn.txt"
    file.write_text(f"{DSN}\n")
    return file


@pytest.fixture
def with_secrets(warehouse: Run, secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """The warehouse `own` is there."""
    monkeypatch.setenv("OWN_TOKEN", TOKEN)
    return warehouse(
        "add", "made", "--name", "Own", "--set", f"dsn=@{secret_file}", "--set", "token=env:OWN_TOKEN", "--json"
    )


# add


def test_add_prints_one_json_object_and_the_settings_arrive_in_clear_where_they_are_needed(
    with_secrets: Answer, data: Path
) -> None:
    added = with_secrets.json
    assert ("own", "made", "Own", "active", {}) == (
        added["slug"],
        added["kind"],
        added["nickname"],
        added["state"],
        added["selection"],
    )
    assert {"dsn": SHOWN_DSN, "token": "***", "port": 5432, "tables": {}, "step": ""} == added["settings"]
    with Workspace.open(data, create=False) as workspace:
        assert {"dsn": DSN, "token": TOKEN} == workspace.revealed_settings("own")


def test_add_tells_people_what_was_added_and_how_to_go_on(warehouse: Run) -> None:
    answer = warehouse("add", "made", "--name", "Été", "--set", "port=1")
    assert (0, "") == (answer.code, answer.err)
    for expected in ("Été", "per table", "headrace warehouse show ete", "Everything that the log still has"):
        assert expected in answer.out


def test_add_makes_the_data_folder(run: Run, tmp_path: Path) -> None:
    run("warehouse", "add", "made", "--name", "a", "--slug", "own-1", "--data", tmp_path / "new")
    listed = run("warehouse", "list", "--json", "--data", tmp_path / "new").json
    assert ["warehouse", "own-1"] == [warehouse["slug"] for warehouse in listed]


@pytest.mark.parametrize("step", ["network", "login", "schema"])
def test_a_warehouse_whose_test_fails_is_not_added_and_the_remedy_is_said(warehouse: Run, step: str) -> None:
    answer = warehouse("add", "made", "--name", "a", "--set", f"step={step}")
    assert (1, "") == (answer.code, answer.out)
    assert re.search(rf"^failed  {step} .*\n        GRANT ALL TO ada", answer.err, re.MULTILINE)
    assert f"error: warehouse: nothing was added, since {step} failed" in answer.err
    assert ["warehouse"] == [listed["slug"] for listed in warehouse("list", "--json").json]
    assert 0 == warehouse("add", "made", "--name", "a", "--set", f"step={step}", "--no-check").code
    assert ["warehouse", "a"] == [listed["slug"] for listed in warehouse("list", "--json").json]


@pytest.mark.parametrize(
    ("arguments", "explained"),
    [
        (("add", "nonesuch", "--name", "x"), "no kind 'nonesuch'.*duckdb"),
        (("add", "made", "--name", " "), "nickname"),
        (("add", "made", "--name", "x", "--slug", "X Y"), "'X Y' is not allowed.*'x-y'"),
        (("add", "made", "--name", "x", "--slug", "warehouse"), "'warehouse' is taken"),
        (("add", "made", "--name", "x", "--set", "nonesuch=1"), "no 'nonesuch'; it has dsn, token"),
        (("add", "made", "--name", "x", "--set", "port=many"), "port"),
        (("add", "made", "--name", "x", "--set", "dsn=@/nonesuch/file"), "dsn: there is no file /nonesuch/file"),
        (("add", "made", "--name", "x", "--set", "dsn=@/"), "dsn: cannot read /"),
        (("add", "made", "--name", "x", "--set", "dsn=env:NONESUCH_1"), "no variable 'NONESUCH_1'"),
        (("show", "nonesuch"), "headrace warehouse list"),
        (("test", "nonesuch"), "headrace warehouse list"),
        (("set", "nonesuch", "a=b"), "headrace warehouse list"),
        (("pause", "nonesuch"), "headrace warehouse list"),
        (("remove", "nonesuch", "--yes"), "headrace warehouse list"),
        (("select", "nonesuch", "--source", "mails", "--all"), "headrace warehouse list"),
        (("select", "warehouse", "--source", "nonesuch", "--all"), "headrace source list"),
        (("snapshot", "--warehouse", "nonesuch"), "no 'nonesuch'; there is warehouse"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_explained_and_ends_with_1(
    warehouse: Run, arguments: tuple[str, ...], explained: str
) -> None:
    answer = warehouse(*arguments)
    assert (1, "") == (answer.code, answer.out)
    assert re.search(f"^error: .*{explained}", answer.err)
    assert ["warehouse"] == [listed["slug"] for listed in warehouse("list", "--json").json]


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "made"),
        ("add", "made", "--name", "x", "--set", "port"),
        ("add", "made", "--name", "x", "--set", "=1"),
        ("set", "warehouse"),
        ("remove", "warehouse"),
        ("remove", "warehouse", "--json"),
        ("select", "warehouse", "--source", "mails"),
        ("select", "warehouse", "--source", "mails", "--all", "--only", "tracks"),
        ("select", "warehouse", "--all"),
        ("retype", "a.b", "string"),
        ("retype", "a.b.c", "varchar"),
        ("retype", "a.b.c.d", "string"),
        ("rebuild", "a.b.c"),
        ("rebuild", "a."),
        ("export",),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_changes_nothing(warehouse: Run, data: Path, arguments: tuple[str, ...]) -> None:
    with Workspace.open(data) as workspace:
        before = workspace.revision()
    answer = warehouse(*arguments)
    assert (2, "") == (answer.code, answer.out)
    assert "Usage: headrace warehouse" in answer.err
    with Workspace.open(data) as workspace:
        assert before == workspace.revision()


# values


def test_values_come_from_files_variables_or_as_they_stand(warehouse: Run, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("line 1\nline 2\r\n")
    for number, (text, expected) in enumerate(
        (("@" + str(file), "line 1\nline 2"), ("text:@x", "@x"), ("text:env:HOME", "env:HOME"), ("a=b=c", "a=b=c"))
    ):
        warehouse("add", "made", "--name", str(number), "--set", f"dsn={text}")
        with Workspace.open(data) as workspace:
            assert expected == workspace.revealed_settings(str(number))["dsn"]


def test_an_object_is_taken_as_json_and_a_text_that_looks_like_one_is_not(warehouse: Run, data: Path) -> None:
    warehouse("add", "made", "--name", "a", "--set", 'tables={"a": "b"}', "--set", 'dsn={"a": "b"}')
    with Workspace.open(data) as workspace:
        assert {"tables": {"a": "b"}, "dsn": '{"a": "b"}'} == workspace.revealed_settings("a")
    said = warehouse("add", "made", "--name", "b", "--set", "tables={a").err
    assert "settings: tables: no JSON (" in said
    assert "line 1, column 2); quote it for the shell" in said


def test_a_secret_on_the_command_line_is_taken_with_a_note(warehouse: Run, secret_file: Path) -> None:
    noted = warehouse("add", "made", "--name", "a", "--set", f"dsn={DSN}")
    assert 0 == noted.code
    assert "note: dsn stood on the command line" in noted.err
    for quiet in (f"dsn=@{secret_file}", "port=1", "dsn="):
        assert "" == warehouse("set", "a", quiet).err


def test_a_file_that_is_no_text_or_too_long_is_refused_without_its_content(warehouse: Run, tmp_path: Path) -> None:
    file = tmp_path / "f"
    for content, explained in (
        (b"\xff\xfe geheim", "is not UTF-8"),
        (b"geheim " * 200_000, "more than 1,000,000 bytes"),
    ):
        file.write_bytes(content)
        answer = warehouse("add", "made", "--name", "a", "--set", f"dsn=@{file}")
        assert 1 == answer.code
        assert explained in answer.err
        assert "geheim" not in answer.err


def test_help_says_what_is_meant_where_nothing_is_given(run: Run) -> None:
    for command, expected in (("add", "from the nickname"), ("retype", "the only one, or the one called warehouse")):
        assert f"[default: {expected}]" in " ".join(run("warehouse", command, "--help").out.replace("│", " ").split())


# list, set, rename, pause, resume, remove


def test_changes_answer_with_the_warehouse_as_it_is_now(warehouse: Run, with_secrets: Answer) -> None:
    assert "paused" == warehouse("pause", "own", "--json").json["state"]
    assert "active" == warehouse("resume", "own", "--json").json["state"]
    assert "Zwei" == warehouse("rename", "own", "Zwei", "--json").json["nickname"]
    changed = warehouse("set", "own", "port=1", "step=x", "--unset", "token", "--json").json["settings"]
    assert {"dsn": SHOWN_DSN, "token": "", "port": 1, "step": "x", "tables": {}} == changed
    assert "removed" == warehouse("remove", "own", "--yes", "--json").json["state"]
    assert ["warehouse"] == [listed["slug"] for listed in warehouse("list", "--json").json]
    assert ["warehouse", "own"] == [listed["slug"] for listed in warehouse("list", "--all", "--json").json]


def test_removing_asks_for_a_yes_and_says_what_stays(warehouse: Run) -> None:
    warehouse("add", "made", "--name", "a")
    refused = warehouse("remove", "a")
    assert 2 == refused.code
    assert "--yes" in refused.err
    answer = warehouse("remove", "a", "--yes")
    assert "Its data stays where it is.\n" in answer.out
    assert "events wait in the log" not in answer.out
    assert "It is the last one: from now on events wait in the log." in warehouse("remove", "warehouse", "--yes").out
    assert "headrace warehouse add" in warehouse("list").out


def test_a_table_in_a_pipe_is_one_line_a_warehouse_and_foreign_text_steers_nothing(warehouse: Run) -> None:
    warehouse("add", "made", "--name", "[red]a[/red]" + "b" * 80)
    answer = warehouse("list")
    assert 3 == len(answer.out.splitlines())
    assert "[red]a[/red]" in answer.out
    for answer in (warehouse("show", "a\x1b]0;b\x07\n"), warehouse("add", "\x1b[31m", "--name", "x")):
        assert "\x1b" not in answer.out + answer.err


# test


def test_each_step_is_shown_and_all_ok_ends_with_0(warehouse: Run, with_secrets: Answer) -> None:
    answer = warehouse("test", "own")
    assert (0, "") == (answer.code, answer.err)
    assert "".join(f"ok      {step:<7}  own: {step} works\n" for step in ("network", "login", "schema")) == answer.out
    assert [True] * 3 == [finding["ok"] for finding in warehouse("test", "own", "--json").json]


def test_a_failed_step_ends_with_1_and_shows_the_remedy(warehouse: Run, with_secrets: Answer) -> None:
    warehouse("set", "own", "step=login")
    answer = warehouse("test", "own")
    assert (1, "") == (answer.code, answer.err)
    lines = answer.out.splitlines()
    assert ["ok", "failed", "GRANT"] == [line.split()[0] for line in lines]
    in_json = warehouse("test", "own", "--json")
    assert 1 == in_json.code
    assert {"step", "ok", "text", "remedy"} == json.loads(in_json.out)[1].keys()


def test_a_check_that_breaks_is_a_failed_step_and_no_stack(
    warehouse: Run, with_secrets: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(self: Made) -> None:
        raise ZeroDivisionError(f"cannot use {DSN}")

    monkeypatch.setattr(Made, "check", check)
    answer = warehouse("test", "own")
    assert (1, "") == (answer.code, answer.err)
    assert "failed  check  ZeroDivisionError: cannot use ***\n" in answer.out


def test_the_embedded_warehouse_can_be_tested(warehouse: Run) -> None:
    assert 0 == warehouse("test", "warehouse").code


# secrets


def outputs(warehouse: Run, data: Path) -> str:
    """Everything that any command says of the warehouse `own`, and a record's repr."""
    commands = [
        *(("list", *more) for more in ((), ("--json",), ("--all",))),
        *((command, "own", *more) for command in ("show", "pause", "resume") for more in ((), ("--json",))),
        ("set", "own", "port=0"),
        ("set", "own", "step=schema"),
        ("test", "own"),
        ("test", "own", "--json"),
        ("select", "own", "--source", "mails", "--only", "tracks"),
        ("rename", "own", "Other", "--json"),
        ("snapshot", "--warehouse", "own"),
    ]
    said = [warehouse(*command) for command in commands]
    with Workspace.open(data) as workspace:
        shown = repr(workspace.warehouse("own"))
    said.append(warehouse("remove", "own", "--yes"))
    return shown + "".join(answer.out + answer.err for answer in said)


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot be reached."""

    def fail(*_: object, **__: object) -> None:
        raise WarehouseUnavailableError("worker: no answer")

    for name in ("warehouse_detail", "run_job", "query", "arrow"):
        monkeypatch.setattr(reach, name, fail, raising=False)


def test_no_command_tells_a_secret(warehouse: Run, with_secrets: Answer, talkative: None, data: Path) -> None:
    said = with_secrets.out + with_secrets.err + outputs(warehouse, data)
    assert [] == [secret for secret in (DSN, PASSWORD, ESCAPED, TOKEN) if secret in said]
    assert SHOWN_DSN in said
    assert "schema: cannot use *** with ***" in said  # where a check quoted them


def test_the_search_finds_what_is_not_masked(
    warehouse: Run, with_secrets: Answer, talkative: None, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: each of the two masks is needed."""
    from headrace.app import checking

    monkeypatch.setattr(checking, "without_secrets", lambda text, _: text)
    monkeypatch.setattr(secret_settings, "masked", lambda _, value, **__: value)
    said = outputs(warehouse, data)
    assert [DSN, PASSWORD, ESCAPED, TOKEN] == [secret for secret in (DSN, PASSWORD, ESCAPED, TOKEN) if secret in said]


def test_no_file_of_the_data_folder_holds_a_secret(with_secrets: Answer, data: Path) -> None:
    assert 0 == with_secrets.code
    everything = b"".join(file.read_bytes() for file in data.rglob("*") if file.is_file())
    assert [] == [secret for secret in (DSN, PASSWORD, ESCAPED, TOKEN) if secret.encode() in everything]
    assert SHOWN_DSN.encode() in everything  # the control: what is stored is found


# select


def test_a_selection_is_kept_and_told(warehouse: Run) -> None:
    arguments = (
        "--without",
        "pages",
        "--without",
        "identifies",
        "--without-property",
        "*.ip",
        "--where",
        'event = "a"',
    )
    answer = warehouse("select", "warehouse", "--source", "mails", *arguments, "--json").json
    expected = {"without": ["pages", "identifies"], "without_properties": ["*.ip"], "where": 'event = "a"'}
    assert {"mails": expected} == answer["selection"]
    assert any("users" in note for note in answer["notes"])
    shown = warehouse("select", "warehouse", "--source", "mails", "--only", "tracks")
    assert 'selection of mails  {"only": ["tracks"]}' in shown.out
    assert "headrace warehouse backfill warehouse --source mails" in shown.out
    assert "mails" in warehouse("list").out
    assert {} == warehouse("select", "warehouse", "--source", "mails", "--all", "--json").json["selection"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--only", "Email Sent"),
        ("--only", "tracks", "--without", "pages"),
        ("--without-property", "ip"),
        ("--where", "event ="),
    ],
    ids=" ".join,
)
def test_a_selection_that_is_none_is_refused_and_not_kept(warehouse: Run, arguments: tuple[str, ...]) -> None:
    answer = warehouse("select", "warehouse", "--source", "mails", *arguments)
    assert (1, "") == (answer.code, answer.out)
    assert answer.err.startswith("error: selection")
    assert {} == warehouse("list", "--json").json[0]["selection"]


# show


def housekeeping(table: str, *rows: dict[str, Any]) -> Any:
    types = HOUSEKEEPING_TABLES[table]
    return pa.table(
        {name: pa.array([row.get(name) for row in rows], ARROW_TYPES[kind]) for name, kind in types.items()}
    )


def made_detail() -> WarehouseDetail:
    load = {"started": MOMENT, "seconds": 1.5, "partition": 0, "position_from": 5, "position_to": 1205, "events": 1200}
    tables = {f"mails.t{number}": number for number in range(1, 8)}
    loads = loads_of(
        housekeeping(
            "loads",
            {**load, "rows": json.dumps({"mails.tracks": 1200, **tables}), "result": "ok"},
            {**load, "rows": "{}", "events": None, "result": "disk \x1b[31mfull"},
        )
    )
    misfit = {"schema": "mails", "table": "order_done", "column": "revenue", "received_at": MOMENT}
    discards = housekeeping(
        "discards",
        {**misfit, "row_id": "1", "value": '"free"', "reason": "text does not fit the column's type float"},
        {**misfit, "row_id": "2", "value": '"gratis"', "reason": "text does not fit the column's type float"},
        {**misfit, "row_id": "3", "column": "n", "value": "1.5", "reason": "the view v uses it"},
    )
    state = WarehouseState(
        "warehouse",
        "duckdb",
        "Warehouse",
        "loading",
        error="disk full",
        discards=12_000,
        held=[HeldColumn("mails", "order_done", "n", "the view v uses it")],
    )
    status = WarehouseStatus(state, {}, [], [PartitionStatus(0, "i", 0, 1300, 1205)], 12.34)
    return WarehouseDetail(status, [loads[0]], [loads[1]], misfits_of(discards), 3)


def test_misfits_are_counted_by_column_and_reason_most_first() -> None:
    first, second = made_detail().misfits
    assert ("mails", "order_done", "revenue", "text does not fit the column's type float", 2, MOMENT) == (
        first.schema,
        first.table,
        first.column,
        first.reason,
        first.values,
        first.last_received_at,
    )
    assert ("n", 1) == (second.column, second.values)
    assert [] == misfits_of(housekeeping("discards"))
    assert [] == loads_of(housekeeping("loads"))


def test_show_has_position_lag_loads_failures_and_what_did_not_fit(
    warehouse: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        reach, "warehouse_detail", lambda _, slug: made_detail() if slug == "warehouse" else None, raising=False
    )
    answer = warehouse("show", "warehouse")
    assert (0, "") == (answer.code, answer.err)
    words = " ".join(answer.out.split())
    for expected in (
        "loading yes",
        "lag 12.3 s",
        "loading stands still: disk full",
        "PARTITION POSITION END OF LOG WAITING 0 1,205 1,300 95",
        "2026-11-22 10:30:00Z 1,200 1,228 1.50 mails.tracks 1,200, mails.t7 7, mails.t6 6, mails.t5 5, mails.t4 4, and 3 more",
        "2026-11-22 10:30:00Z disk \\x1b[31mfull",
        "COLUMN HELD BY mails.order_done.n the view v uses it",
        "12,000, the newest 3 by column",
        "mails.order_done.revenue 2 text does not fit the column's type float",
        "headrace warehouse retype SCHEMA.TABLE.COLUMN TYPE --warehouse warehouse",
    ):
        assert expected in words
    in_json = warehouse("show", "warehouse", "--json").json
    assert 1205 == in_json["detail"]["loads"][0]["position_to"]
    assert ["revenue", "n"] == [misfit["column"] for misfit in in_json["detail"]["misfits"]]


def test_show_tells_the_settings_also_when_the_warehouse_cannot_be_asked(
    warehouse: Run, with_secrets: Answer, talkative: None
) -> None:
    answer = warehouse("show", "own")
    assert 0 == answer.code
    assert SHOWN_DSN in answer.out
    assert (
        "note: the warehouse cannot be asked now: worker: no answer; try: headrace warehouse test own\n" == answer.err
    )
    in_json = warehouse("show", "own", "--json").json
    assert (None, "worker: no answer") == (in_json["detail"], in_json["problem"])


# jobs


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    """A worker that does every job at once and notes it down; one for the schema `broken` fails."""
    done: list[tuple[str, str, dict[str, Any]]] = []

    def run_job(
        config: Any, slug: str, job: str, arguments: dict[str, Any], on_progress: Callable[[int, int | None, str], None]
    ) -> dict[str, Any]:
        if arguments.get("schema") == "broken":
            raise ConfigError("retype: a view uses the column; drop the view")
        done.append((slug, job, arguments))
        on_progress(0, None, "looking")
        for rows in (0, 500, 1_000):
            on_progress(rows, 1_000, "reading \x1b[31m[bold]mails.tracks")
        return {"rows": 1_000, "left": None}

    monkeypatch.setattr(reach, "run_job", run_job, raising=False)
    return done


@pytest.mark.parametrize(
    ("arguments", "job", "expected"),
    [
        (("backfill", "warehouse"), "backfill", {"source": None, "schema": None}),
        (
            ("backfill", "warehouse", "--source", "mails", "--schema", "m"),
            "backfill",
            {"source": "mails", "schema": "m"},
        ),
        (
            ("retype", "m.tracks.n", "float"),
            "retype",
            {"schema": "m", "table": "tracks", "column": "n", "type": "float"},
        ),
        (("rebuild", "m"), "rebuild", {"schema": "m", "table": None}),
        (("rebuild", "m.tracks", "--warehouse", "warehouse"), "rebuild", {"schema": "m", "table": "tracks"}),
        (("snapshot",), "snapshot", {"to": None}),
        (("snapshot", "--to", "/x/y.duckdb"), "snapshot", {"to": "/x/y.duckdb"}),
        (("export", "--to", "/x"), "export", {"to": "/x", "tables": []}),
        (("export", "--to", "/x", "m.tracks", "n"), "export", {"to": "/x", "tables": ["m.tracks", "n"]}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_job_is_given_to_the_worker_and_its_result_told(
    warehouse: Run, jobs: list[Any], arguments: tuple[str, ...], job: str, expected: dict[str, Any]
) -> None:
    assert {"rows": 1_000, "left": None} == warehouse(*arguments, "--json").json
    assert [("warehouse", job, expected)] == jobs
    answer = warehouse(*arguments)
    assert 0 == answer.code
    assert f"{job} of warehouse: done\n" in answer.out
    assert [
        f"{job} warehouse: looking (0)",
        f"{job} warehouse: reading \\x1b[31m[bold]mails.tracks (0 of 1,000)",
    ] == answer.err.splitlines()


def test_relative_places_are_those_of_the_command(
    warehouse: Run, jobs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    warehouse("export", "--to", "out")
    assert str(tmp_path / "out") == jobs[0][2]["to"]


def test_a_job_that_fails_says_why_and_ends_with_1(warehouse: Run, jobs: list[Any]) -> None:
    answer = warehouse("retype", "broken.tracks.n", "float")
    assert Answer(1, "", "error: retype: a view uses the column; drop the view\n") == answer


def test_among_several_warehouses_one_must_be_named(warehouse: Run, jobs: list[Any]) -> None:
    for name in ("a", "b"):
        warehouse("add", "made", "--name", name)
    assert 0 == warehouse("rebuild", "m").code
    warehouse("remove", "warehouse", "--yes")
    answer = warehouse("rebuild", "m")
    assert 1 == answer.code
    assert "say which one with --warehouse SLUG: a, b" in answer.err
    assert 0 == warehouse("rebuild", "m", "--warehouse", "b").code
    assert ["warehouse", "b"] == [slug for slug, _, _ in jobs]


def test_on_a_terminal_there_is_a_bar(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with warehouse_jobs._shown("retype w", quiet=False) as on_progress:
        on_progress(500, 1_000, "reading [bold]x\x1b[31m")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capfd.readouterr().err)
    assert "retype w" in shown
    assert "500/1000" in shown
    assert "reading [bold]x\\x1b[31m" in shown


# query


def test_the_named_warehouse_is_asked(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def query(config: Any, sql: str, *, warehouse: str | None = None) -> QueryResult:
        asked.append((sql, warehouse))
        return QueryResult(["n"], ["BIGINT"], [[1]], truncated=False, seconds=0.1)

    monkeypatch.setattr(reach, "query", query)
    assert [{"n": 1}] == run("query", "SELECT 1", "--warehouse", "own", "--json", "--data", data).json
    assert [{"n": 1}] == run("query", "SELECT 2", "--json", "--data", data).json
    assert [("SELECT 1", "own"), ("SELECT 2", None)] == asked


def test_parquet_has_the_rows_with_their_types(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table([[1, None], [MOMENT, MOMENT], ["=1", "é"]], names=["n", "n", "t"])
    monkeypatch.setattr(reach, "arrow", lambda *_, **__: table, raising=False)
    file = tmp_path / "out.parquet"
    answer = run("query", "SELECT ...", "--parquet", file, "--data", data)
    assert Answer(0, f"wrote 2 rows to {file}\n", "") == answer
    written = pq.read_table(file)
    assert ["n", "n_1", "t"] == written.column_names
    assert table.column(1).type == written.column("n_1").type
    assert ["=1", "é"] == written.column("t").to_pylist()
    assert {"file": str(file), "rows": 2} == run("query", "x", "--parquet", file, "--json", "--data", data).json
    assert [data, file] == sorted(tmp_path.iterdir())


def test_a_parquet_file_that_cannot_be_written_leaves_nothing(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"n": [1]})
    monkeypatch.setattr(reach, "arrow", lambda *_, **__: table, raising=False)
    (tmp_path / "folder").mkdir()
    for file in (tmp_path / "nonesuch" / "x", tmp_path / "folder"):
        answer = run("query", "x", "--parquet", file, "--data", data)
        assert (1, "") == (answer.code, answer.out)
        assert "error: query: cannot write" in answer.err
    assert ["data", "folder"] == sorted(file.name for file in tmp_path.iterdir())
    assert 2 == run("query", "x", "--parquet", tmp_path / "f", "--csv", "--data", data).code


# catalogue


def test_the_catalogue_has_sources_and_warehouses(run: Run) -> None:
    found = run("catalog", "--json").json
    rooms = {kind["kind"]: kind["room"] for kind in found}
    assert ("source", "warehouse", "warehouse") == (rooms["http-api"], rooms["duckdb"], rooms["made"])
    answer = run("catalog")
    assert "WAREHOUSE" in answer.out
    assert "per table" in answer.out
    assert ["made"] == [kind["kind"] for kind in run("catalog", "only there", "--json").json]


def test_a_kind_of_warehouse_shows_what_it_guarantees_what_it_was_tried_with_and_its_settings(run: Run) -> None:
    answer = run("catalog", "made")
    for expected in ("per table", "not tried on a live account", "1. CREATE ROLE headrace;", "dsn", "[secret]"):
        assert expected in answer.out
    settings = {setting["name"]: setting for setting in run("catalog", "made", "--json").json[0]["settings"]}
    assert (True, False) == (settings["dsn"]["secret"], settings["port"]["secret"])
