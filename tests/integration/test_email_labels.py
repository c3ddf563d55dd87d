"""Labels of campaigns in a warehouse: by patterns, first rule of a set first, written only when something has changed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import email_tables
from headrace.reports.model import labels
from headrace.reports.model.engine import engine
from headrace.reports.model.settings import LabelRule, ModelSettings
from headrace.warehouses.base import Derivation, Deriving


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    opened: Any = importlib.import_module(f"engines.{request.param}").fresh(tmp_path_factory.mktemp("labels"))()
    email_tables.create(opened)
    yield opened
    opened.close()


@pytest.fixture
def warehouse(shared: Any) -> Any:
    run(shared, *(f"DELETE FROM email.{table}" for table in ("names", "campaigns", "labels", "progress")))
    return shared


def rule(set_: str, label: str, pattern: str, field: Any = "campaign_name") -> LabelRule:
    return LabelRule(set=set_, label=label, pattern=pattern, field=field)


RULES = (
    rule("type", "Newsletter", "NL*"),
    rule("type", "Sale", "*sale*"),
    rule("type", "Welcome", "welcome-?", "campaign_id"),
    rule("brand", 'O\'Hara \\ "ü"', "*été*"),
)


def named(**names: str | None) -> dict[str, list[dict[str, Any]]]:
    return {"names": [{"campaign_id": id_.replace("_", "-"), "campaign_name": name} for id_, name in names.items()]}


class Counted:
    """A transaction that counts what changes it."""

    def __init__(self, of: Derivation) -> None:
        self._of = of
        self.engine = of.engine
        self.changes = 0

    def run(self, statements: Sequence[str]) -> None:
        self.changes += len(statements)
        self._of.run(statements)

    def fetch(self, query: str) -> Any:
        return self._of.fetch(query)

    def stage(self, name: str, table: Any) -> None:
        self.changes += 1
        self._of.stage(name, table)


def apply(warehouse: Deriving, *rules: LabelRule) -> int:
    """How many statements changed something."""

    def work(derivation: Derivation) -> int:
        counted = Counted(derivation)
        labels.apply(counted, engine(derivation.engine), ModelSettings(labels=rules))
        return counted.changes

    return warehouse.derive(work)


def run(warehouse: Deriving, *statements: str) -> None:
    warehouse.derive(lambda derivation: derivation.run(statements))


def fetched(warehouse: Deriving, query: str) -> list[tuple[Any, ...]]:
    rows = warehouse.derive(lambda derivation: derivation.fetch(query)).to_pylist()
    return sorted(tuple(row.values()) for row in rows)


def found(warehouse: Deriving) -> list[tuple[Any, ...]]:
    return fetched(warehouse, "SELECT campaign_id, label_set, label FROM email.labels")


def test_the_first_rule_of_each_set_that_fits_gives_the_label(warehouse: Any) -> None:
    email_tables.fill(warehouse, named(a="nl 1 SALE", b="Summer Sale", c="ÉTÉ sale", d="Other", welcome_1=None))
    apply(warehouse, *RULES)
    assert [
        ("a", "type", "Newsletter"),
        ("b", "type", "Sale"),
        ("c", "brand", 'O\'Hara \\ "ü"'),
        ("c", "type", "Sale"),
        ("welcome-1", "type", "Welcome"),
    ] == found(warehouse)


def test_campaigns_without_a_name_are_matched_by_their_id_only(warehouse: Any) -> None:
    email_tables.fill(
        warehouse, {**named(a="x", b=None, c=""), "campaigns": [{"campaign_id": "a"}, {"campaign_id": "d"}]}
    )
    apply(warehouse, rule("all_names", "yes", "*"), rule("all_ids", "yes", "*", "campaign_id"))
    ids = [("a", "all_ids", "yes"), ("b", "all_ids", "yes"), ("c", "all_ids", "yes"), ("d", "all_ids", "yes")]
    assert sorted([("a", "all_names", "yes"), *ids]) == found(warehouse)


def test_nothing_is_written_while_names_and_rules_stay(warehouse: Any) -> None:
    email_tables.fill(warehouse, named(a="NL 1"))
    assert apply(warehouse, *RULES) > 0
    assert 0 == apply(warehouse, *RULES)
    assert apply(warehouse, *RULES[1:]) > 0  # the control: other rules
    assert [] == found(warehouse)


def test_a_new_name_gives_another_label_and_leaves_the_others(warehouse: Any) -> None:
    email_tables.fill(warehouse, named(a="NL 1", b="sale"))
    apply(warehouse, *RULES)
    run(warehouse, "UPDATE email.names SET campaign_name = 'Sale 1' WHERE campaign_id = 'a'")
    email_tables.fill(warehouse, named(c="NL 2"))
    apply(warehouse, *RULES)
    assert [("a", "type", "Sale"), ("b", "type", "Sale"), ("c", "type", "Newsletter")] == found(warehouse)


def test_campaigns_that_are_gone_lose_their_labels(warehouse: Any) -> None:
    email_tables.fill(warehouse, named(a="NL 1", b="sale"))
    apply(warehouse, *RULES)
    run(warehouse, "DELETE FROM email.names WHERE campaign_id = 'a'")
    apply(warehouse, *RULES)
    assert [("b", "type", "Sale")] == found(warehouse)


def test_without_rules_nothing_of_labels_stays(warehouse: Any) -> None:
    email_tables.fill(warehouse, named(a="NL 1"))
    assert 0 == apply(warehouse)
    apply(warehouse, *RULES)
    assert [("", "", "labels")] == fetched(warehouse, "SELECT schema_name, table_name, role FROM email.progress")
    apply(warehouse)
    assert [] == found(warehouse) == fetched(warehouse, "SELECT * FROM email.progress")


def test_the_state_of_other_roles_is_left_alone(warehouse: Any) -> None:
    other = {"schema_name": "labels", "table_name": "x", "role": "labels", "state": "theirs"}
    email_tables.fill(warehouse, {**named(a="NL 1"), "progress": [other]})
    apply(warehouse, *RULES)
    apply(warehouse)
    assert [("labels", "x", "labels", None, "theirs")] == fetched(warehouse, "SELECT * FROM email.progress")


def test_labels_are_the_same_in_steps_and_at_once(warehouse: Any) -> None:
    campaigns = {f"c{number}": f"{'NL' if number % 3 else 'Sale'} {number}" for number in range(30)}
    for id_, name in campaigns.items():
        email_tables.fill(warehouse, named(**{id_: name}))
        if id_ in ("c3", "c17"):
            apply(warehouse, *RULES)
    apply(warehouse, *RULES)
    in_steps, state = found(warehouse), fetched(warehouse, "SELECT state FROM email.progress")
    run(warehouse, "DELETE FROM email.labels", "DELETE FROM email.progress")
    apply(warehouse, *RULES)
    assert (in_steps, state) == (found(warehouse), fetched(warehouse, "SELECT state FROM email.progress"))
    assert 30 == len(in_steps)


def test_two_increments_in_one_transaction_are_possible(warehouse: Any) -> None:
    email_tables.fill(warehouse, named(a="NL 1"))

    def work(derivation: Derivation) -> None:
        for rules in (RULES, RULES[:1]):
            labels.apply(derivation, engine(derivation.engine), ModelSettings(labels=rules))

    warehouse.derive(work)
    assert [("a", "type", "Newsletter")] == found(warehouse)
