"""The truth of a simulation gives back the parameters, and its events are as awkward as was asked."""

from __future__ import annotations

import gc
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest

from headrace.simulator import figures
from headrace.simulator.mails import Mail
from headrace.simulator.orders import is_of_shop
from headrace.simulator.realism import FULL, PLAIN, Realism
from headrace.simulator.simulation import Simulation, simulate
from headrace.simulator.tally import Durations
from headrace.simulator.truth import Truth
from headrace.simulator.truth_file import described

END = datetime(2026, 11, 1, 12, tzinfo=UTC)
WEEKS = 4
HOLDOUT = 0.3
FOREVER = 100 * 365 * figures.DAY
SURE = 2.576
"""Standard errors on either side that hold 99 %. Of twenty figures one lies outside with every fifth seed: tried were 5, where one
does, and 6 to 11, where none does."""
SPREAD = 1.2 * 4.0 / (5.2**2 * 6.2)
"""Variance of Beta(1.2, 4)."""
Json = dict[str, Any]


class Whole:
    """A simulation to its very end, so that no rate is cut short, and what it told."""

    def __init__(self, recipients: int, realism: Realism, seed: int = 8) -> None:
        self.truth = Truth()
        until = END.timestamp() + FOREVER
        starts = END.timestamp() - WEEKS * figures.WEEK
        self.simulation = Simulation(recipients, WEEKS, seed, starts, until, realism, self.truth)
        self.events = list(self.simulation)
        self.told = described(self.simulation, self.truth)
        self.once = list({event["messageId"]: event for event in self.events}.values())


@cache
def full() -> Whole:
    return Whole(
        7_000, Realism(**{name: getattr(FULL, name) for name in FULL.__struct_fields__} | {"holdout": HOLDOUT})
    )


def alike(variance_of_people: float, share: float, mails: float = 4.2) -> float:
    """By how much a standard error grows because mails to one person fare alike: their number, and how people differ."""
    return math.sqrt(1 + (mails - 1) * variance_of_people / (share * (1 - share)))


def within(expected: float, found: float, of: float, wider: float = 1.0) -> bool:
    """Whether a share lies in the 99 % interval about its parameter."""
    return abs(found - expected) <= SURE * wider * math.sqrt(expected * (1 - expected) / of)


def shares() -> dict[str, tuple[float, float, float, float]]:
    """Parameter, what was found, of how many, and how much wider the interval is."""
    told = full().told
    total, people, machines = told["total"], told["list"], told["machines"]
    sent, delivered = total["sent"], total["delivered"]
    opens = figures.OPEN_RATE
    clicks_of_openers = figures.CLICK_RATE / figures.OPEN_RATE
    apple = figures.APPLE_MAIL
    of_people = apple * (1 - apple) * figures.APPLE_PREFETCHED**2
    events = told["events"]
    never = people["people"] - people["with_user_id"]
    openers = told["times"]["to_open_seconds"]["messages"]
    return {
        "human_open_rate": (opens, total["human_open_rate"], delivered, alike(SPREAD, opens)),
        "click_rate": (
            figures.CLICK_RATE,
            total["click_rate"],
            delivered,
            alike(SPREAD * clicks_of_openers**2, figures.CLICK_RATE),
        ),
        "click_to_open_rate": (clicks_of_openers, total["click_to_open_rate"], total["human_opens"], 1.0),
        "hard": (figures.HARD_BOUNCE_RATE, total["hard_bounces"] / sent, sent, 1.0),
        "soft": (figures.SOFT_BOUNCE_RATE, total["soft_bounces"] / sent, sent, 1.0),
        "unsubscribe_rate": (figures.UNSUBSCRIBE_RATE, total["unsubscribe_rate"], delivered, 1.0),
        "machine_opens": (
            apple * figures.APPLE_PREFETCHED,
            machines["opens"]["messages"] / delivered,
            delivered,
            alike(of_people, apple * figures.APPLE_PREFETCHED),
        ),
        "apple_mail": (apple, people["apple_mail"] / people["people"], people["people"], 1.0),
        "behind_scanners": (0.04, people["behind_scanners"] / people["people"], people["people"], 1.0),
        "with_user_id": (figures.WITH_USER_ID, people["with_user_id"] / people["people"], people["people"], 1.0),
        "holdout": (HOLDOUT, people["holdout"] / people["people"], people["people"], 1.0),
        "mixed_case": (FULL.mixed_case, people["mixed_case"] / people["people"], people["people"], 1.0),
        "known_later": (FULL.known_later, told["identities"]["user_id_later"] / never, never, 1.0),
        "unflagged": (
            FULL.unflagged,
            1 - machines["opens"]["by_flag"]["true"] / machines["opens"]["events"],
            machines["opens"]["events"],
            1.0,
        ),
        "duplicates": (PLAIN.duplicates, events["duplicates"] / events["distinct"], events["distinct"], 1.0),
        "late": (FULL.late, events["late"] / events["distinct"], events["distinct"], 1.0),
        "images_blocked": (
            figures.IMAGES_BLOCKED * clicks_of_openers,
            1 - openers / total["human_opens"],
            total["human_opens"],
            1.0,
        ),
        "first_hour": (
            figures.open_share_within(figures.HOUR),
            told["times"]["first_opens_by_hour"][0] / openers,
            openers,
            1.0,
        ),
        "refunds": (
            FULL.refunds,
            told["orders"]["refunded_orders"] / told["orders"]["orders"],
            told["orders"]["orders"],
            1.0,
        ),
        "base_orders": (
            figures.ORDERS_PER_WEEK,
            told["holdout"]["holdout"]["orders_per_person"] / WEEKS,
            told["holdout"]["holdout"]["people"] * WEEKS,
            1.0,
        ),
    }


NAMES = (
    "human_open_rate",
    "click_rate",
    "click_to_open_rate",
    "hard",
    "soft",
    "unsubscribe_rate",
    "machine_opens",
    "apple_mail",
    "behind_scanners",
    "with_user_id",
    "holdout",
    "mixed_case",
    "known_later",
    "unflagged",
    "duplicates",
    "late",
    "images_blocked",
    "first_hour",
    "refunds",
    "base_orders",
)
PRECISE = ("human_open_rate", "click_to_open_rate", "machine_opens", "with_user_id", "duplicates", "late", "first_hour")
"""Found often enough that a fifth more would be seen."""


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_gives_its_parameter_back(name: str) -> None:
    parameter, found, of, wider = shares()[name]
    assert within(parameter, found, of, wider), (parameter, found, of)
    assert set(NAMES) == set(shares())


@pytest.mark.parametrize("name", PRECISE)
def test_a_parameter_that_is_a_fifth_off_would_be_seen(name: str) -> None:
    parameter, found, of, wider = shares()[name]
    assert not within(parameter * 0.8, found, of, wider)


def test_the_medians_are_those_of_the_distributions() -> None:
    times = full().told["times"]
    count = times["to_open_seconds"]["messages"]
    # A sample's median lies at a share of 0.5 of the distribution, give or take.
    assert within(0.5, figures.open_share_within(times["to_open_seconds"]["median"]), count)
    assert within(0.9, figures.open_share_within(times["to_open_seconds"]["p90"]), count)
    assert not within(0.5, figures.open_share_within(times["to_open_seconds"]["median"] * 1.2), count)
    assert times["to_open_seconds"]["median"] < times["to_click_seconds"]["median"] * 1.15


def test_lift_is_what_mails_led_to() -> None:
    told = full().told
    both, weeks_of_people = told["holdout"], WEEKS * full().simulation.people.count
    led = told["total_details"]["led_orders"]
    unasked = told["orders"]["led_by"]["nothing"]
    assert led == told["orders"]["led_by"]["click"] + told["orders"]["led_by"]["open"]
    assert within(figures.ORDERS_PER_WEEK, unasked / weeks_of_people, weeks_of_people)
    assert both["holdout"]["orders"] + both["mailed"]["orders"] == unasked + led
    assert both["lift"] == both["mailed"]["conversion"] / both["holdout"]["conversion"] - 1
    assert both["lift"] > 0


def test_the_same_arguments_give_the_same_events_and_truth() -> None:
    one, two, other = Whole(300, FULL), Whole(300, FULL), Whole(300, FULL, seed=6)
    assert one.events == two.events
    assert one.told == two.told
    assert one.told != other.told
    assert not {event["messageId"] for event in one.once} & {event["messageId"] for event in other.once}


def test_counting_the_truth_changes_no_event() -> None:
    assert list(simulate(300, 2, 5, END, FULL)) == list(simulate(300, 2, 5, END, FULL, Truth()))


@pytest.mark.parametrize("duplicates", [0.0, 0.5, 3.0])
def test_events_come_again_as_often_as_asked(duplicates: float) -> None:
    whole = Whole(250, Realism(duplicates=duplicates))
    again = Counter(event["messageId"] for event in whole.events)
    assert (len(again), len(whole.events)) == (whole.told["events"]["distinct"], whole.told["events"]["sent"])
    if duplicates == 0.5:
        assert {1, 2} == set(again.values())
        assert within(0.5, whole.simulation.repeated / len(again), len(again))
    else:
        assert {1 + int(duplicates)} == set(again.values())


def test_late_events_are_days_late_and_out_of_order() -> None:
    whole = Whole(400, Realism(late=0.05, duplicates=0.0))
    mails = [event for event in whole.events if not is_of_shop(event)]
    late = [event for event in mails if at(event, "sentAt") - at(event) >= figures.DAY]
    prompt = [event for event in mails if at(event, "sentAt") - at(event) < figures.DAY]
    assert all(at(a) <= at(b) for a, b in pairwise(prompt))
    assert all(at(event, "sentAt") - at(event) <= 5 * figures.DAY + figures.MINUTE for event in late)
    shop_late = whole.told["events"]["late"] - len(late)
    assert 0 <= shop_late <= len(whole.events) - len(mails)
    assert within(0.05, len(late) / len(mails), len(mails))
    assert sum(at(a) > at(b) for a, b in pairwise(mails)) > len(late) / 2


def test_what_is_late_at_the_end_is_sent_nevertheless() -> None:
    """The truth is of everything that happened, so all of it must be in the stream."""
    prompt, truth = Truth(), Truth()
    in_time = list(simulate(400, 1, 3, END, Realism(duplicates=0.0), prompt))
    all_late = list(simulate(400, 1, 3, END, Realism(duplicates=0.0, late=1.0), truth))
    assert sum(truth.events_by_kind) == len(all_late)
    assert sum(prompt.events_by_kind) == len(in_time)
    assert END.timestamp() >= max(at(event) for event in all_late)


def test_nothing_awkward_is_there_unless_asked_for() -> None:
    whole = Whole(400, PLAIN)
    told = whole.told
    assert {"track"} == {event["type"] for event in whole.events}
    assert (0, 0, 0) == (told["events"]["late"], told["events"]["test_sends"], told["orders"]["refunded_orders"])
    assert (0, 0) == (told["list"]["holdout"], told["identities"]["user_id_later"])
    assert {True} == {e["properties"]["machine_open"] for e in whole.once if "machine_open" in e["properties"]}
    assert all(address(event) == address(event).lower() for event in whole.once)


def test_people_become_known_on_the_website() -> None:
    whole = full()
    known: dict[str, str] = {}
    visitors: dict[str, str] = {}
    aliases: dict[str, Any] = {}
    before = after = 0
    for event in whole.once:
        user_id, email = event.get("userId"), address(event).lower()
        if event["type"] == "identify" and "anonymousId" in event and user_id:
            known[email] = user_id
            visitors[event["anonymousId"]] = user_id
        elif event["type"] == "alias":
            aliases[event["previousId"]] = user_id
    assert len(known) == whole.told["identities"]["user_id_later"]
    assert 0 < len(aliases) < len(visitors)
    assert aliases.items() <= visitors.items()
    for event in whole.once:
        if not is_of_shop(event) and address(event).lower() in known:
            before += "anonymousId" in event
            after += event.get("userId") == known[address(event).lower()]
    assert min(before, after) > 100
    pages = [event for event in whole.once if event["type"] == "page"]
    assert {event["anonymousId"] for event in pages} == set(visitors)
    assert all("userId" not in event and "traits" not in event["context"] for event in pages)


def test_the_holdout_gets_no_mail_and_everybody_is_told_of() -> None:
    held: dict[str, bool] = {}
    for event in full().once:
        if event["type"] == "identify":
            held[address(event).lower()] = event["traits"]["holdout"]
            assert "/" in event["traits"]["timezone"]
    mailed = {address(event).lower() for event in full().once if not is_of_shop(event)}
    out = {email for email, is_out in held.items() if is_out}
    assert (full().told["list"]["people"], full().told["list"]["holdout"]) == (len(held), len(out))
    assert not out & mailed


def test_test_sends_are_marked_and_counted_apart() -> None:
    whole = full()
    marked = [event for event in whole.once if event.get("properties", {}).get("test_send")]
    assert {"agency.example"} == {address(event).lower().split("@")[1] for event in marked}
    assert whole.told["total_details"]["test_messages"] == FULL.test_sends * WEEKS
    delivered = Counter(
        event["properties"]["campaign_id"]
        for event in whole.once
        if event.get("event") in ("Email Delivered", "Email Bounced") and event not in marked
    )
    assert sum(delivered.values()) >= whole.told["total"]["sent"]
    assert len(marked) == whole.told["events"]["test_sends"]


def test_machine_opens_have_a_flag_or_none_as_on_real_platforms() -> None:
    machine: Counter[str] = Counter()
    people: Counter[str] = Counter()
    for event in full().once:
        if event.get("event") == "Email Opened":
            value = str(event["properties"].get("machine_open", "missing"))
            (machine if event["context"]["userAgent"] == "Mozilla/5.0" else people)[value] += 1
    assert {"True", "None", "missing"} == set(machine)
    assert {"False", "None", "missing"} == set(people)
    by_flag = full().told["machines"]["opens"]["by_flag"]
    assert (machine["True"], machine["None"], machine["missing"]) == tuple(by_flag.values())


def test_addresses_of_some_people_are_spelled_in_several_ways() -> None:
    spellings: dict[str, set[str]] = defaultdict(set)
    for event in full().once:
        spellings[address(event).lower()].add(address(event))
    several = sum(len(ways) > 1 for ways in spellings.values())
    assert 0 < several <= full().told["list"]["mixed_case"]


def test_mails_that_are_over_are_forgotten() -> None:
    gc.collect()
    before = alive()
    most = 0
    simulation = simulate(600, 12, 1, END, PLAIN, truth := Truth())
    for number, _ in enumerate(simulation):
        if number % 4_000 == 0:
            most = max(most, alive() - before)
    assert sum(tally.sent for tally in truth.tallies.values()) > 6_000
    assert 0 < most < 2_000


def alive() -> int:
    return sum(type(thing) is Mail for thing in gc.get_objects())


def test_quantiles_are_exact_and_then_nearly_so() -> None:
    chance = random.Random(1)
    values = [figures.PROMPT_OPEN.draw(chance) for _ in range(3_000)]
    exact, binned = Durations(), Durations(exact=10)
    for value in values:
        exact.add(value)
        binned.add(value)
    deciles = quantiles(values, n=10, method="inclusive")
    assert pytest.approx(deciles[4], rel=1e-9) == exact.quantile(0.5)
    assert pytest.approx(deciles[8], rel=1e-9) == exact.quantile(0.9)
    assert pytest.approx(deciles[4], rel=0.005) == binned.quantile(0.5)
    assert binned.quantile(0.5) != exact.quantile(0.5)
    assert Durations().quantile(0.5) is None


def test_the_page_describes_every_key_of_the_truth() -> None:
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    told = json.loads(json.dumps(full().told))
    del told["events"]["by_name"], told["details"], told["total_details"]["human_clicks_by_link"]
    del told["total_details"]["scanner_clicks_by_link"]
    assert [] == sorted(name for name in set(keys(told)) if f"`{name}`" not in page)
    assert "`nonsense`" not in page


def keys(told: Any) -> Iterator[str]:
    for name, value in told.items() if isinstance(told, dict) else ():
        yield name
        yield from keys(value)
    for value in told if isinstance(told, list) else ():
        yield from keys(value)


def at(event: Json, name: str = "timestamp") -> float:
    return datetime.fromisoformat(event[name]).timestamp()


def address(event: Json) -> str:
    return str((event.get("traits") or event["context"].get("traits") or {}).get("email", ""))
