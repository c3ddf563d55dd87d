"""The truth of a simulation equals a slow recount, by the definitions, of everything that was decided."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from functools import cache
from statistics import median
from typing import Any, NamedTuple

import pytest

from headrace.simulator import campaigns, figures
from headrace.simulator.happenings import FLAGGED, Happening, Kind
from headrace.simulator.mails import Mail
from headrace.simulator.realism import Realism
from headrace.simulator.simulation import Simulation, simulate
from headrace.simulator.truth import Truth
from headrace.simulator.truth_file import described

END = datetime(2026, 11, 1, 12, tzinfo=UTC)
AWKWARD = Realism(
    duplicates=0.1,
    late=0.1,
    holdout=0.2,
    test_sends=3,
    known_later=0.5,
    mixed_case=0.5,
    unflagged=0.4,
    orders_of_readers=0.3,
    refunds=0.4,
    odd_scanners=True,
)
OPENS = (Kind.OPENED, Kind.MACHINE_OPENED)
CLICKS = (Kind.CLICKED, Kind.SCANNED)
PERSON = (Kind.OPENED, Kind.CLICKED)
BOUNCES = (Kind.BOUNCED_HARD, Kind.BOUNCED_SOFT)
Json = dict[str, Any]


class Decided(NamedTuple):
    mail: int
    recipient: int
    campaign: str | None
    test: bool
    what: Happening


class Traced(Truth):
    """Writes down everything before it is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[Decided] = []

    def saw(self, mail: Mail, happening: Happening) -> None:
        campaign = mail.campaign
        name, test = (None, False) if campaign is None else (campaign.campaign_id, campaign.test)
        self.trace.append(Decided(mail.number, mail.recipient, name, test, happening))
        super().saw(mail, happening)


@pytest.fixture(autouse=True, scope="module")
def eventful() -> Any:
    """Rare things happen often enough to be compared in a small simulation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "HARD_BOUNCE_RATE", 0.03)
        patch.setattr(figures, "SOFT_BOUNCE_RATE", 0.15)
        patch.setattr(figures, "SOFT_BOUNCES_AFTER_DELIVERY", 0.4)
        patch.setattr(figures, "ORDER_RATE", 0.5)
        patch.setattr(figures, "ORDERS_PER_WEEK", 0.15)
        patch.setattr(figures, "IMAGES_BLOCKED", 0.3)
        patch.setattr("headrace.simulator.mails._CLICK_OF_READERS", 0.4)
        patch.setattr("headrace.simulator.mails._SPAM_OF_READERS", 0.02)
        patch.setattr(
            "headrace.simulator.campaigns.JOURNEYS",
            [journey._replace(weekly_share=0.5) for journey in campaigns.JOURNEYS],
        )
        yield
    simulated.cache_clear()


@cache
def simulated() -> tuple[Simulation, Traced, tuple[Json, ...]]:
    truth = Traced()
    simulation = simulate(350, 4, 3, END, AWKWARD, truth)
    return simulation, truth, tuple(simulation)


def document() -> Json:
    simulation, truth, _ = simulated()
    return described(simulation, truth)


def messages(trace: list[Decided]) -> dict[int, list[Decided]]:
    found: dict[int, list[Decided]] = defaultdict(list)
    for entry in trace:
        if entry.campaign is not None and not entry.test and entry.what.kind < Kind.ORDERED:
            found[entry.mail].append(entry)
    return found


def times(entries: list[Decided], *kinds: Kind) -> list[float]:
    return sorted(entry.what.at for entry in entries if entry.what.kind in kinds)


def was_delivered(entries: list[Decided]) -> bool:
    """Delivered and not bounced later, or bounced yet opened or clicked afterwards."""
    delivered, bounced, acted = (
        times(entries, Kind.DELIVERED),
        times(entries, *BOUNCES),
        times(entries, *OPENS, *CLICKS),
    )
    unbroken = bool(delivered) and not any(at > delivered[-1] for at in bounced)
    return unbroken or bool(bounced and acted and acted[-1] > bounced[-1])


def touches_of(trace: list[Decided]) -> dict[int, list[Decided]]:
    """What people themselves opened and clicked, by recipient."""
    found: dict[int, list[Decided]] = defaultdict(list)
    for entry in trace:
        if entry.what.kind in PERSON and not entry.test:
            found[entry.recipient].append(entry)
    return found


def credited(own: dict[int, list[Decided]], order: Decided) -> Decided | None:
    """The touch that the order belongs to: the last click within 5 days, else the last open within a day."""
    for kind, days in ((Kind.CLICKED, 5), (Kind.OPENED, 1)):
        touches = [
            entry
            for entry in own[order.recipient]
            if entry.what.kind is kind and 0 <= order.what.at - entry.what.at <= days * 86_400
        ]
        if touches:
            return max(touches, key=lambda entry: entry.what.at)
    return None


def recounted(trace: list[Decided]) -> dict[str, Json]:
    by_campaign: dict[str, Json] = defaultdict(lambda: defaultdict(int))
    for entries in messages(trace).values():
        row = by_campaign[str(entries[0].campaign)]
        row["sent"] += bool(times(entries, Kind.DELIVERED, *BOUNCES))
        row["delivered"] += was_delivered(entries)
        for name, kinds in {
            "opens": OPENS,
            "human_opens": PERSON,
            "clicks": CLICKS,
            "human_clicks": (Kind.CLICKED,),
            "bounces": BOUNCES,
            "hard_bounces": (Kind.BOUNCED_HARD,),
            "soft_bounces": (Kind.BOUNCED_SOFT,),
            "unsubscribes": (Kind.UNSUBSCRIBED,),
            "spam": (Kind.COMPLAINED,),
        }.items():
            row[name] += bool(times(entries, *kinds))
    own = touches_of(trace)
    for entry in trace:
        if entry.what.kind is Kind.ORDERED:
            touch = credited(own, entry)
            if touch is not None:
                row = by_campaign[str(touch.campaign)]
                row["orders"] += 1
                row["revenue"] += entry.what.number
    for row in by_campaign.values():
        row["revenue"] /= 100
    return by_campaign


def stated(rows: list[Json]) -> dict[str, Json]:
    return {row["campaign_id"]: row for row in rows}


def differences(trace: list[Decided], rows: list[Json]) -> list[str]:
    expected, found = recounted(trace), stated(rows)
    names = {name for row in expected.values() for name in row}
    return [
        f"{campaign} {name}: {expected[campaign][name]} {found.get(campaign, {}).get(name)}"
        for campaign in expected.keys() | found.keys()
        for name in names
        if expected[campaign][name] != pytest.approx(found.get(campaign, {}).get(name))
    ]


def test_every_measure_of_every_campaign_equals_the_recount() -> None:
    _, truth, _ = simulated()
    assert [] == differences(truth.trace, document()["campaigns"])
    total = document()["total"]
    assert all(total[name] > 0 for name in ("hard_bounces", "soft_bounces", "unsubscribes", "spam", "orders"))
    assert total["sent"] - total["bounces"] < total["delivered"]


@pytest.mark.parametrize(
    "kind", [Kind.DELIVERED, Kind.OPENED, Kind.CLICKED, Kind.SCANNED, Kind.BOUNCED_SOFT, Kind.COMPLAINED, Kind.ORDERED]
)
def test_the_recount_sees_one_thing_too_much(kind: Kind) -> None:
    """The last of its kind on which a count can hang: the only one of its message, or an order that a touch led to."""
    _, truth, _ = simulated()
    by_mail, own = messages(truth.trace), touches_of(truth.trace)
    for entry in reversed(truth.trace):
        if entry.what.kind is not kind or entry.test:
            continue
        if kind is Kind.ORDERED:
            counts = credited(own, entry) is not None
        else:
            around = by_mail[entry.mail]
            counts = 1 == len(times(around, *(CLICKS if kind in CLICKS[1:] else (kind,)))) or kind is Kind.SCANNED
        if counts:
            gone = {id(other) for other in truth.trace if other.mail == entry.mail and other.what.kind is kind}
            without = [other for other in truth.trace if id(other) not in gone]
            assert differences(without, document()["campaigns"])
            return
    raise AssertionError("nothing of that kind happened")


def test_the_recount_sees_a_wrong_window_of_attribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "CLICK_WINDOW", 3 * figures.DAY)
    truth = Traced()
    simulation = simulate(350, 4, 3, END, AWKWARD, truth)
    list(simulation)
    assert differences(truth.trace, described(simulation, truth)["campaigns"])


def test_the_funnel_and_the_times_equal_the_recount() -> None:
    _, truth, _ = simulated()
    found, told = messages(truth.trace), document()
    opened: list[float] = []
    clicked: list[float] = []
    first: list[float] = []
    for entries in found.values():
        for kinds, delays in (((Kind.OPENED,), opened), ((Kind.CLICKED,), clicked), (PERSON, first)):
            if times(entries, *kinds):
                delays.append(times(entries, *kinds)[0] - times(entries, Kind.DELIVERED)[0])
    for name, delays in (("open", opened), ("click", clicked), ("first_human_event", first)):
        assert len(delays) == told["times"][f"to_{name}_seconds"]["messages"]
        assert pytest.approx(median(delays)) == told["times"][f"to_{name}_seconds"]["median"]
    assert sum(delay < 7 * 86_400 for delay in opened) == sum(told["times"]["first_opens_by_hour"])
    own = touches_of(truth.trace)
    ordering = {
        touch.mail
        for order in truth.trace
        if order.what.kind is Kind.ORDERED
        and (touch := credited(own, order)) is not None
        and touch.what.kind is Kind.CLICKED
    }
    totals = told["total"]
    assert {
        "delivered": totals["delivered"],
        "human_open": totals["human_opens"],
        "human_click": totals["human_clicks"],
        "order": len(ordering),
    } == told["funnel"]


def test_what_machines_did_equals_the_recount() -> None:
    simulation, truth, _ = simulated()
    machines = document()["machines"]
    found = messages(truth.trace).values()
    prefetched = [entries for entries in found if times(entries, Kind.MACHINE_OPENED)]
    alone = [entries for entries in prefetched if not times(entries, *PERSON)]
    unflagged = [
        entries
        for entries in alone
        if any(e.what.kind is Kind.MACHINE_OPENED and e.what.number != FLAGGED for e in entries)
    ]
    assert (len(prefetched), len(alone)) == (
        machines["opens"]["messages"],
        machines["opens"]["messages_without_a_person"],
    )
    assert 0 < len(unflagged) == machines["opens"]["taken_for_human"]
    scans = [entry for entries in found for entry in entries if entry.what.kind is Kind.SCANNED]
    domains = [simulation.people.domain(entry.recipient) for entry in scans]
    rules = machines["clicks"]["events_by_rule"]
    assert len(scans) == machines["clicks"]["events"] == rules["every_link"]
    assert len(scans) - domains.count("company-c.example") == rules["under_10_seconds"]
    assert len(scans) - domains.count("company-d.example") == rules["user_agent"]
    assert len({entry.mail for entry in scans}) == machines["clicks"]["messages"]


def test_repeated_sends_and_crossed_events_equal_the_recount() -> None:
    _, truth, _ = simulated()
    sends: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
    for mail, entries in messages(truth.trace).items():
        reached = times(entries, Kind.DELIVERED, *BOUNCES)
        if reached and str(entries[0].campaign).startswith("90"):
            sends[str(entries[0].campaign), entries[0].recipient].append((reached[0], mail))
    repeated = sum(len(of_one) - 1 for of_one in sends.values())
    found, crossed = messages(truth.trace), 0
    for of_one in sends.values():
        for at, mail in of_one:
            later = [other for other, _ in of_one if other > at]
            acts = times(found[mail], *OPENS, *CLICKS)
            crossed += sum(any(at < other < act for other in later) for act in acts)
    details = document()["total_details"]
    assert 0 < repeated == details["repeated_sends"]
    assert 0 < crossed == details["crossed_events"]


def test_orders_refunds_and_both_groups_equal_the_recount() -> None:
    simulation, truth, _ = simulated()
    told = document()
    orders = [entry for entry in truth.trace if entry.what.kind is Kind.ORDERED]
    refunds = [entry for entry in truth.trace if entry.what.kind is Kind.REFUNDED]
    assert len(orders) == told["orders"]["orders"] == sum(told["orders"]["led_by"].values())
    assert len(orders) == sum(told["orders"]["attributed_to"].values())
    led = sum(entry.campaign is not None for entry in orders)
    assert 0 < led == told["total_details"]["led_orders"]
    assert 0 < len(refunds) == told["orders"]["refunded_orders"]
    by_mail, own = {entry.mail: entry for entry in orders}, touches_of(truth.trace)
    refunded = sum(credited(own, by_mail[entry.mail]) is not None for entry in refunds)
    assert 0 < refunded == told["total_details"]["refunded_orders"]
    for name, held in (("holdout", True), ("mailed", False)):
        of_group = [e for e in orders if bool(simulation.people.holdout[e.recipient]) is held]
        group = told["holdout"][name]
        assert (len(of_group), len({e.recipient for e in of_group})) == (group["orders"], group["buyers"])
        assert pytest.approx(sum(e.what.number for e in of_group) / 100) == group["revenue"]


def test_events_are_counted_as_they_go_out() -> None:
    _, truth, events = simulated()
    told = document()["events"]
    once = {event["messageId"]: event for event in events}
    names: dict[str, int] = defaultdict(int)
    for event in once.values():
        names[str(event.get("event", event["type"]))] += 1
    tests = sum(event.get("properties", {}).get("test_send", False) for event in once.values())
    assert (len(events), len(once), len(events) - len(once)) == (told["sent"], told["distinct"], told["duplicates"])
    assert names == told["by_name"]
    assert 0 < tests == told["test_sends"]
    assert len(truth.trace) == len(once)
    assert len(messages(truth.trace)) == told["messages"] == document()["total"]["sent"]
