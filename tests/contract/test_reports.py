"""Reports on both engines: the same figures as counted by hand, whichever way is read, and no text of a user in the SQL but as a literal."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
import pytest

import email_tables
import engines
import report_rows
from headrace.app.reporting import OpenWarehouse, Reporting
from headrace.config import WarehouseConfig
from headrace.errors import ConfigError
from headrace.reports import answers, building, campaigns, crossing, planning
from headrace.reports.answers import FunnelOrder, HoldoutOrder, ReportAnswer, Standing
from headrace.reports.campaigns import CURVE_HOURS, CompareOrder, Comparison
from headrace.reports.conditions import Condition
from headrace.reports.crossing import Asked as Answered
from headrace.reports.crossing import TableOrder
from headrace.reports.datasets import DATASETS
from headrace.reports.model.engine import engine
from headrace.reports.model.settings import Goal, LabelRule, ModelSettings
from headrace.reports.place import MailSource, Place
from headrace.reports.presets import CAMPAIGN_MEASURES, PRESETS
from headrace.reports.request import ReportRequest, settled
from headrace.warehouses.base import Deriving, Warehouse
from headrace.workspace.workspace import Workspace
from report_rows import COUNTS, Row, Rows, counts, grouped, local, ratio, sales

assert engines.__path__
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SETTINGS = ModelSettings(
    goals=(Goal(name="order_completed", event="Order Completed"), Goal(name="signed_up", event="Signed Up")),
    labels=(LabelRule(set="type", label="promo", pattern="*"), LabelRule(set="brand", label="ours", pattern="*")),
)
SOURCES = (MailSource("mail", "mail", is_email=True), MailSource("mail-two", "mail_two", is_email=True))
ROWS = report_rows.made()
DAYS = [
    {"day": date(2026, 10, 1) + timedelta(days=number), "source": "mail", "list_id": "news", "subscribes": 2**number}
    for number in range(31)
]
"""Of list_health: each sum of subscribes is of one set of days only."""


class Asked:
    """A warehouse with ROWS, asked by requests."""

    def __init__(self, warehouse: Warehouse) -> None:
        assert isinstance(warehouse, Deriving)
        self.warehouse: Any = warehouse
        self.place = Place(engine(warehouse.engine), {}, SOURCES, SETTINGS)
        email_tables.create(warehouse)
        rows = {name: [without_extra(name, row) for row in of] for name, of in ROWS.items()}
        email_tables.fill(warehouse, {**rows, "list_health": DAYS})

    def __call__(self, **request: Any) -> list[Row]:
        asked = settled(ReportRequest(**request), NOW)
        return self.select(building.sql(asked, self.place))

    def way(self, **request: Any) -> list[str]:
        plan = planning.planned(settled(ReportRequest(**request), NOW), self.place)
        return [part.name for part in plan.parts]

    def select(self, sql: str) -> list[Row]:
        result = self.warehouse.query(sql, max_rows=10_000, timeout_seconds=30)
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def without_extra(table: str, row: Row) -> Row:
    return {name: value for name, value in row.items() if not (table == "messages" and name == "sent_quarter")}


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def ask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder: Path = tmp_path_factory.mktemp(str(request.param))
    warehouse = importlib.import_module(f"engines.{request.param}").fresh(folder)()
    try:
        yield Asked(warehouse)
    finally:
        warehouse.close()


def expected_counts(
    rows: Rows, key: Callable[[Row], Hashable], keep: Callable[[Row], bool] = lambda _: True
) -> Mapping[Any, Row]:
    """The additive figures by hand, by what tells messages apart."""
    of = {message["message_id"]: message for message in rows["messages"]}
    kept = [message for message in rows["messages"] if keep(message) and not message["is_test"]]
    sold = [row for row in sales(rows) if keep(of[row["message_id"]])]
    by_group = grouped(sold, lambda row: key(of[row["message_id"]]))
    return {group: counts(found, by_group.get(group, ())) for group, found in grouped(kept, key).items()}


def by(rows: list[Row], *names: str) -> dict[Any, Row]:
    keyed = {tuple(row[name] for name in names): {k: v for k, v in row.items() if k not in names} for row in rows}
    assert len(keyed) == len(rows)
    return {key[0] if len(names) == 1 else key: row for key, row in keyed.items()}


def test_campaigns_have_the_figures_of_the_messages_and_the_names_of_the_table(ask: Asked) -> None:
    rows = ask(preset="campaigns")
    assert ["campaign_id", "campaign_name", *CAMPAIGN_MEASURES] == list(rows[0])
    assert ["campaigns"] == ask.way(preset="campaigns")
    assert ["campaign_sends"] == ask.way(preset="campaigns", since="30d")
    assert rows == ask(preset="campaigns", since="30d")
    expected = expected_counts(ROWS, lambda message: message["campaign_id"])
    assert expected == {row["campaign_id"]: {name: row[name] for name in COUNTS} for row in rows}
    spring = next(row for row in rows if row["campaign_id"] == "spring")
    assert report_rows.NAMES["spring"] == spring["campaign_name"]
    assert ratio(spring["human_clicks"], spring["delivered"]) == pytest.approx(spring["click_rate"])
    assert ratio(spring["revenue"], spring["delivered"]) == pytest.approx(spring["revenue_per_recipient"])
    assert sorted((row["sent"] for row in rows), reverse=True) == [row["sent"] for row in rows]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    "dimensions",
    [
        [],
        ["sent_hour"],
        ["sent_day"],
        ["sent_weekday", "sent_hour_of_day"],
        ["sent_week", "source"],
        ["label:type", "journey_id"],
    ],
    ids=",".join,
)
def test_both_ways_to_the_messages_give_the_same(ask: Asked, dimensions: list[str], zone: str) -> None:
    """A measure that only the messages know forces the other way."""
    asked = {"dimensions": dimensions, "zone": zone, "since": "2026-10-22", "until": "2026-10-26"}
    assert ["campaign_sends"] == ask.way(measures=COUNTS, **asked)
    assert ["messages", "attribution"] == ask.way(measures=[*COUNTS, "open_events"], **asked)
    small, large = ask(measures=COUNTS, **asked), ask(measures=[*COUNTS, "open_events"], **asked)
    assert small
    assert small == [{name: value for name, value in row.items() if name != "open_events"} for row in large]


def test_the_days_of_a_zone_are_its_own_when_clocks_are_set_back(ask: Asked) -> None:
    zone = "Europe/Berlin"
    rows = ask(dimensions=["sent_day"], measures=COUNTS, zone=zone, since="2026-10-24", until="2026-10-25")
    expected = expected_counts(
        ROWS,
        lambda message: local(message["sent_at"], zone).date().isoformat(),
        lambda message: "2026-10-24" <= local(message["sent_at"], zone).date().isoformat() <= "2026-10-25",
    )
    assert {"2026-10-24", "2026-10-25"} == set(expected)
    assert expected == by(rows, "sent_day")
    in_utc = expected_counts(ROWS, lambda message: message["sent_at"].date().isoformat())
    assert in_utc["2026-10-24"] != expected["2026-10-24"], "the control: UTC's days are other days"


def test_a_period_within_a_quarter_of_an_hour_is_read_from_the_messages(ask: Asked) -> None:
    bound = datetime(2026, 10, 23, 10, 7, 30, tzinfo=UTC)
    asked = {"measures": COUNTS, "since": bound.isoformat()}
    assert ["messages", "attribution"] == ask.way(**asked)
    assert [expected_counts(ROWS, lambda _: 0, lambda message: message["sent_at"] >= bound)[0]] == ask(**asked)


def days(*numbers: int) -> int:
    """The subscribes of these days of October."""
    return sum(2 ** (number - 1) for number in numbers)


@pytest.mark.parametrize(
    ("since", "until", "zone", "now", "before"),
    [
        ("2026-10-20", "2026-10-22", "UTC", [20, 21, 22], [17, 18, 19]),
        ("2026-10-20", "2026-10-22T00:00", "UTC", [20, 21], [18, 19]),
        ("2026-10-20", "2026-10-22T00:15", "UTC", [20, 21, 22], [17, 18, 19]),
        ("2026-10-20T18:00", "2026-10-20T20:00", "UTC", [20], [19]),
        ("2026-10-20T18:00", "2026-10-22T06:00", "UTC", [20, 21, 22], [17, 18, 19]),
        ("2026-10-24", "2026-10-25", "Europe/Berlin", [24, 25], [22, 23]),
        ("2026-10-25", "2026-10-25T22:59:59Z", "Europe/Berlin", [25], [24]),
        ("2026-10-25", "2026-10-25T23:00:00Z", "Europe/Berlin", [25], [24]),
        ("2026-10-25", "2026-10-25T23:00:01Z", "Europe/Berlin", [25, 26], [23, 24]),
        ("7d", None, "UTC", range(23, 31), range(15, 23)),
        ("12h", None, "Asia/Kathmandu", [30], [29]),
    ],
)
def test_datasets_of_days_count_each_day_of_the_period_and_as_many_before(
    ask: Asked, since: str, until: str | None, zone: str, now: Sequence[int], before: Sequence[int]
) -> None:
    def answered(request: ReportRequest) -> Answered:
        plan = planning.planned(request, ask.place)
        sql = building.built(plan, ask.place)
        return Answered(ask.warehouse.query(sql, max_rows=100, timeout_seconds=30).rows, plan, sql, truncated=False)

    request = ReportRequest(dataset="list_health", measures=["subscribes"], since=since, until=until, zone=zone)
    noon = datetime(2026, 10, 30, 12, 7, tzinfo=UTC)
    found = crossing.crossed(TableOrder(request=request, compare=True), answered, noon)
    until_now = [*now, 31] if until is None else now  # nothing ends it, and the last row is of tomorrow
    assert [[days(*until_now)]] == [list(row) for row in found.table.whole]
    assert found.before is not None
    assert [[days(*before)]] == [list(row) for row in found.before.whole]


def test_filters_take_away_messages_and_their_orders(ask: Asked) -> None:
    wanted = [Condition("domain", "in", ["gmx.de", ""]), Condition("device", "is", "mobile")]
    rows = ask(dimensions=["campaign_id"], measures=COUNTS, filters=wanted, source="mail-two")

    def kept(message: Row) -> bool:
        return (message["domain"], message["device"], message["source"]) in (
            ("gmx.de", "mobile", "mail_two"),
            ("", "mobile", "mail_two"),
        )

    assert expected_counts(ROWS, lambda message: message["campaign_id"], kept) == by(rows, "campaign_id")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu"])
@pytest.mark.parametrize("moment", ["2026-10-25", "2026-10-25T08:30", "2026-10-26T00:00:00", "2026-10-24T21:00:00Z"])
def test_times_without_a_zone_in_filters_are_of_the_report_s(ask: Asked, moment: str, zone: str) -> None:
    begin = datetime.fromisoformat(moment)
    begin = begin.replace(tzinfo=ZoneInfo(zone)) if begin.tzinfo is None else begin
    asked = {"dimensions": ["campaign_id"], "measures": ["sent"], "zone": zone}
    found = {
        row["campaign_id"]: row["sent"] for row in ask(filters=[Condition("sent_at", "at_least", moment)], **asked)
    }
    expected = expected_counts(ROWS, lambda mail: mail["campaign_id"], lambda mail: mail["sent_at"] >= begin)
    assert {group: row["sent"] for group, row in expected.items()} == found
    assert ask(since=moment, **asked) == ask(filters=[Condition("sent_at", "at_least", moment)], **asked)
    one = ROWS["messages"][0]["sent_at"].astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat()
    exact = ask(filters=[Condition("sent_at", "in", [one])], measures=["sent"], zone=zone)[0]["sent"]
    same = [mail for mail in ROWS["messages"] if mail["sent_at"] == ROWS["messages"][0]["sent_at"]]
    assert sum(not mail["is_test"] for mail in same) == exact


def test_filters_by_figures_choose_rows_of_the_report(ask: Asked) -> None:
    every = ask(dimensions=["email_id", "campaign_id"], measures=["sent", "open_rate"])
    limit = sorted(row["sent"] for row in every)[2]
    rows = ask(
        dimensions=["email_id", "campaign_id"],
        measures=["open_rate"],
        filters=[Condition("sent", "more", limit), Condition("sent", "known")],
    )
    expected = [(row["email_id"], row["campaign_id"]) for row in every if row["sent"] > limit]
    assert sorted(expected) == sorted((row["email_id"], row["campaign_id"]) for row in rows)
    assert 0 < len(rows) < len(every)


@pytest.mark.parametrize("model", ["last", "first", "any"])
@pytest.mark.parametrize("goal", ["order_completed", "signed_up"])
def test_orders_of_a_goal_and_model_count_once_in_each_row(ask: Asked, goal: str, model: str) -> None:
    rows = ask(
        dimensions=["campaign_id"],
        measures=["delivered", "orders", "revenue", f"orders_{model}"],
        goal=goal,
        model=model,
    )
    expected = grouped(sales(ROWS, goal, model), lambda row: row["campaign_id"])
    for row in rows:
        figures = counts((), expected.get(row["campaign_id"], ()))
        assert (figures["orders"], figures["revenue"]) == (row["orders"], row["revenue"])
        assert figures["orders"] == row[f"orders_{model}"]
    (total,) = ask(measures=["orders"], goal=goal, model=model)
    assert len({row["conversion_key"] for row in sales(ROWS, goal, model)}) == total["orders"]


def test_goals_are_told_apart_or_chosen_by_a_condition(ask: Asked) -> None:
    expected = {goal: len(sales(ROWS, goal)) for goal in ("order_completed", "signed_up")}
    rows = ask(dataset="attribution", dimensions=["goal", "touch"], measures=["orders"])
    assert expected == {goal: sum(row["orders"] for row in rows if row["goal"] == goal) for goal in expected}
    asked = {"dataset": "attribution", "measures": ["orders"]}
    assert [{"orders": expected["signed_up"]}] == ask(**asked, filters=[Condition("goal", "is", "signed_up")])
    assert [{"orders": expected["order_completed"]}] == ask(**asked)
    one = ask(**asked, dimensions=["goal"], goal="signed_up")
    assert [{"goal": "signed_up", "orders": expected["signed_up"]}] == one


def test_orders_by_what_only_messages_know_are_not_multiplied(ask: Asked) -> None:
    rows = ask(dimensions=["device", "send_number"], measures=["orders", "revenue", "delivered"])
    assert len(sales(ROWS)) == sum(row["orders"] for row in rows)
    assert counts((), sales(ROWS))["revenue"] == pytest.approx(sum(row["revenue"] for row in rows))


def test_times_are_medians_over_messages(ask: Asked) -> None:
    (row,) = ask(measures=["time_to_open_median", "time_to_open_p90", "time_to_click_median", "time_to_click_p90"])
    for name, column in (("open", "human_opened_at"), ("click", "human_clicked_at")):
        seconds = sorted(
            max((message[column] - message["delivered_at"]).total_seconds(), 0)
            for message in ROWS["messages"]
            if message[column] and message["is_delivered"] and not message["is_test"]
        )
        for at, what in ((0.5, "median"), (0.9, "p90")):
            place = at * (len(seconds) - 1)
            low = int(place)
            high = min(low + 1, len(seconds) - 1)
            expected = seconds[low] + (place - low) * (seconds[high] - seconds[low])
            assert expected == pytest.approx(row[f"time_to_{name}_{what}"])


def test_machines_and_people_are_told_apart(ask: Asked) -> None:
    (row,) = ask(
        measures=[
            "machine_only_opens",
            "machine_share_of_opens",
            "machine_share_of_clicks",
            "all_click_rate",
            "unmatched_recipients",
            "recipients",
            "spam_alarm",
            "links_per_clicker",
            "unknown_bounces",
        ]
    )
    messages = [message for message in ROWS["messages"] if not message["is_test"]]
    figures = counts(messages, ())
    machines = sum(message["is_opened"] and not message["is_human_opened"] for message in messages)
    assert machines == row["machine_only_opens"]
    assert ratio(machines, figures["opens"]) == pytest.approx(row["machine_share_of_opens"])
    assert 1 - figures["human_clicks"] / figures["clicks"] == pytest.approx(row["machine_share_of_clicks"])
    people = {message["person_key"] for message in messages if message["is_sent"]}
    assert (len(people), sum(person % 5 == 0 for person in people)) == (row["recipients"], row["unmatched_recipients"])
    assert 2 == row["spam_alarm"]
    links = sum(message["links_clicked"] for message in messages if message["is_human_clicked"])
    assert ratio(links, figures["human_clicks"]) == pytest.approx(row["links_per_clicker"])
    assert figures["bounces"] - figures["hard_bounces"] - figures["soft_bounces"] == row["unknown_bounces"]


def test_both_ways_to_the_links_give_the_same(ask: Asked) -> None:
    asked = {"dataset": "links", "dimensions": ["campaign_id", "email_id", "link", "link_url"]}
    measures = ["clicks", "human_clicks", "click_events", "human_click_events"]
    assert ["links"] == ask.way(measures=measures, **asked)
    assert ["link_events"] == ask.way(measures=measures, since="2020-01-01", **asked)
    small = ask(measures=measures, **asked)
    assert small
    assert small == ask(measures=measures, since="2020-01-01", **asked)


def test_messages_with_clicks_on_two_links_count_once_without_links(ask: Asked) -> None:
    assert ["link_events"] == ask.way(dataset="links", dimensions=["campaign_id"], measures=["clicks"])
    rows = ask(dataset="links", dimensions=["campaign_id"], measures=["clicks"])
    expected = expected_counts(ROWS, lambda message: message["campaign_id"])
    assert {group: row["clicks"] for group, row in expected.items()} == {
        row["campaign_id"]: row["clicks"] for row in rows
    }
    added = grouped(ROWS["links"], lambda row: row["campaign_id"])
    assert any(sum(row["clicks"] for row in added[group]) != row["clicks"] for group, row in expected.items()), (
        "the control"
    )


def test_both_ways_to_the_curve_give_the_same(ask: Asked) -> None:
    asked = {"dataset": "engagement_curve", "dimensions": ["campaign_id", "hour_since_delivery"]}
    measures = ["opens", "human_opens", "clicks", "human_clicks"]
    assert ["engagement_curve"] == ask.way(measures=measures, **asked)
    assert ["message_hours"] == ask.way(measures=measures, since="2020-01-01", **asked)
    small = ask(measures=measures, **asked)
    assert small
    assert small == ask(measures=measures, since="2020-01-01", **asked)


def compared(
    ask: Asked, asked_of: list[ReportRequest], sends: Sequence[Sequence[Any]] | None = None, **order: Any
) -> Comparison:
    """What the curve is asked by is added to `asked_of`. `sends` are told for those of the warehouse."""

    def report(request: ReportRequest) -> ReportAnswer:
        plan = planning.planned(settled(request, NOW), ask.place)
        sql = building.built(plan, ask.place)
        result = ask.warehouse.query(sql, max_rows=10_000, timeout_seconds=30)
        return answers.answer(plan, planning.columns(plan), sql, result, Standing(as_of=NOW, loads_behind=0))

    def rows(of: str | ReportRequest) -> Any:
        if of == campaigns.SENDS and sends is not None:
            return sends
        if isinstance(of, ReportRequest):
            asked_of.append(of)
            of = building.sql(settled(of, NOW), ask.place)
        return ask.warehouse.query(of, max_rows=10_000, timeout_seconds=30).rows

    return campaigns.comparison(CompareOrder(campaigns=["welcome", "spring"], **order), report, rows, rows)


@pytest.mark.parametrize(
    ("order", "way", "keep"),
    [
        ({}, "engagement_curve", lambda _: True),
        ({"since": "2026-10-01", "until": "2026-10-31"}, "engagement_curve", lambda _: True),
        (
            {"since": "2026-10-24", "zone": "Europe/Berlin"},
            "message_hours",
            lambda mail: local(mail["sent_at"], "Europe/Berlin").date() >= date(2026, 10, 24),
        ),
        ({"until": "2026-10-24"}, "message_hours", lambda mail: mail["sent_at"].date() <= date(2026, 10, 24)),
        ({"source": "mail-two"}, "message_hours", lambda mail: mail["source"] == "mail_two"),
        (
            {"filters": [Condition("email_id", "is", "a"), Condition("sent", "more", 1)]},
            "message_hours",
            lambda mail: mail["email_id"] == "a",
        ),
    ],
)
def test_the_curves_of_a_comparison_are_of_the_mails_that_it_counts(
    ask: Asked, order: dict[str, Any], way: str, keep: Callable[[Row], bool]
) -> None:
    requests: list[ReportRequest] = []
    found = compared(ask, requests, **order)
    plan = planning.planned(settled(requests[0], NOW), ask.place)
    assert [way] == [part.name for part in plan.parts]
    delivered = [column.name for column in found.measures].index("delivered")
    for of in found.campaigns:
        mails = [mail for mail in ROWS["messages"] if mail["campaign_id"] == of.campaign_id]
        mails = [mail for mail in mails if keep(mail) and not mail["is_test"] and mail["is_delivered"]]
        assert len(mails) == of.figures[delivered]
        opened = [mail["opened_at"] - mail["delivered_at"] for mail in mails if mail["opened_at"]]
        assert sum(late < timedelta(hours=CURVE_HOURS) for late in opened) == sum(
            row[1] for row in found.curves[of.campaign_id]
        )


def test_campaigns_of_the_same_age_are_compared_by_the_mails_of_the_chosen_source(ask: Asked) -> None:
    moment = (NOW - timedelta(hours=50)).isoformat()
    sends = [(campaign, moment, moment, 1, None) for campaign in ("welcome", "spring")]
    found = compared(ask, [], sends, source="mail-two").same_age
    assert found is not None
    rates = []
    for campaign in ("welcome", "spring"):
        mails = [mail for mail in ROWS["messages"] if (mail["campaign_id"], mail["source"]) == (campaign, "mail_two")]
        mails = [mail for mail in mails if mail["is_delivered"] and not mail["is_test"]]
        late = [mail["human_opened_at"] - mail["delivered_at"] for mail in mails if mail["human_opened_at"]]
        rates.append(sum(one < timedelta(hours=49) for one in late) / len(mails))
    assert (49, "human_open_rate") == (found.hours, found.figures[0].measure)
    assert rates == pytest.approx(found.figures[0].values)


def test_both_ways_to_the_domains_give_the_same(ask: Asked) -> None:
    assert ["domains"] == ask.way(dimensions=["domain"], measures=COUNTS)
    assert ask(dimensions=["domain"], measures=COUNTS) == ask(
        dimensions=["domain"], measures=COUNTS, since="2020-01-01"
    )


def test_rules_are_told_apart_also_where_several_flag_the_same_click(ask: Asked) -> None:
    rows = by(ask(preset="reasons"), "reason")
    flagged = [event for event in ROWS["events"] if event["is_machine"] and not event["is_test"]]
    assert len(flagged) == rows["fast_click"]["flagged_clicks"]
    assert sum("every_link" in event["machine_reasons"] for event in flagged) == rows["every_link"]["flagged_clicks"]
    assert (
        sum(event["machine_reasons"] == "fast_click" for event in flagged) == rows["fast_click"]["flagged_by_it_alone"]
    )


def test_the_order_is_total_and_nulls_come_last(ask: Asked) -> None:
    rows = ask(dimensions=["device", "domain"], measures=["open_rate"], sort=["device", "-open_rate"], limit=8)
    assert 8 == len(rows)
    assert [
        (row["device"] is None, row["device"] or "", -(row["open_rate"] or 0), row["domain"]) for row in rows
    ] == sorted((row["device"] is None, row["device"] or "", -(row["open_rate"] or 0), row["domain"]) for row in rows)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_answered(ask: Asked, preset: str) -> None:
    for since in (None, "30d"):
        try:
            rows = ask(preset=preset, since=since, limit=5)
        except ConfigError as error:
            pytest.fail(f"{preset} since {since}: {error}")
        assert len(rows) <= 5


@pytest.mark.parametrize("name", DATASETS)
def test_every_field_and_measure_that_a_dataset_names_is_answered(ask: Asked, name: str) -> None:
    dataset = DATASETS[name]
    measures = [measure.name for measure in planning.measures_of(dataset)]
    for field in planning.fields_of(dataset):
        if not field.only_filters:
            ask(dataset=name, dimensions=[field.name], measures=[measures[0], measures[-1]], limit=1)
    ask(dataset=name, measures=measures, since="2026-10-01", until="2026-10-31", zone="Europe/Berlin")


HOSTILE = [
    "'; DROP TABLE email.messages; --",
    "\\'; DELETE FROM email.messages; --",
    "' OR 1=1 --",
    "$$; SELECT pg_sleep(9); $$",
    "/* ' */ \" ` %s {0} \x00 \n\r\t \u202e ?1 :x E'\\''",
    "''''",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("operator", ["is", "contains", "in"])
def test_texts_of_users_are_literals_and_nothing_else(ask: Asked, text: str, operator: Any) -> None:
    value = [text, "other"] if operator == "in" else text
    assert [] == ask(
        dimensions=["campaign_id"], measures=["sent"], filters=[Condition("campaign_name", operator, value)]
    )
    assert len(ROWS["messages"]) == ask.select("SELECT count(*) AS n FROM email.messages")[0]["n"]
    harmless = ["plain", "other"] if operator == "in" else "plain"

    def tree(value: Any) -> Any:
        request = ReportRequest(
            dimensions=["campaign_id"], measures=["sent"], filters=[Condition("campaign_name", operator, value)]
        )
        return shape(building.sql(request, ask.place), ask.place.engine.name)

    assert tree(harmless) == tree(value)


def shape(sql: str, dialect: str) -> list[str]:
    """The parsed tree's kinds of nodes and all of its names, by a parser that is not ours."""
    sqlglot = pytest.importorskip("sqlglot")
    (tree,) = sqlglot.parse(sql, read={"postgresql": "postgres"}.get(dialect, dialect))
    named = (sqlglot.exp.Identifier, sqlglot.exp.Var, sqlglot.exp.Anonymous)
    return [f"{type(node).__name__} {node.name if isinstance(node, named) else ''}" for node in tree.walk()]


def test_a_text_that_left_its_literal_would_be_seen(ask: Asked) -> None:
    """The control of the test above."""
    request = ReportRequest(
        dimensions=["campaign_id"], measures=["sent"], filters=[Condition("campaign_name", "is", "plain")]
    )
    sql = building.sql(request, ask.place)
    broken = sql.replace("'plain'", "'plain' OR '1' = '1'")
    assert shape(sql, ask.place.engine.name) != shape(broken, ask.place.engine.name)


def test_a_report_says_how_far_the_model_was(ask: Asked, tmp_path: Path) -> None:
    """And nothing else than the model's progress is taken for it."""

    @contextmanager
    def opened(_: str | None) -> Iterator[OpenWarehouse]:
        yield OpenWarehouse("warehouse", "kind", ask.warehouse)

    def loaded(started: str, progress: str = "") -> list[str]:
        load = (
            f"INSERT INTO headrace.loads (consumer, started, events) VALUES ('warehouse', TIMESTAMPTZ '{started}', 1)"
        )
        row = f"INSERT INTO email.progress (schema_name, table_name, role, loaded_to) VALUES ({progress}, TIMESTAMPTZ '{started}')"
        return [load, row] if progress else [load]

    with Workspace.open(tmp_path) as workspace:
        reporting = Reporting(workspace, list, opened, WarehouseConfig())
        request = ReportRequest(preset="campaigns")
        empty = reporting.report(request)
        assert (None, 0) == (empty.as_of, empty.loads_behind)
        known = "2026-11-01 08:00:00+00"
        ask.warehouse.derive(lambda d: d.run(loaded(known, "'mail', 'email_opened', 'opened'")))
        ask.warehouse.derive(lambda d: d.run(loaded("2026-11-01 07:00:00+00", "'', '', 'settings'")))
        current = reporting.report(request)
        assert (datetime(2026, 11, 1, 8, tzinfo=UTC), 0) == (current.as_of, current.loads_behind)
        ask.warehouse.derive(lambda d: d.run(loaded("2026-11-01 09:00:00+00")))
        behind = reporting.report(request)
        assert (current.as_of, 1) == (behind.as_of, behind.loads_behind)
        assert empty.rows == behind.rows
        flagging = "INSERT INTO email.progress (schema_name, table_name, role, loaded_to, state) VALUES ('', '', 'again', TIMESTAMPTZ '1970-01-01 00:00:00+00', '7')"
        ask.warehouse.derive(lambda d: d.run([flagging]))
        assert [False, True] == [behind.is_flagging, reporting.report(request).is_flagging]
        assert reporting.report(request).as_of == behind.as_of


def test_a_warehouse_without_the_model_is_explained(tmp_path: Path) -> None:
    warehouse = importlib.import_module("engines.duckdb").fresh(tmp_path)()

    @contextmanager
    def opened(_: str | None) -> Iterator[OpenWarehouse]:
        yield OpenWarehouse("team", "duckdb", warehouse)

    @contextmanager
    def other(_: str | None) -> Iterator[OpenWarehouse]:
        yield OpenWarehouse("lake", "iceberg", cast("Warehouse", object()))

    try:
        with Workspace.open(tmp_path) as workspace:
            for of, words in ((opened, "team has no tables of e-mail yet"), (other, "no e-mail model on iceberg")):
                reporting = Reporting(workspace, list, of, WarehouseConfig())
                for question in (
                    lambda: reporting.report(ReportRequest(preset="campaigns")),  # noqa: B023 -- asked in this turn
                    lambda: reporting.funnel(FunnelOrder()),  # noqa: B023 -- as above
                    lambda: reporting.holdout(HoldoutOrder()),  # noqa: B023 -- as above
                ):
                    with pytest.raises(ConfigError, match=words):
                        question()
    finally:
        warehouse.close()


def test_a_request_travels_as_json(ask: Asked) -> None:
    text = b'{"preset": "campaigns", "filters": [["campaign_name", "contains", "spring"]], "since": "30d", "sort": ["-revenue"]}'
    request = msgspec.json.decode(text, type=ReportRequest)
    assert request == msgspec.json.decode(msgspec.json.encode(request), type=ReportRequest)
    assert ["spring"] == [row["campaign_id"] for row in ask(**msgspec.structs.asdict(request))]
