"""Properties of the way from the log to the tables, over any events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from depth import depth
from headrace.event import Event
from loader_house import House, Row
from made_events import made
from row_oracle import faults

# An example opens a warehouse: making a failing one small would take many minutes.
SLOW = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-(2**55), 2**55)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
)
names = st.text(max_size=5) | st.sampled_from(
    ["a", "A", "b c", "id", "user_id", "timestamp", "context", "x.y", "select", "été", "名", "", "\0"]
)
objects = st.recursive(
    st.dictionaries(names, scalars | st.lists(scalars, max_size=3), max_size=5),
    lambda inner: st.dictionaries(names, scalars | inner, max_size=3),
    max_leaves=12,
)
event_names = st.sampled_from(["Order Placed", "Users", "événement", "名前"]) | st.text(min_size=1, max_size=6)
calls = st.lists(
    st.tuples(st.sampled_from(["track", "identify"]), event_names, objects, objects, st.sampled_from(["u1", "u2"])),
    min_size=1,
    max_size=6,
)


def events_of(drawn: Sequence[Any]) -> list[Event]:
    return [
        made(
            f"m{number}",
            type_,
            properties,
            context,
            user_id=user_id,
            at=number,
            event=name if type_ == "track" else None,
        )
        for number, (type_, name, properties, context, user_id) in enumerate(drawn)
    ]


@settings(SLOW, max_examples=depth(20, 40))
@given(calls)
def test_what_went_in_comes_out(tmp_path_factory: pytest.TempPathFactory, drawn: list[Any]) -> None:
    house = House(tmp_path_factory.mktemp("any"))
    house.load(*events_of(drawn))
    found = faults(house, events_of(drawn))
    house.warehouse.close()
    assert [] == found


@pytest.mark.parametrize(
    ("sent", "arrived"),
    [
        ({"n": 14.99}, {"n": 14}),
        ({"n": 14, "lost": 1}, {"n": 14}),
        ({"n": 14}, {"n": 14, "made_up": 1}),
        ({"n": True}, {"n": 1}),
        ({"n": "a"}, {"n": "A"}),
        ({"n": [1]}, {"n": [2]}),
    ],
)
def test_the_oracle_sees_what_was_changed(tmp_path_factory: pytest.TempPathFactory, sent: Any, arrived: Any) -> None:
    """The control."""
    house = House(tmp_path_factory.mktemp("control"))
    house.load(made("m1", properties=arrived))
    found = faults(house, [made("m1", properties=sent)])
    missing = faults(house, [made("m1", properties=arrived), made("m2")])
    house.warehouse.close()
    assert [1, 1] == [len(found), len(missing)]


def contents(house: House) -> dict[str, list[Row]]:
    found = {
        name.table: house.rows(f'shop."{name.table}"', "id")
        for name in house.warehouse.tables()
        if name.schema == "shop"
    }
    found["/discards"] = house.rows('(SELECT "table", row_id, "column", "value" FROM headrace.discards)', "1, 2, 3")
    found["/columns"] = house.rows('(SELECT "table", "column", original FROM headrace.columns)', "1, 2")
    for rows in found.values():
        for row in rows:
            row.pop("loaded_at", None)
    return found


@settings(SLOW, max_examples=depth(12, 25))
@given(calls)
def test_the_boundaries_of_loads_change_nothing(tmp_path_factory: pytest.TempPathFactory, drawn: list[Any]) -> None:
    found = []
    for load_events in (50, 1):
        house = House(tmp_path_factory.mktemp("loads"))
        house.load(*events_of(drawn), load_events=load_events)
        found.append((contents(house), dict(house.warehouse.tables())))
        house.warehouse.close()
    assert found[0][0] == found[1][0]
    assert found[0][1] == found[1][1]


@settings(SLOW, max_examples=depth(12, 25))
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.dictionaries(st.sampled_from("xyz"), st.text("pq", max_size=2) | st.none(), max_size=3),
        ),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
    st.integers(1, 4),
)
def test_users_come_out_the_same_in_any_order_of_arrival(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], random: Random, load_events: int
) -> None:
    events = [made(f"m{n}", "identify", traits, user_id=user, at=n) for n, (user, traits) in enumerate(drawn)]
    expected: dict[str, Row] = {}
    for event in events:
        traits = {name: value for name, value in msgspec.json.decode(event.properties).items() if value is not None}
        expected.setdefault(str(event.user_id), {}).update(traits)
    random.shuffle(events)
    house = House(tmp_path_factory.mktemp("users"))
    house.load(*events, load_events=load_events)
    users = house.rows("shop.users") if events else []
    house.warehouse.close()
    assert expected == {row["id"]: {name: value for name, value in row.items() if name in "xyz"} for row in users}
