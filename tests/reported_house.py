"""A few messages, conversions, touches and people in the tables of `email`, for reports: small enough to count by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import pyarrow as pa

import email_tables
from headrace.reports import funnel, holdout
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
