"""Funnels, holdout groups and times to convert on both engines: rows by hand, expected values counted in the test."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast

import msgspec
import pyarrow as pa
import pytest

import email_tables
from headrace.errors import ConfigError
from headrace.reports import converting, funnel, holdout
from headrace.reports.conditions import Condition
from headrace.reports.converting import ConvertingRequest
from headrace.reports.funnel import FunnelRequest, Step
from headrace.reports.holdout import HoldoutRequest
from headrace.reports.model.engine import engine
from headrace.reports.model.schema import TABLES
from headrace.reports.model.settings import ORDERS, Goal, ModelSettings
from headrace.reports.place import MailSource, Place
from headrace.warehouses.base import Columns, ColumnType, Deriving, TableName, Warehouse

START: Final = datetime(2026, 9, 1, tzinfo=UTC)
SETTINGS: Final = ModelSettings(goals=(ORDERS, Goal(name="signed_up", event="Signed Up", click_days=30)))
SOURCES: Final = (MailSource("mail", "mail", is_email=True), MailSource("shop", "shop", is_email=False))
SHOP: Final = TableName("shop", "product_viewed")
APP: Final = TableName("mail", "product_viewed")
EVENT_COLUMNS: Final[Columns] = {
    **dict.fromkeys(("id", "user_id", "anonymous_id", "context_traits_email"), ColumnType.STRING),
    **dict.fromkeys(("received_at", "loaded_at", "timestamp"), ColumnType.TIMESTAMP),
}
KEYS: Final = {name: number for number, name in enumerate(("u1", "u2", "u3", "u4", "u5", "u6", "h1", "h2"), 1)}


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


@dataclass(frozen=True)
class House:
    warehouse: Warehouse
    place: Place

    def table(self, sql: str) -> pa.Table:
        return self.warehouse.arrow(sql, max_rows=10_000, timeout_seconds=30)

    def funnel(self, request: FunnelRequest) -> funnel.FunnelResult:
        return funnel.result(request, self.table(funnel.sql(request, self.place)))

    def holdout(self, request: HoldoutRequest) -> holdout.HoldoutResult:
        return holdout.result(request, self.table(holdout.sql(request, self.place)))

    def counts(self, *steps: Step | str, **asked: Any) -> list[int]:
        """Messages by step."""
        whole = [step if isinstance(step, Step) else Step(step) for step in steps]
        found = self.funnel(FunnelRequest(steps=whole, **asked))
        assert [""] == [part.part for part in found.parts]
        return [step.messages for step in found.parts[0].steps]


def message(name: str, person: str, hours: float, **moments: Any) -> dict[str, Any]:
    """`opened`, `human_opened` and so on are hours, other values as they are."""
    row: dict[str, Any] = {
        "message_id": int(name[1:]),
        "group_key": int(name[1:]),
        "source": "mail",
        "campaign_id": "c1",
        "email_id": name,
        "recipient_key": person,
        "person_key": KEYS[person],
        "domain": "gmail.com",
        "send_number": 1,
        "sent_at": at(hours),
        "delivered_at": at(hours),
        "is_test": False,
        "is_sent": True,
        "is_delivered": True,
    }
    for name_, value in moments.items():
        if f"is_{name_}" in TABLES["messages"].columns and not isinstance(value, bool):
            row |= {f"is_{name_}": True, f"{name_}_at": at(value)}
        else:
            row[name_] = value
    return row


MESSAGES: Final = (
    message("m1", "u1", 0, opened=1, human_opened=1, clicked=2, human_clicked=2),
    message("m2", "u2", 0, opened=1, human_opened=3, clicked=4, human_clicked=4, domain="corp.example"),
    message("m3", "u3", 0, opened=5, human_opened=5, campaign_id="c2", unsubscribed=6),
    message("m4", "u4", 0, opened=0.01, campaign_id="c2"),
    message("m5", "u5", 0, is_delivered=False, bounced=0.1),
    message("m6", "u6", 0, opened=1, human_opened=1, clicked=1, human_clicked=1, is_test=True),
    # Opened before the delivery was stamped: by 4 minutes, which may be, and by 6.
    message("m7", "u1", 10, opened=10 - 4 / 60, human_opened=10 - 4 / 60, campaign_id="c3", journey_id="J"),
    message("m8", "u1", 20, opened=20 - 6 / 60, human_opened=20 - 6 / 60, campaign_id="c3"),
)


def conversion(
    name: str, person: str, hours: float, value: str | None = "10", goal: str = "order_completed"
) -> dict[str, Any]:
    return {
        "conversion_key": int(name[1:]),
        "goal": goal,
        "id": name,
        "source": "shop",
        "happened_at": at(hours),
        "recipient": person,
        "recipient_key": person,
        "person_key": KEYS[person],
        "value": None if value is None else float(value),
    }


CONVERSIONS: Final = (
    conversion("o1", "u1", 3),
    conversion("o2", "u1", 30, "20.5"),
    conversion("o3", "u2", 4 + 120),
    conversion("o4", "u3", 4.5, None),
    conversion("o5", "h1", 50, "7.25"),
    conversion("s1", "u3", 5, goal="signed_up") | {"conversion_key": 101},
)


def given(name: str, mail: str, touch: str, touched: float, happened: float, model: str = "last") -> dict[str, Any]:
    return {
        "conversion_key": int(name[1:]),
        "goal": "order_completed",
        "model": model,
        "message_id": int(mail[1:]),
        "campaign_id": "c1",
        "touch": touch,
        "touched_at": at(touched),
        "happened_at": at(happened),
    }


ATTRIBUTION: Final = (
    given("o1", "m1", "click", 2, 3),
    given("o2", "m1", "click", 2, 30),
    given("o3", "m2", "open", 123, 124),
    given("o3", "m2", "open", 123, 124, "any"),
    given("o3", "m3", "open", 100, 124, "any") | {"campaign_id": "c2"},
)


def control(
    person: str, hours: float, recipient: str | None = None, *, is_holdout: bool, id_: str = "k"
) -> dict[str, Any]:
    return {
        "recipient": recipient or person,
        "recipient_key": person,
        "person_key": KEYS[person],
        "is_holdout": is_holdout,
        "happened_at": at(hours),
        "id": id_,
    }


CONTROLS: Final = (
    *(control(person, 0, is_holdout=False) for person in ("u1", "u2", "u3", "u4")),
    control("h1", 0, is_holdout=True),
    control("h2", 1, is_holdout=True),
    control("h2", 0, "h2@example.com", is_holdout=False),  # told earlier of the same person
)
VIEWS: Final[Mapping[TableName, Sequence[tuple[str | None, str | None, str | None, float]]]] = {
    # user_id, anonymous_id, context_traits_email, hours
    SHOP: (
        ("u1", "x", None, 2.5),
        ("u1", "x", None, 90),
        (None, "Visitor", None, 5),
        (None, None, "U3@Example.com", 5.5),
    ),
    APP: ((None, "stranger", None, 2), ("u3", None, None, 4)),
}


def filled(warehouse: Warehouse) -> Place:
    deriving = cast("Deriving", warehouse)
    email_tables.create(deriving)
    identities = [
        {"alias": alias, "target": person, "recipient_key": person}
        for alias, person in (("visitor", "u2"), ("u3@example.com", "u3"))
    ]
    email_tables.fill(
        deriving,
        {
            "messages": MESSAGES,
            "conversions": CONVERSIONS,
            "attribution": ATTRIBUTION,
            "controls": CONTROLS,
            "identities": identities,
        },
    )
    chosen = engine(deriving.engine)

    def views(derivation: Any) -> None:
        types = {ColumnType.STRING: "VARCHAR", ColumnType.TIMESTAMP: "TIMESTAMPTZ"}
        for schema in ("shop", "mail"):
            columns = ", ".join(f"{chosen.quoted(name)} {types[type_]}" for name, type_ in EVENT_COLUMNS.items())
            derivation.run([f"CREATE SCHEMA {schema}", f"CREATE TABLE {schema}.product_viewed ({columns})"])
            for number, (*ids, hours) in enumerate(VIEWS[TableName(schema, "product_viewed")]):
                texts = [f"v{number}", *ids]
                values = [chosen.text(text) if text is not None else "NULL" for text in texts]
                values += [chosen.text(at(hours).isoformat())] * 3
                derivation.run([f"INSERT INTO {schema}.product_viewed VALUES ({', '.join(values)})"])

    deriving.derive(views)
    return Place(chosen, {SHOP: EVENT_COLUMNS, APP: EVENT_COLUMNS}, SOURCES, SETTINGS)


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


def test_holdout_compares_those_who_get_mail_with_those_who_do_not(house: House) -> None:
    found = house.holdout(HoldoutRequest())
    mailed, held = found.mailed, found.holdout
    # u1 ordered twice, u2 and u3 once, u3 without a value; h1 once, h2 never.
    assert (4, 3, 4, Decimal("40.5")) == (mailed.people, mailed.buyers, mailed.orders, mailed.revenue)
    assert (2, 1, 1, Decimal("7.25")) == (held.people, held.buyers, held.orders, held.revenue)
    assert (3 / 4, 1.0, 10.125) == (mailed.conversion, mailed.orders_per_person, mailed.revenue_per_person)
    assert (1 / 2, 1 / 2, 3.625) == (held.conversion, held.orders_per_person, held.revenue_per_person)
    assert pytest.approx(0.5) == found.lift
    assert found.reason is None
    # z = 2.575829..., the error of the logarithm of 1.5 is sqrt(1/3 - 1/4 + 1/1 - 1/2).
    error = 2.5758293035489 * math.sqrt(7 / 12)
    assert pytest.approx(1.5 * math.exp(-error) - 1) == found.lift_low
    assert pytest.approx(1.5 * math.exp(error) - 1) == found.lift_high


def test_holdout_of_a_period_and_of_another_goal(house: House) -> None:
    found = house.holdout(HoldoutRequest(since=at(4.5), until=at(50)))
    assert (2, 2, 0) == (found.mailed.buyers, found.mailed.orders, found.holdout.orders)  # o2 and o4; o5 is at its end
    assert (None, None) == (found.lift, found.lift_low)
    assert found.reason is not None
    assert "nobody in the holdout group converted" in found.reason
    signed = house.holdout(HoldoutRequest(goal="signed_up"))
    assert (1, 0) == (signed.mailed.buyers, signed.holdout.buyers)
    with pytest.raises(ConfigError, match="no goal 'sold'"):
        house.holdout(HoldoutRequest(goal="sold"))


def rows(*parts: tuple[str, int, int]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"part": part, "people": people, "buyers": buyers, "orders": buyers, "revenue": Decimal(0)}
            for part, people, buyers in parts
        ],
        schema=pa.schema(
            [
                ("part", pa.string()),
                *((name, pa.int64()) for name in ("people", "buyers", "orders")),
                ("revenue", pa.decimal128(38, 4)),
            ]
        ),
    )


@pytest.mark.parametrize(
    ("parts", "lift", "said"),
    [
        ((), None, "nobody is in the holdout group"),
        ((("mailed", 10, 5),), None, "nobody is in the holdout group"),
        ((("holdout", 10, 5),), None, "nobody is outside of the holdout group"),
        ((("holdout", 10, 0), ("mailed", 10, 5)), None, "nobody in the holdout group converted"),
        ((("holdout", 10, 5), ("mailed", 10, 0)), -1.0, "nobody who was mailed converted"),
    ],
)
def test_a_lift_that_cannot_be_told_has_a_reason(
    parts: Sequence[tuple[str, int, int]], lift: float | None, said: str
) -> None:
    found = holdout.result(HoldoutRequest(), rows(*parts))
    assert (lift, None, None) == (found.lift, found.lift_low, found.lift_high)
    assert said in str(found.reason)


def test_the_interval_is_that_of_others() -> None:
    # https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats._result_classes.RelativeRiskResult.confidence_interval.html
    expected = (1.1261564003469628, 5.549850800541033)
    assert pytest.approx(expected) == holdout.ratio_interval(10, 75, 12, 225, 0.95)
    assert pytest.approx(expected, rel=0.1) != holdout.ratio_interval(10, 75, 12, 225, 0.99)


def test_time_to_convert_by_model_and_campaign(house: House) -> None:
    def found(**asked: Any) -> list[tuple[str, str, int, float, float]]:
        request = ConvertingRequest(**asked)
        result = converting.result(request, house.table(converting.sql(request, house.place)))
        hours = [(row.median_seconds / 3600, row.p90_seconds / 3600) for row in result]
        return [
            (row.model, row.campaign_id, row.conversions, round(median, 6), round(p90, 6))
            for row, (median, p90) in zip(result, hours, strict=True)
        ]

    # last: 1, 28 and 1 hours; 0.9 * 2 = 1.8: 1 + 0.8 * 27.
    last = ("last", "c1", 3, 1.0, 22.6)
    assert [last, ("any", "c1", 1, 1.0, 1.0), ("any", "c2", 1, 24.0, 24.0)] == found()
    assert [last] == found(models=["last"])
    assert [("last", "c1", 2, 14.5, 25.3)] == found(models=["last"], filters=[Condition("touch", "is", "click")])
    assert [("last", "c1", 1, 1.0, 1.0)] == found(models=["last"], until=at(30))
    assert [] == found(goal="signed_up")
    with pytest.raises(ConfigError, match="models are"):
        found(models=["best"])
