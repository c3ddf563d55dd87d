"""The simulation gives back the figures it is drawn from, and its events are those that Selligent sends."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest

from headrace.simulator import figures
from headrace.simulator.orders import is_order
from headrace.simulator.simulation import Simulation, expected_events, simulate

END = datetime(2026, 11, 1, 12, tzinfo=UTC)
RECIPIENTS = 7_000
WEEKS = 4
EXAMPLES = Path(__file__).parents[1] / "cases" / "selligent-events.ndjson"
Json = dict[str, Any]


class Mail(NamedTuple):
    """What the stream says of one send."""

    delivered: float | None
    opens: list[float]
    machine_opens: list[float]
    clicks: dict[str, float]
    scans: dict[str, float]
    bounces: list[str]
    unsubscribes: list[float]
    complaints: int


@cache
def unbounded() -> tuple[Json, ...]:
    """Four weeks of mails and all that ever follows from them, so that no rate is cut short by an end."""
    starts = END.timestamp() - WEEKS * figures.WEEK
    return tuple(Simulation(RECIPIENTS, WEEKS, 7, starts, END.timestamp() + 100 * 365 * figures.DAY))


@cache
def once() -> tuple[Json, ...]:
    return tuple({event["messageId"]: event for event in unbounded()}.values())


@cache
def mails() -> tuple[Mail, ...]:
    by_send: dict[str, list[Json]] = defaultdict(list)
    for event in once():
        if not is_order(event):
            by_send[event["messageId"].split("-")[2]].append(event)
    return tuple(_mail(events) for events in by_send.values())


def _mail(events: list[Json]) -> Mail:
    mail = Mail(next((at(e) for e in events if e["event"] == "Email Delivered"), None), [], [], {}, {}, [], [], 0)
    for event in events:
        properties, when = event["properties"], at(event)
        match event["event"]:
            case "Email Opened":
                (mail.machine_opens if properties.get("machine_open") else mail.opens).append(when)
            case "Email Link Clicked":
                scanned = event["context"]["userAgent"] in figures.SCANNERS.values()
                (mail.scans if scanned else mail.clicks)[properties["link_id"]] = when
            case "Email Bounced":
                mail.bounces.append(properties["bounce_type"])
            case "Email Unsubscribed":
                mail.unsubscribes.append(when)
            case "Email Marked as Spam":
                mail = mail._replace(complaints=mail.complaints + 1)
    return mail


def delivered() -> list[Mail]:
    return [mail for mail in mails() if mail.delivered is not None and not mail.bounces]


def at(event: Json) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def key(event: Json) -> str:
    return str(event.get("userId") or event["context"]["traits"]["email"])


def within(expected: float, hits: int, of: int, *, clusters: float = 1.0) -> bool:
    """Whether a share lies within four standard errors. `clusters` widens them where trials are not independent."""
    return abs(hits / of - expected) <= 4 * clusters * math.sqrt(expected * (1 - expected) / of)


def test_human_rates_come_back_within_sampling_error() -> None:
    sent, got = len(mails()), delivered()
    assert within(figures.HARD_BOUNCE_RATE, sum("hard" in m.bounces for m in mails()), sent)
    assert within(figures.SOFT_BOUNCE_RATE, sum("soft" in m.bounces for m in mails()), sent)
    assert within(figures.OPEN_RATE, sum(bool(m.opens or m.clicks) for m in got), len(got), clusters=1.5)
    assert within(figures.CLICK_RATE, sum(bool(m.clicks) for m in got), len(got), clusters=1.2)
    assert within(figures.UNSUBSCRIBE_RATE, sum(bool(m.unsubscribes) for m in got), len(got))
    assert sum(m.complaints for m in got) / len(got) < 0.0002


def test_the_check_of_rates_sees_rates_that_are_too_high() -> None:
    got = delivered()
    assert not within(figures.OPEN_RATE * 1.1, sum(bool(m.opens) for m in got), len(got), clusters=1.5)
    assert not within(figures.CLICK_RATE * 1.25, sum(bool(m.clicks) for m in got), len(got), clusters=1.2)


def test_machine_opens_give_the_benchmarks_of_seen_opens() -> None:
    got = delivered()
    machine = sum(bool(m.machine_opens) for m in got)
    seen = sum(bool(m.opens or m.machine_opens) for m in got)
    assert within(figures.APPLE_MAIL * figures.APPLE_PREFETCHED, machine, len(got), clusters=2.0)
    assert within(0.35, seen, len(got), clusters=2.5)
    assert within(0.53, machine, seen, clusters=2.5)


def test_scanners_click_every_link_within_seconds_and_only_at_companies() -> None:
    got = delivered()
    scanned = [m for m in got if m.scans]
    assert within(0.04, len(scanned), len(got), clusters=2.2)
    assert {5} == {len(m.scans) for m in scanned}
    assert max(max(m.scans.values()) - (m.delivered or 0) for m in scanned) < 10
    domains = {
        event["context"]["traits"]["email"].split("@")[1]
        for event in once()
        if event["context"].get("userAgent") in figures.SCANNERS.values()
    }
    assert set(figures.SCANNERS) == domains


def test_a_naive_count_of_clicks_is_far_too_high() -> None:
    got = delivered()
    unique = sum(bool(m.clicks or m.scans) for m in got) / len(got)
    counted = sum(len(m.clicks) + len(m.scans) for m in got) / len(got)
    assert pytest.approx(0.0671, abs=0.004) == unique
    assert pytest.approx(0.2338, abs=0.02) == counted


def test_opens_and_links_per_person_come_back() -> None:
    opens = [len(m.opens) for m in delivered() if m.opens]
    links = [len(m.clicks) for m in delivered() if m.clicks]
    assert pytest.approx(figures.OPENS_PER_OPENER, abs=0.03) == sum(opens) / len(opens)
    assert pytest.approx(figures.LINKS_PER_CLICKER, abs=0.05) == sum(links) / len(links)


@pytest.mark.parametrize("hours", [1, 3.07, 24, 168, 1_427])
def test_first_opens_follow_the_mixture_of_two_lognormals(hours: float) -> None:
    delays = [min(m.opens) - (m.delivered or 0) for m in delivered() if m.opens]
    early = sum(delay <= hours * figures.HOUR for delay in delays)
    assert within(figures.open_share_within(hours * figures.HOUR), early, len(delays), clusters=1.2)


def test_clicks_and_unsubscribes_follow_their_delays() -> None:
    clicks = [min(m.clicks.values()) - min(m.opens) for m in delivered() if m.clicks and m.opens]
    assert pytest.approx(figures.CLICK_AFTER_OPEN.median, rel=0.12) == median(clicks)
    unsubscribes = [m.unsubscribes[0] - (m.delivered or 0) for m in delivered() if m.unsubscribes]
    for share, days in ((0.786, 1), (0.929, 2)):
        assert within(share, sum(delay <= days * figures.DAY for delay in unsubscribes), len(unsubscribes))


def test_the_list_has_its_shares_of_domains_and_user_ids() -> None:
    people = {key(event): event for event in once()}
    domains: Counter[str] = Counter()
    for event in people.values():
        domain = event["context"]["traits"]["email"].split("@")[1]
        domains["corporate" if domain in figures.CORPORATE_DOMAINS else domain] += 1
    for domain, share in figures.DOMAIN_SHARES.items():
        assert within(share, domains[domain], len(people))
    assert within(figures.WITH_USER_ID, sum("userId" in event for event in people.values()), len(people))
    assert all(event["context"]["traits"]["email"].endswith(".example") for event in people.values())


def test_readers_differ_as_loyalty_says() -> None:
    """Were all alike, 36 % of a list would open none of four mails; a Beta(1.2, 4) makes it 46 %."""
    readers = {key(e) for e in once() if e["event"] == "Email Opened" and "machine_open" not in e["properties"]}
    alike = (1 - figures.OPEN_RATE) ** WEEKS
    assert alike + 0.05 < 1 - len(readers) / RECIPIENTS


def test_duplicates_come_later_and_are_the_same_event() -> None:
    again = len(unbounded()) - len(once())
    assert within(figures.DUPLICATE_RATE, again, len(once()))
    first: dict[str, Json] = {}
    for event in unbounded():
        assert first.setdefault(event["messageId"], event) == event


def test_repeated_events_are_counted() -> None:
    simulation = simulate(800, 2, 5, END)
    ids = [event["messageId"] for event in simulation]
    assert len(ids) - len(set(ids)) == simulation.repeated
    assert simulation.repeated > 0


def test_the_number_of_events_is_about_as_expected() -> None:
    assert pytest.approx(expected_events(2_500, WEEKS), rel=0.06) == len(list(simulate(2_500, WEEKS, 1, END)))


def test_orders_follow_clicks_and_the_weekly_baseline() -> None:
    orders = [event for event in once() if is_order(event)]
    clickers = sum(bool(m.clicks) for m in mails())
    expected = clickers * figures.ORDER_RATE + RECIPIENTS * WEEKS * figures.ORDERS_PER_WEEK
    assert pytest.approx(expected, abs=4 * math.sqrt(expected)) == len(orders)
    totals = [order["properties"]["total"] for order in orders]
    assert pytest.approx(figures.ORDER_VALUE.median, rel=0.2) == median(totals)
    assert {"EUR"} == {order["properties"]["currency"] for order in orders}
    for order in orders:
        cents = sum(round(product["price"] * 100) for product in order["properties"]["products"])
        assert round(order["properties"]["total"] * 100) == cents
        assert "sentAt" not in order


def test_the_same_arguments_give_the_same_events() -> None:
    assert list(simulate(300, 2, 5, END)) == list(simulate(300, 2, 5, END))


def test_another_seed_or_end_gives_other_ids() -> None:
    runs = [simulate(300, 2, 5, END), simulate(300, 2, 6, END), simulate(300, 2, 5, datetime(2026, 11, 2, tzinfo=UTC))]
    ids = [{event["messageId"] for event in run} for run in runs]
    assert sum(map(len, ids)) == len(set.union(*ids))


def test_nothing_happens_after_the_end_and_all_is_in_order() -> None:
    seen: set[str] = set()
    times = []
    for event in simulate(1_000, 4, 3, END):
        if event["messageId"] not in seen:
            seen.add(event["messageId"])
            times.append(at(event))
    assert sorted(times) == times
    assert END.timestamp() >= times[-1]
    assert END.timestamp() - 4 * figures.WEEK <= times[0]


def test_nobody_gets_mail_after_unsubscribing_or_a_hard_bounce() -> None:
    barred: dict[str, float] = {}
    for event in once():
        ended = event["event"] == "Email Unsubscribed" or event["properties"].get("bounce_type") == "hard"
        if ended:
            barred[key(event)] = at(event)
        elif event["event"] == "Email Delivered":
            # What left before that may still arrive within a minute or so.
            assert at(event) <= barred.get(key(event), math.inf) + figures.HOUR


def test_events_begin_before_the_whole_time_is_drawn() -> None:
    """Ten thousand weeks would take an hour."""
    ten = list(islice(simulate(1_000, 10_000, 1, END), 10))
    assert [event["messageId"] for event in ten] == list(dict.fromkeys(event["messageId"] for event in ten))


def test_events_have_the_form_of_selligents() -> None:
    examples = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    known: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        known[example["event"]] |= set(example["properties"])
    optional = {"journey_id", "journey_name", "link_url", "machine_open", "unsubscribe_method", "feedback_type"}
    expected = {"email_id", "email_subject", "campaign_id", "campaign_name"}
    for event in islice((e for e in once() if not is_order(e)), 0, None, 7):
        assert expected <= set(event["properties"])
        assert set(event["properties"]) <= known[event["event"]] | optional
        assert {str} == {type(v) for n, v in event["properties"].items() if n != "machine_open"}
        assert ("userId" in event) != ("anonymousId" in event)
        assert "userId" in event or event["anonymousId"] == event["context"]["traits"]["email"]
        assert {"name", "version"} == set(event["context"]["integration"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["timestamp"])
        assert event["timestamp"] < event["sentAt"]
        by_hand = event["event"] in ("Email Opened", "Email Link Clicked", "Email Unsubscribed")
        assert by_hand == ("userAgent" in event["context"])
    assert set(known) == {event["event"] for event in once() if not is_order(event)}


def test_bounces_carry_codes_of_rfc_3463() -> None:
    for event in once():
        if event["event"] == "Email Bounced":
            properties = event["properties"]
            first = {"hard": "5", "soft": "4"}[properties["bounce_type"]]
            assert re.fullmatch(first + r"\.\d{1,3}\.\d{1,3}", properties["bounce_code"])
            assert properties["bounce_code"] in properties["bounce_reason"]
