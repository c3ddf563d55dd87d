"""What a report may be asked: periods, names, filters, and what is said of those that are none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.cli import report_chart, report_words
from headrace.errors import ConfigError
from headrace.reports import building, documentation, planning
from headrace.reports.conditions import Condition
from headrace.reports.datasets import DATASETS
from headrace.reports.measures import MEASURES, bases
from headrace.reports.model.engine import engine
from headrace.reports.model.schema import TABLES
from headrace.reports.model.settings import Goal, LabelRule, ModelSettings
from headrace.reports.place import MailSource, Place
from headrace.reports.presets import PRESETS
from headrace.reports.request import ReportRequest, settled

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 1, 12, 7, tzinfo=UTC)
SETTINGS = ModelSettings(labels=(LabelRule(set="type", label="promo", pattern="*"),))
PLACE = Place(engine("duckdb"), {}, (MailSource("news", "newsletter", is_email=True),), SETTINGS)


def sql(**request: Any) -> str:
    return building.sql(settled(ReportRequest(**request), NOW), PLACE)


@pytest.mark.parametrize(
    ("since", "zone", "expected"),
    [
        ("2026-10-25", "UTC", "2026-10-25T00:00:00+00:00"),
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00+00:00"),
        ("2026-10-26", "Europe/Berlin", "2026-10-25T23:00:00+00:00"),
        ("2026-10-25T08:30", "Europe/Berlin", "2026-10-25T07:30:00+00:00"),
        ("2026-10-25T08:30:00+05:45", "Europe/Berlin", "2026-10-25T02:45:00+00:00"),
        ("7d", "UTC", "2026-10-25T00:00:00+00:00"),
        ("7d", "Europe/Berlin", "2026-10-24T22:00:00+00:00"),
        ("2w", "Asia/Kathmandu", "2026-10-17T18:15:00+00:00"),
        ("12h", "Europe/Berlin", "2026-11-01T00:00:00+00:00"),
    ],
)
def test_a_period_begins_where_its_zone_says(since: str, zone: str, expected: str) -> None:
    request = settled(ReportRequest(since=since, zone=zone), NOW)
    assert expected == request.since
    assert request == settled(request, datetime(2030, 1, 1, tzinfo=UTC))


def test_a_date_at_the_end_is_the_last_day() -> None:
    assert "2026-10-25T23:00:00+00:00" == settled(ReportRequest(until="2026-10-25", zone="Europe/Berlin"), NOW).until


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"preset": "campaign"}, ["there is no report 'campaign'", "did you mean campaigns?"]),
        ({"dataset": "message"}, ["there is no dataset 'message'", "did you mean messages?"]),
        (
            {"measures": ["open_rates"]},
            ["there is no measure 'open_rates'", "did you mean open_rate?", "human_open_rate"],
        ),
        ({"dataset": "links", "measures": ["sent"]}, ["no measure in the dataset links 'sent'"]),
        (
            {"dimensions": ["campaing_id"]},
            ["there is no field 'campaing_id'", "did you mean campaign_id?", "label:type"],
        ),
        (
            {"dimensions": ["link"]},
            ["no field in the dataset messages 'link'", "the dataset links has it (--dataset links)"],
        ),
        ({"dimensions": ["goal"]}, ["the dataset attribution has it"]),
        ({"measures": ["net_growth"]}, ["no measure in the dataset messages", "the dataset list_health has it"]),
        ({"dimensions": ["label:brand"]}, ["no set of labels 'label:brand'", "label:type"]),
        ({"dimensions": ["label:x' OR 1"]}, ["names no set of labels"]),
        ({"dimensions": ["sent_at"]}, ["is for filters", "sent_day"]),
        ({"dimensions": ["day"], "dataset": "quality", "filters": [Condition("day", "is", "2026-01-01")]}, ["since"]),
        ({"sort": ["-revenu"]}, ["no column to sort by 'revenu'", "did you mean revenue?"]),
        ({"zone": "Mars/Olympus"}, ["no time zone 'Mars/Olympus'", "IANA"]),
        ({"zone": "../../etc/passwd"}, ["no time zone"]),
        ({"zone": "europe/berlin"}, ["no time zone 'europe/berlin'; did you mean Europe/Berlin?"]),
        ({"zone": "Berlin"}, ["did you mean Europe/Berlin?"]),
        ({"since": "yesterday"}, ["since is 'yesterday'", "30d"]),
        ({"since": "2026-13-01"}, ["since is '2026-13-01'"]),
        ({"until": "999999w"}, ["until is '999999w'"]),
        ({"since": "2026-10-02", "until": "2026-10-01"}, ["ends", "before it begins"]),
        ({"source": "shop"}, ["no source 'shop'", "news"]),
        ({"goal": "signup"}, ["no goal 'signup'", "order_completed"]),
        ({"filters": [Condition("campagin_id", "is", "x")]}, ["no field 'campagin_id'", "did you mean campaign_id?"]),
        ({"filters": [Condition("sent", "is", "many")]}, ["sent is a number"]),
        ({"filters": [Condition("source", "less", 1)]}, ["source is a text"]),
        ({"measures": []}, ["no measure is asked for"]),
        ({"limit": 0}, ["the limit is 0", "from 1 to"]),
        (
            {"dataset": "engagement_curve", "dimensions": ["hour_since_delivery"], "source": "shop"},
            ["no source 'shop'"],
        ),
        ({"dataset": "activity", "measures": ["orders"], "goal": "order_completed", "model": "first"}, ["activity"]),
    ],
)
def test_what_cannot_be_asked_is_said_with_what_can(request_: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        sql(**request_)
    assert str(error.value).startswith("report: ")
    assert [] == [word for word in words if word not in str(error.value)]


def test_a_label_of_no_set_is_none() -> None:
    place = PLACE._replace(settings=ModelSettings())
    for request in (
        ReportRequest(dimensions=["label:type"]),
        ReportRequest(filters=[Condition("label:type", "is", "promo")]),
    ):
        with pytest.raises(ConfigError, match=r"no set of labels 'label:type'.*email labels"):
            building.sql(request, place)


def test_activity_has_no_rates_unless_they_are_asked_for() -> None:
    rates = [of.name for of in planning.planned(ReportRequest(preset="activity"), PLACE).measures if of.numerator]
    assert [] == rates
    asked = ReportRequest(preset="activity", measures=["human_open_rate"])
    assert ["day", "human_open_rate"] == planning.planned(asked, PLACE).names


def test_a_relative_period_needs_a_clock_first() -> None:
    with pytest.raises(ConfigError, match="settle the request first"):
        building.sql(ReportRequest(since="30d"), PLACE)


def test_a_source_is_found_by_its_slug() -> None:
    assert "(t.source IS NOT DISTINCT FROM 'newsletter')" in sql(preset="campaigns", source="news")


def test_a_preset_may_be_changed_in_part() -> None:
    plan = planning.planned(ReportRequest(preset="campaigns", dimensions=["domain"], limit=3), PLACE)
    assert ["domain", *PRESETS["campaigns"].measures] == plan.names
    assert 3 == plan.limit


def test_every_preset_asks_for_what_there_is() -> None:
    for name, preset in PRESETS.items():
        plan = planning.planned(ReportRequest(preset=name), PLACE)
        assert [*preset.dimensions, *preset.measures] == plan.names
        assert preset.drawn in {"", *preset.measures}


def test_campaigns_have_the_columns_of_the_table() -> None:
    preset = PRESETS["campaigns"]
    assert list(TABLES["campaigns"].columns) == [*preset.dimensions, *preset.measures]


def test_every_measure_is_made_of_what_some_dataset_has() -> None:
    there = {measure.name for dataset in DATASETS.values() for measure in planning.measures_of(dataset)}
    assert set(MEASURES) == there
    assert all(MEASURES[base].is_base for name in MEASURES for base in bases([name]))
    assert all(measure.sentence.endswith(".") for measure in MEASURES.values())


def test_tables_of_counts_are_not_read_for_orders_that_they_do_not_hold() -> None:
    goals = ModelSettings(goals=(Goal(name="order_completed", event="x"), Goal(name="signed_up", event="y")))
    place = PLACE._replace(settings=goals)

    def parts(**request: Any) -> list[str]:
        return [part.name for part in planning.planned(ReportRequest(**request), place).parts]

    assert ["campaigns"] == parts(measures=["delivered", "orders"])
    assert ["messages", "attribution"] == parts(measures=["delivered", "orders"], goal="signed_up")
    assert ["messages", "attribution"] == parts(measures=["delivered", "orders"], model="first")
    assert ["campaigns"] == parts(measures=["delivered", "orders_last"], model="first")
    assert ["messages", "attribution"] == parts(measures=["delivered", "conversion_rate"], model="any")


def test_the_document_is_the_code_s() -> None:
    text = (ROOT / "docs/reports.md").read_text(encoding="utf-8")
    printed = text[text.index(documentation.HEADING) :]
    assert documentation.documentation() == printed, "python -m headrace.reports.documentation into docs/reports.md"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("campaign_name contains spring sale", ("campaign_name", "contains", "spring sale")),
        ("domain in gmail.com, gmx.de", ("domain", "in", ["gmail.com", "gmx.de"])),
        ('campaign_name in "a, b",c', ("campaign_name", "in", ["a, b", "c"])),
        ("domain is gmail.com", ("domain", "is", "gmail.com")),
        ("domain is not gmail.com", ("domain", "is_not", "gmail.com")),
        ("domain not in a,b", ("domain", "not_in", ["a", "b"])),
        ("domain!=gmail.com", ("domain", "is_not", "gmail.com")),
        ("domain = ''", ("domain", "is", "")),
        ("open_rate > 20%", ("open_rate", "more", 0.2)),
        ("delivered>=1000", ("delivered", "at_least", 1000)),
        ("send_number <2", ("send_number", "less", 2)),
        ("device unknown", ("device", "unknown", None)),
        ("device is known", ("device", "known", None)),
        ("is_matched is false", ("is_matched", "is", False)),
        ("campaign_id is 42", ("campaign_id", "is", "42")),
        ("label:type is promo", ("label:type", "is", "promo")),
        ("campaign_name starts with is in", ("campaign_name", "starts_with", "is in")),
        ("sent_at at_least 2026-10-01", ("sent_at", "at_least", "2026-10-01")),
    ],
)
def test_filters_are_read_as_people_write_them(text: str, expected: tuple[str, str, Any]) -> None:
    assert Condition(*expected) == report_words.condition(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "domain", "domain like x", "delivered > many", "is_matched is perhaps", "device known x"]
)
def test_filters_that_are_none_are_explained(text: str) -> None:
    with pytest.raises(ConfigError, match="report: --where"):
        report_words.condition(text)


def test_bars_have_the_length_of_their_share() -> None:
    assert "█" * 10 == report_chart.bar(5.0, 5.0, 10, blocks=True)
    assert "█████" == report_chart.bar(2.5, 5.0, 10, blocks=True)
    assert "▏" == report_chart.bar(0.0001, 5.0, 10, blocks=True)
    assert ["", "", ""] == [report_chart.bar(value, 5.0, 10, blocks=True) for value in (0.0, None, -1.0)]
    assert "#####" == report_chart.bar(2.5, 5.0, 10, blocks=False)


def test_lines_show_days_without_figures_as_gaps() -> None:
    values = {"2026-10-01": 8.0, "2026-10-03": 0.0, "2026-10-04": 4.0}
    assert [8.0, None, 0.0, 4.0] == report_chart.by_day(values, 1)
    assert "█ ▁▅" == report_chart.line(report_chart.by_day(values, 1), blocks=True)
    assert "█▁" == report_chart.line([0.0, -2.0], blocks=True)


def test_a_request_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="measure"):
        msgspec.json.decode(b'{"measure": ["sent"]}', type=ReportRequest)
