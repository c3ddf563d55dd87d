"""The truth of a simulation as the JSON document that docs/simulator.md describes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.simulator import figures
from headrace.simulator.events import NAMES
from headrace.simulator.happenings import FLAG_MISSING, FLAG_NULL, FLAGGED, Kind
from headrace.simulator.moments import iso
from headrace.simulator.orders import ORDER_COMPLETED, ORDER_REFUNDED
from headrace.simulator.simulation import Simulation
from headrace.simulator.tally import Durations, Tally
from headrace.simulator.truth import Group, Truth

FORMAT: Final = "headrace-simulation-truth"
VERSION: Final = 1
_NAMES: Final = {
    **{kind: name for kind, (name, _) in NAMES.items()},
    Kind.ORDERED: ORDER_COMPLETED,
    Kind.REFUNDED: ORDER_REFUNDED,
    Kind.VIEWED: "page",
    Kind.IDENTIFIED: "identify",
    Kind.ALIASED: "alias",
}
_COUNTS: Final = ("sent", "delivered", "opens", "human_opens", "clicks", "human_clicks")
_RATES: Final = {
    "delivery_rate": ("delivered", "sent"),
    "bounce_rate": ("bounces", "sent"),
    "open_rate": ("opens", "delivered"),
    "human_open_rate": ("human_opens", "delivered"),
    "click_rate": ("human_clicks", "delivered"),
    "click_to_open_rate": ("human_clicks", "human_opens"),
    "unsubscribe_rate": ("unsubscribes", "delivered"),
    "spam_rate": ("spam", "delivered"),
    "conversion_rate": ("orders", "delivered"),
    "revenue_per_recipient": ("revenue", "delivered"),
}
"""Numerator and denominator."""


def described(simulation: Simulation, truth: Truth) -> dict[str, Any]:
    """When the last event is drawn."""
    total = Tally()
    for tally in truth.tallies.values():
        total.plus(tally)
    return {
        "format": FORMAT,
        "version": VERSION,
        "arguments": _arguments(simulation),
        "parameters": _parameters(),
        "list": truth.list,
        "identities": _identities(truth),
        "campaigns": [_row(truth, campaign_id) for campaign_id in truth.tallies],
        "total": _measures(total),
        "details": {campaign_id: _details(tally) for campaign_id, tally in truth.tallies.items()},
        "total_details": _details(total),
        "machines": _machines(truth, total),
        "funnel": {
            "delivered": total.delivered,
            "human_open": total.human_opens,
            "human_click": total.human_clicks,
            "order": total.ordering_messages,
        },
        "times": _times(truth),
        "orders": _orders(truth),
        "holdout": _lift(truth),
        "events": _events(simulation, truth),
    }


def _arguments(simulation: Simulation) -> dict[str, Any]:
    return {
        "recipients": simulation.people.count,
        "campaigns": simulation.weeks,
        "seed": simulation.seed,
        "starts": iso(simulation.starts),
        "until": iso(simulation.until),
        **msgspec.to_builtins(simulation.realism),
    }


def _parameters() -> dict[str, Any]:
    durations = {
        "open_prompt": figures.PROMPT_OPEN,
        "open_late": figures.LATE_OPEN,
        "click_after_open": figures.CLICK_AFTER_OPEN,
        "order_after_click": figures.ORDER_AFTER_CLICK,
        "order_after_open": figures.ORDER_AFTER_OPEN,
        "unsubscribe": figures.UNSUBSCRIBE,
    }
    return {
        "human_open_rate": figures.OPEN_RATE,
        "human_click_rate": figures.CLICK_RATE,
        "unsubscribe_rate": figures.UNSUBSCRIBE_RATE,
        "spam_rate": figures.SPAM_RATE,
        "hard_bounce_rate": figures.HARD_BOUNCE_RATE,
        "soft_bounce_rate": figures.SOFT_BOUNCE_RATE,
        "apple_mail": figures.APPLE_MAIL,
        "apple_prefetched": figures.APPLE_PREFETCHED,
        "behind_scanners": figures.DOMAIN_SHARES["corporate"] * len(figures.SCANNERS) / len(figures.CORPORATE_DOMAINS),
        "with_user_id": figures.WITH_USER_ID,
        "opens_per_opener": figures.OPENS_PER_OPENER,
        "links_per_clicker": figures.LINKS_PER_CLICKER,
        "orders_per_clicker": figures.ORDER_RATE,
        "orders_per_person_and_week": figures.ORDERS_PER_WEEK,
        "order_value": figures.ORDER_VALUE._asdict(),
        "open_prompt_share": figures.PROMPT_SHARE,
        "seconds": {name: duration._asdict() for name, duration in durations.items()},
    }


def _identities(truth: Truth) -> dict[str, int]:
    at_once = truth.list["with_user_id"]
    return {
        "user_id_at_once": at_once,
        "user_id_later": truth.gained_user_id,
        "never": truth.list["people"] - at_once - truth.gained_user_id,
    }


def _row(truth: Truth, campaign_id: str) -> dict[str, Any]:
    name = truth.campaigns[campaign_id].campaign_name
    return {"campaign_id": campaign_id, "campaign_name": name, **_measures(truth.tallies[campaign_id])}


def _measures(tally: Tally) -> dict[str, Any]:
    """Those of email.campaigns, by its names and in its order."""
    counts: dict[str, Any] = {name: getattr(tally, name) for name in _COUNTS}
    counts["bounces"] = tally.hard_bounces + tally.soft_bounces
    for name in ("hard_bounces", "soft_bounces", "unsubscribes", "spam", "orders"):
        counts[name] = getattr(tally, name)
    counts["revenue"] = tally.cents / 100
    return counts | {name: _rate(counts[above], counts[below]) for name, (above, below) in _RATES.items()}


def _rate(above: float, below: float) -> float | None:
    return above / below if below else None


def _details(tally: Tally) -> dict[str, Any]:
    return {
        "repeated_sends": tally.repeated_sends,
        "crossed_events": tally.crossed_events,
        "taken_for_human": tally.taken_for_human,
        "led_orders": tally.led_orders,
        "led_revenue": tally.led_cents / 100,
        "refunded_orders": tally.refunded_orders,
        "refunded_revenue": tally.refunded_cents / 100,
        "test_messages": tally.test_messages,
        "human_clicks_by_link": _by_link(tally.human_clicks_by_link),
        "scanner_clicks_by_link": _by_link(tally.scanned_by_link),
    }


def _by_link(counts: list[int]) -> dict[str, int]:
    return {str(number): count for number, count in enumerate(counts, 1)}


def _machines(truth: Truth, total: Tally) -> dict[str, Any]:
    opens, clicks, messages = truth.machine_opens, truth.scanner_clicks, truth.scanned_messages

    def by_rule(counts: dict[str, int]) -> dict[str, int]:
        """Every scanner clicks every link, 0.3 s apart."""
        return {
            "under_10_seconds": counts["under_10_seconds"],
            "three_links_in_2_seconds": counts["all"],
            "every_link": counts["all"],
            "user_agent": counts["user_agent"],
            "flag": 0,
        }

    return {
        "opens": {
            "events": sum(opens),
            "messages": truth.machine_opened,
            "messages_without_a_person": truth.machine_only,
            "by_flag": {"true": opens[FLAGGED], "null": opens[FLAG_NULL], "missing": opens[FLAG_MISSING]},
            "taken_for_human": total.taken_for_human,
        },
        "clicks": {
            "events": clicks["all"],
            "messages": messages["all"],
            "events_by_rule": by_rule(clicks),
            "messages_by_rule": by_rule(messages),
        },
        "human_clicks_under_10_seconds": truth.hasty_people,
    }


def _times(truth: Truth) -> dict[str, Any]:
    def of(durations: Durations) -> dict[str, float | int | None]:
        return {"messages": durations.count, "median": durations.quantile(0.5), "p90": durations.quantile(0.9)}

    return {
        "to_open_seconds": of(truth.to_open),
        "to_click_seconds": of(truth.to_click),
        "to_first_human_event_seconds": of(truth.to_first),
        "first_opens_by_hour": truth.first_opens_by_hour,
    }


def _orders(truth: Truth) -> dict[str, Any]:
    return {
        "orders": truth.events_by_kind[Kind.ORDERED],
        "revenue": truth.cents / 100,
        "led_by": truth.led_by,
        "attributed_to": truth.attributed_to,
        "refunded_orders": truth.refunds,
        "refunded_revenue": truth.refunded_cents / 100,
    }


def _lift(truth: Truth) -> dict[str, Any]:
    """`lift` is the mailed people's conversion by the holdout's, less 1."""
    out = truth.list["holdout"]
    held, mailed = _group(truth.holdout, out), _group(truth.mailed, truth.list["people"] - out)
    ratio = _rate(mailed["conversion"] or 0.0, held["conversion"] or 0.0)
    return {"holdout": held, "mailed": mailed, "lift": None if ratio is None else ratio - 1}


def _group(group: Group, people: int) -> dict[str, Any]:
    return {
        "people": people,
        "buyers": group.buyers,
        "orders": group.orders,
        "revenue": group.cents / 100,
        "conversion": _rate(group.buyers, people),
        "orders_per_person": _rate(group.orders, people),
    }


def _events(simulation: Simulation, truth: Truth) -> dict[str, Any]:
    by_name: dict[str, int] = {}
    for kind in Kind:
        if truth.events_by_kind[kind]:
            by_name[_NAMES[kind]] = by_name.get(_NAMES[kind], 0) + truth.events_by_kind[kind]
    distinct = sum(truth.events_by_kind)
    return {
        "sent": distinct + simulation.repeated,
        "distinct": distinct,
        "duplicates": simulation.repeated,
        "late": simulation.late,
        "test_sends": truth.test_events,
        "messages": sum(tally.sent for tally in truth.tallies.values()),
        "by_name": by_name,
    }
