"""Funnels on both engines: rows by hand (`reported_house`), expected values counted in the test."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, cast

import msgspec
import pytest

from headrace.errors import ConfigError
from headrace.reports import funnel
from headrace.reports.answers import FunnelOrder
from headrace.reports.conditions import Condition
from headrace.reports.funnel import FunnelRequest, Step
from headrace.reports.model.engine import engine
from headrace.reports.place import Place
from reported_house import APP, EVENT_COLUMNS, SETTINGS, SHOP, SOURCES, House, at, filled


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = importlib.import_module(f"engines.{request.param}").fresh(tmp_path_factory.mktemp("warehouse"))()
    yield House(opened, filled(opened))
    opened.close()


@pytest.fixture(scope="module")
def place() -> Place:
    return Place(engine("duckdb"), {SHOP: EVENT_COLUMNS, APP: EVENT_COLUMNS}, SOURCES, SETTINGS)


def test_orders_are_those_given_to_a_click_of_the_mail(house: House) -> None:
    found = house.funnel(FunnelRequest())
    # m5 bounced, m6 is a test; m8's open is too early. m2's order is given to an open.
    steps = [(step.name, step.messages) for step in found.parts[0].steps]
    assert [("delivered", 7 - 1), ("human_opened", 4), ("human_clicked", 2), ("ordered", 1)] == steps
    assert [1, 4 / 6, 2 / 6, 1 / 6] == [step.of_first for step in found.parts[0].steps]
    assert [None, 4 / 6, 2 / 4, 1 / 2] == [step.of_previous for step in found.parts[0].steps]
    assert (None, 1) == (found.breakdown, found.parts_in_all)


def test_quantiles_are_interpolated_and_nothing_takes_less_than_no_time(house: House) -> None:
    steps = house.funnel(FunnelRequest()).parts[0].steps
    assert (None, None) == (steps[0].median_seconds, steps[0].p90_seconds)
    # 0 (stamped 4 minutes before), 1, 3 and 5 hours: between the 2nd and 3rd; at 0.9 * 3 = 2.7 of the way.
    assert pytest.approx(2 * 3600) == steps[1].median_seconds
    assert pytest.approx(4.4 * 3600) == steps[1].p90_seconds
    assert pytest.approx(3600) == steps[2].median_seconds
    assert pytest.approx(3600) == steps[3].median_seconds  # the first of the two orders of m1


def test_windows_hold_from_step_to_step_with_both_ends(house: House) -> None:
    def orders(days: float) -> int:
        return house.counts("human_clicked", Step("goal:order_completed", within_days=days))[1]

    assert 2 == orders(5)  # u2's order is exactly 120 hours after the click
    assert 1 == orders(5 - 1e-6)
    assert 1 == orders(1 / 24)  # u1's is one hour after it
    assert 0 == orders(0.9 / 24)
    assert [2, 2] == house.counts("human_clicked", "goal")  # the goal's own 5 days
    assert [5, 2] == house.counts("human_opened", Step("human_clicked", within_days=1 / 24))
    assert [5, 0] == house.counts("human_opened", Step("human_clicked", within_days=0.9 / 24))
    # u3 signed up at the moment of the open, which is not before it.
    assert [5, 1] == house.counts("human_opened", "goal:signed_up")


def test_steps_count_in_their_order_only(house: House) -> None:
    assert [2, 0] == house.counts("human_clicked", "human_opened")
    assert [1, 0] == house.counts("unsubscribed", "human_opened")
    assert [5, 1] == house.counts("human_opened", "unsubscribed")  # control


def test_any_event_is_a_step_by_whoever_did_it(house: House) -> None:
    event = "event:Product Viewed"
    # u1 after 1.5 h, u2 as a visitor after 2 h, u3 after half an hour, known by the address; in the mail's own source u3 came before.
    assert [5, 3] == house.counts("human_opened", Step(event, within_days=1))
    assert [5, 2] == house.counts("human_opened", Step(event, within_days=0.07))
    assert [5, 3] == house.counts("human_opened", Step("event:product_viewed", within_days=1, source="shop"))
    assert [5, 0] == house.counts("human_opened", Step(event, within_days=1, source="mail"))
    # m7 was opened at 9:56; the view at 90 h is 80 hours after it, and m8's 70.
    assert [5, 5] == house.counts("human_opened", event)


def test_events_and_goals_follow_each_other(house: House) -> None:
    steps = (
        "human_clicked",
        Step("event:Product Viewed", within_days=1),
        "goal",
        Step("event:Product Viewed", within_days=5),
    )
    # u1: click 2, view 2.5, order 3, view 90. u2: click 4, view 5, order 124, none after it.
    assert [2, 2, 2, 1] == house.counts(*steps)
    seconds = [
        step.median_seconds for step in house.funnel(FunnelRequest(steps=[as_step(s) for s in steps])).parts[0].steps
    ]
    hours = [None, (0.5 + 1) / 2, (0.5 + 119) / 2, 87]
    assert hours == [None if s is None else pytest.approx(s / 3600) for s in seconds]


def as_step(step: Step | str) -> Step:
    return step if isinstance(step, Step) else Step(step)


def test_attributed_counts_the_mail_to_which_it_is_given(house: House) -> None:
    assert [6, 2] == house.counts("delivered", "attributed")
    assert [6, 1] == house.counts("delivered", Step("attributed:order_completed", touch="open"))
    assert [6, 0] == house.counts("delivered", "attributed:signed_up")
    assert [6, 1] == house.counts("delivered", Step("attributed", within_days=1))


def test_filters_and_period_hold_of_the_message(house: House) -> None:
    def delivered(*conditions: Condition, **asked: Any) -> int:
        return house.counts("delivered", "opened", filters=conditions, **asked)[0]

    assert 6 == delivered()
    assert 2 == delivered(Condition("campaign_id", "is", "c2"))
    assert 1 == delivered(Condition("domain", "is", "corp.example"), Condition("source", "is", "mail"))
    assert 1 == delivered(Condition("journey_id", "known"))
    assert 0 == delivered(Condition("campaign_id", "is", "' OR true --"))
    assert 2 == delivered(since=at(10))
    assert 1 == delivered(since=at(10), until=at(20))
    assert 1 == delivered(Condition("sent_at", "more", at(10).isoformat()))


@pytest.mark.parametrize(
    ("value", "zone", "count"),
    [
        ("2026-09-01T10:00", "UTC", 2),
        ("2026-09-01T10:00", "Europe/Berlin", 2),  # 8 o'clock in UTC
        ("2026-09-01T12:01", "UTC", 1),
        ("2026-09-01T12:00", "Europe/Berlin", 2),
        ("2026-09-01T12:01", "Europe/Berlin", 1),
        ("2026-09-01T10:00:00+00:00", "Europe/Berlin", 2),
        ("2026-09-02", "UTC", 0),
        ("2026-09-01", "Asia/Kathmandu", 6),
        ("2026-09-02", "Asia/Kathmandu", 1),
    ],
)
def test_times_without_a_zone_in_filters_are_of_the_order_s(house: House, value: str, zone: str, count: int) -> None:
    order = FunnelOrder(filters=[Condition("sent_at", "at_least", value)], zone=zone)
    assert count == house.funnel(order.request(at(0))).parts[0].steps[0].messages


def test_a_breakdown_has_a_funnel_for_each_value(house: House) -> None:
    def parts(**asked: Any) -> list[tuple[str, list[int]]]:
        found = house.funnel(FunnelRequest(steps=[Step("delivered"), Step("human_clicked")], **asked))
        assert 3 == found.parts_in_all
        return [(part.part, [step.messages for step in part.steps]) for part in found.parts]

    assert [("c1", [2, 2]), ("c2", [2, 0]), ("c3", [2, 0])] == parts(breakdown="campaign_id")
    assert [("c1", [2, 2]), ("c2", [2, 0])] == parts(breakdown="campaign_id", limit=2)
    domains = house.funnel(FunnelRequest(steps=[Step("delivered"), Step("opened")], breakdown="domain"))
    assert [("gmail.com", 5), ("corp.example", 1)] == [(part.part, part.steps[0].messages) for part in domains.parts]
    journeys = house.funnel(FunnelRequest(breakdown="journey_id"))
    assert [("", 5), ("J", 1)] == [(part.part, part.steps[0].messages) for part in journeys.parts]


def test_a_funnel_of_nothing_is_one_of_zeros(house: House) -> None:
    found = house.funnel(FunnelRequest(filters=[Condition("campaign_id", "is", "none")]))
    assert [0, 0, 0, 0] == [step.messages for step in found.parts[0].steps]
    assert [None] * 4 == [step.of_first for step in found.parts[0].steps]


WRONG: Final[Sequence[tuple[FunnelRequest, str]]] = (
    (FunnelRequest(steps=[Step("delivered")]), "2 to 10"),
    (FunnelRequest(steps=[Step("delivered")] * 11), "2 to 10"),
    (FunnelRequest(steps=[Step("goal:order_completed"), Step("delivered")]), "the first step"),
    (FunnelRequest(steps=[Step("delivered"), Step("liked")]), "no step 'liked'"),
    (FunnelRequest(steps=[Step("delivered"), Step("goal:")]), "no step 'goal:'"),
    (FunnelRequest(steps=[Step("delivered"), Step("event:")]), "no step 'event:'"),
    (
        FunnelRequest(steps=[Step("delivered"), Step("goal:sold")]),
        "no goal 'sold'; there are order_completed, signed_up",
    ),
    (FunnelRequest(steps=[Step("delivered"), Step("event:Product View")]), "for example product_viewed"),
    (FunnelRequest(steps=[Step("delivered"), Step("event:Product Viewed", source="crm")]), "no source 'crm'"),
    (FunnelRequest(steps=[Step("delivered"), Step("opened", source="mail")]), "takes no source"),
    (FunnelRequest(steps=[Step("delivered"), Step("goal", touch="click")]), "takes no touch"),
    (FunnelRequest(steps=[Step("delivered"), Step("goal", within_days=0)]), "at most 365"),
    (FunnelRequest(steps=[Step("delivered"), Step("goal", within_days=math.nan)]), "at most 365"),
    (FunnelRequest(filters=[Condition("recipient", "is", "u1")]), "no field 'recipient'"),
    (FunnelRequest(since=at(0), until=at(0)), "is not before until"),
    (FunnelRequest(since=datetime(2026, 9, 1)), "no time zone"),  # noqa: DTZ001
    (FunnelRequest(limit=0, breakdown="domain"), "limit"),
    (FunnelRequest(breakdown=cast("Any", "domain; DROP")), "no breakdown"),
)


@pytest.mark.parametrize(("request_", "said"), WRONG)
def test_what_cannot_be_asked_is_told(place: Place, request_: FunnelRequest, said: str) -> None:
    with pytest.raises(ConfigError, match="funnel: .*" + said.replace("?", "[?]")):
        funnel.sql(request_, place)


def test_requests_come_as_json() -> None:
    asked = b'{"steps": [{"step": "delivered"}, {"step": "event:Product Viewed", "within_days": 2}], "filters": [["domain", "is", "a"]]}'
    expected = FunnelRequest(
        steps=[Step("delivered"), Step("event:Product Viewed", within_days=2)], filters=[Condition("domain", "is", "a")]
    )
    assert expected == msgspec.json.decode(asked, type=FunnelRequest)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"stages": []}', type=FunnelRequest)
