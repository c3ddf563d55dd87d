"""The derived tables of the e-mail model are what they would be if they were made anew, whatever changed and in how many slices."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import email_anew
import email_tables
import rollup_oracle
from headrace.reports.model import rollups
from headrace.reports.model.engine import Engine, engine
from headrace.reports.model.schema import TABLES
from headrace.reports.model.settings import Goal, ModelSettings
from headrace.warehouses.base import Derivation, Deriving
from rollup_world import EMPTY, SIDES, START, World, changed, emptied, increment, kept

SETTINGS = ModelSettings()


@pytest.fixture(params=["duckdb", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deriving]:
    """With the tables of the schema email, empty."""
    opened = importlib.import_module(f"engines.{request.param}").fresh(tmp_path)()
    email_tables.create(opened)
    yield opened
    opened.close()


def disagreeing(
    warehouse: Deriving, settings: ModelSettings = SETTINGS, tables: Sequence[str] = tuple(TABLES)
) -> set[str]:
    """The names of the checks of these tables that return rows."""

    def work(derivation: Derivation) -> set[str]:
        queries = email_anew.checks(engine(derivation.engine), settings)
        some = {name: query for name, query in queries.items() if name.split()[0] in tables}
        return {name for name, query in some.items() if derivation.fetch(query).num_rows}

    return warehouse.derive(work)


def applied(warehouse: Deriving, worlds: Sequence[World]) -> None:
    for old, new in pairwise([EMPTY, *worlds]):
        increment(warehouse, old, new, SETTINGS)


def worlds_of(seed: int, slices: int) -> list[World]:
    dice = random.Random(seed)
    worlds = [EMPTY]
    for _ in range(slices):
        worlds.append(changed(worlds[-1], dice, dice.choice([1, 5, 40])))
    return worlds[1:]


def test_one_slice_gives_what_is_counted_one_by_one(warehouse: Deriving) -> None:
    world = changed(EMPTY, random.Random(7), 120)
    applied(warehouse, [world])
    assert rollup_oracle.tables(world) == kept(warehouse)
    assert set() == disagreeing(warehouse)


def test_slices_that_add_change_and_remove_give_what_one_slice_gives(warehouse: Deriving) -> None:
    for seed in range(2):
        worlds = worlds_of(seed, 5)
        applied(warehouse, worlds)
        assert rollup_oracle.tables(worlds[-1]) == kept(warehouse), seed
        emptied(warehouse)
    applied(warehouse, worlds[-1:])
    assert rollup_oracle.tables(worlds[-1]) == kept(warehouse)


def test_an_increment_without_differences_changes_nothing(warehouse: Deriving) -> None:
    world = changed(EMPTY, random.Random(3), 20)
    applied(warehouse, [world, world])
    assert rollup_oracle.tables(world) == kept(warehouse)


def test_what_comes_and_goes_again_leaves_no_row_but_the_names(warehouse: Deriving) -> None:
    world = changed(EMPTY, random.Random(11), 60)
    gone = EMPTY._replace(names=world.names)
    applied(warehouse, [world, gone])
    found = kept(warehouse)
    assert found.pop("names")
    assert {table: [] for table in found} == found


def test_a_difference_whose_old_side_is_forgotten_is_found_out(warehouse: Deriving) -> None:
    """The control of all others."""

    def forgetful(derivation: Derivation, chosen: Engine, settings: ModelSettings) -> None:
        derivation.run([f"DELETE FROM old_{side}" for side in SIDES])
        rollups.apply(derivation, chosen, settings)

    world = changed(EMPTY, random.Random(1), 80)
    other = changed(world, random.Random(2), 80)
    for old, new in ((EMPTY, world), (world, other)):
        increment(warehouse, old, new, SETTINGS, forgetful)
    expected, found = rollup_oracle.tables(other), kept(warehouse)
    wrong = {table for table in expected if expected[table] != found[table]}
    assert set(expected) - {"names"} == wrong
    complete = {f"{table} is complete" for table in wrong - {"campaigns"}}  # made of campaign_sends, thus wrong alike
    assert complete | {f"{table} adds up" for table in email_anew.ADDING_UP} == disagreeing(warehouse)


def test_a_check_finds_the_table_that_was_tampered_with(warehouse: Deriving) -> None:
    applied(warehouse, [changed(EMPTY, random.Random(5), 60)])
    assert set() == disagreeing(warehouse)
    tampered = {
        "campaigns": "spam",
        "links": "click_events",
        "engagement_curve": "opens",
        "list_health": "subscribes",
        "quality": "events",
        "recipients": "sent",
    }
    updates = [f"UPDATE email.{table} SET {column} = {column} + 1" for table, column in tampered.items()]
    warehouse.derive(lambda derivation: derivation.run(updates))
    assert {f"{table} is complete" for table in tampered} | {"campaigns adds up"} == disagreeing(warehouse)


def test_orders_follow_another_first_goal_when_the_tables_are_made_anew(warehouse: Deriving) -> None:
    world = changed(EMPTY, random.Random(7), 120)
    applied(warehouse, [world])
    before = kept(warehouse)
    other = ModelSettings(goals=[Goal(name="signed_up", event="Signed Up")])
    sums = ["campaign_sends", "campaigns_daily"]
    assert {f"{table} {what}" for table in sums for what in ("is complete", "adds up")} == disagreeing(
        warehouse, other, sums
    )
    warehouse.derive(lambda derivation: email_anew.make_anew(derivation, engine(derivation.engine), other))
    assert set() == disagreeing(warehouse, other, sums)
    warehouse.derive(lambda derivation: email_anew.make_anew(derivation, engine(derivation.engine), SETTINGS))
    assert before == kept(warehouse)


def test_a_workspace_without_goals_has_no_orders(warehouse: Deriving) -> None:
    none = ModelSettings(goals=[])
    increment(warehouse, EMPTY, changed(EMPTY, random.Random(7), 60), none)
    assert set() == disagreeing(warehouse, none, ["campaigns"])
    place = list(TABLES["campaigns"].columns).index("orders")
    assert {0} == {row[place] for row in kept(warehouse, ["campaigns"])["campaigns"]}


MAIL = {
    "message_id": 1,
    "group_key": 1,
    "source": "selligent",
    "campaign_id": "spring",
    "email_id": "e1",
    "recipient_key": "ann",
    "person_key": 1,
    "is_matched": True,
    "email": "ann@example.com",
    "domain": "example.com",
    "sent_at": START,
    "delivered_at": START,
    "is_test": False,
    "is_sent": True,
    "is_delivered": True,
}
FLAGS = dict.fromkeys(
    (
        "is_opened",
        "is_human_opened",
        "is_clicked",
        "is_human_clicked",
        "is_bounced",
        "is_unsubscribed",
        "is_complained",
    ),
    False,
)


def mails(*rows: dict[str, Any]) -> World:
    made = [{**MAIL, **FLAGS, "message_id": number, **row} for number, row in enumerate(rows)]
    return EMPTY._replace(messages={row["message_id"]: row for row in made})


def column(warehouse: Deriving, table: str, name: str) -> list[Any]:
    place = list(TABLES[table].columns).index(name)
    return [row[place] for row in kept(warehouse, [table])[table]]


def test_each_event_of_a_message_counts_on_its_own_day_and_the_days_add_up(warehouse: Deriving) -> None:
    opened = {"is_opened": True, "opened_at": START + timedelta(days=1)}
    applied(warehouse, [mails({}), mails(opened), mails(opened, {"delivered_at": None})])
    assert [START.date(), START.date() + timedelta(days=1)] == column(warehouse, "campaigns_daily", "day")
    assert [2, 0] == column(warehouse, "campaigns_daily", "delivered")
    assert [0, 1] == column(warehouse, "campaigns_daily", "opens")
    assert [0.5] == column(warehouse, "campaigns", "open_rate")


def test_a_message_that_turns_out_to_be_a_test_is_taken_back(warehouse: Deriving) -> None:
    applied(warehouse, [mails({}, {}), mails({}, {"is_test": True})])
    assert [1] == column(warehouse, "campaigns", "sent")
    applied_more = mails({"is_test": True}, {"is_test": True})
    increment(warehouse, mails({}, {"is_test": True}), applied_more, SETTINGS)
    assert {table: [] for table in kept(warehouse)} == kept(warehouse)


def test_the_last_known_address_of_a_person_is_found_again_when_its_message_goes(warehouse: Deriving) -> None:
    old, new = {"email": "old@example.com"}, {"email": "new@example.org", "sent_at": START + timedelta(days=1)}
    silent = {"email": None, "sent_at": START + timedelta(days=2)}
    applied(warehouse, [mails(old), mails(old, new), mails(old, new, silent)])
    assert ["new@example.org"] == column(warehouse, "recipients", "email")
    assert ["example.org"] == column(warehouse, "recipients", "domain")
    increment(
        warehouse,
        mails(old, new, silent),
        mails(old, {**new, "person_key": 2, "recipient_key": "bob"}, silent),
        SETTINGS,
    )
    assert ["old@example.com", "new@example.org"] == column(warehouse, "recipients", "email")
    assert [2, 1] == column(warehouse, "recipients", "sent")


def test_the_curve_begins_five_minutes_before_delivery_and_ends_after_a_week(warehouse: Deriving) -> None:
    seconds = [-301, -300, 0, 3599, 3600, 168 * 3600 - 1, 168 * 3600]
    rows = [{"is_opened": True, "opened_at": START + timedelta(seconds=after)} for after in seconds]
    applied(warehouse, [mails(*rows)])
    hours = zip(
        column(warehouse, "engagement_curve", "hour"), column(warehouse, "engagement_curve", "opens"), strict=True
    )
    assert {0: 3, 1: 1, 167: 1} == dict(hours)


def test_a_late_event_does_not_bring_an_old_name_back(warehouse: Deriving) -> None:
    later, earlier = ("spring", "Spring!", START), ("spring", "Sprnig", START - timedelta(days=1))
    worlds = [mails({})._replace(names=[later][:1]), mails({})._replace(names=[later, earlier])]
    applied(warehouse, worlds)
    assert ["Spring!"] == column(warehouse, "campaigns", "campaign_name")
    newest = mails({})._replace(names=[later, earlier, ("spring", "Summer", START + timedelta(days=1))])
    increment(warehouse, worlds[-1], newest, SETTINGS)
    assert ["Summer"] == column(warehouse, "campaigns", "campaign_name")
