"""Conversions, controls and attribution on both engines: expected values are counted by hand."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import pytest

from attribution_scene import Control, Fact, Known, Mail, Order, Row, Scene, Sent, Touch, at
from depth import depth
from headrace.reports.model import attribution, conversions
from headrace.reports.model.settings import ORDERS, Goal, ModelSettings
from headrace.warehouses.base import Warehouse

Stage = Callable[[], Scene]

SETTINGS: Final = ModelSettings(goals=(ORDERS, Goal(name="signed_up", event="Signed Up", click_days=30, open_days=0)))
A, B, C = Mail("a", "u"), Mail("b", "u"), Mail("c", "u")
MICROSECOND: Final = 1 / 3_600_000_000
SEED: Final = 6
"""With which every fault of the controls shows at once."""
TABLES: Final = ("conversions", "controls", "attribution")


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    engine = importlib.import_module(f"engines.{request.param}")
    opened: Warehouse = engine.fresh(tmp_path_factory.mktemp("warehouse"))()
    yield opened
    opened.close()


@pytest.fixture
def stage(warehouse: Warehouse) -> Stage:
    """Gives scenes, one at a time."""
    return lambda: Scene(warehouse, SETTINGS)  # type: ignore[arg-type]


@pytest.fixture
def scene(stage: Stage) -> Scene:
    return stage()


def given(scene: Scene, column: str = "email_id") -> list[tuple[Any, ...]]:
    """Model, the mail's column, touch and touched_at of all rows."""
    found = scene.rows("attribution")
    return sorted((row["model"], row[column], row["touch"], row["touched_at"]) for row in found)


def all_models(mail: str, touch: str, hours: float) -> list[tuple[Any, ...]]:
    return [(model, mail, touch, at(hours)) for model in ("any", "first", "last")]


def opened(mail: Mail, hours: float, **flags: bool) -> Touch:
    return Touch(mail, "opened", hours, **flags)


def clicked(mail: Mail, hours: float, **flags: bool) -> Touch:
    return Touch(mail, "clicked", hours, **flags)


def test_a_conversion_is_given_with_all_that_is_promised(scene: Scene) -> None:
    mail = Mail("a", "u", "spring", "news", journey="J")
    scene.increment([Sent(mail, 0), clicked(mail, 1), Order("o1", "u", 2, "77", received=2.5, value=25)])
    conversion = {
        "goal": "order_completed",
        "id": "o1",
        "source": "shop",
        "order_id": "77",
        "happened_at": at(2),
        "received_at": at(2.5),
        "recipient": "u",
        "recipient_key": "u",
        "value": Decimal(25),
    }
    assert [conversion] == scene.rows("conversions")
    attributed = {
        "goal": "order_completed",
        "source": "news",
        "campaign_id": "spring",
        "email_id": "a",
        "journey_id": "J",
        "recipient_key": "u",
        "domain": "example.com",
        "sent_at": at(0),
        "touch": "click",
        "touched_at": at(1),
        "happened_at": at(2),
        "value": Decimal(25),
    }
    assert [{**attributed, "model": model} for model in ("any", "first", "last")] == sorted(
        scene.rows("attribution"), key=lambda row: str(row["model"])
    )


def test_what_counts_as_a_touch(scene: Scene) -> None:
    cases: list[tuple[str, float, float, bool, dict[str, bool]]] = [
        # kind, hours of the touch and of the order, whether it counts
        ("clicked", 0, 120, True, {}),
        ("clicked", 0, 120 + MICROSECOND, False, {}),
        ("clicked", 0, 0, True, {}),
        ("clicked", MICROSECOND, 0, False, {}),
        ("opened", 0, 24, True, {}),
        ("opened", 0, 24 + MICROSECOND, False, {}),
        ("opened", 0, 0, True, {}),
        ("opened", MICROSECOND, 0, False, {}),
        ("clicked", 0, 1, False, {"is_machine": True}),
        ("opened", 0, 1, False, {"is_machine": True}),
        ("clicked", 0, 1, False, {"is_test": True}),
        ("unsubscribed", 0, 1, False, {}),
    ]
    people = [f"u{number}" for number in range(len(cases))]
    facts: list[Fact] = [Order("o", "somebody else", 1)]
    for person, (kind, touched, ordered, _, flags) in zip(people, cases, strict=True):
        facts += [Touch(Mail(person, person), kind, touched, **flags), Order(f"o {person}", person, ordered)]
    scene.increment(facts)
    expected = [
        ("last", person, "click" if kind == "clicked" else "open", at(touched))
        for person, (kind, touched, _, counts, _) in zip(people, cases, strict=True)
        if counts
    ]
    assert sorted(expected) == [row for row in given(scene) if row[0] == "last"]


def test_each_goal_has_its_own_windows(scene: Scene) -> None:
    # 29 days: within the 30 days of signed_up, beyond the 5 of an order. An open never leads to signed_up unless at its moment.
    scene.increment([clicked(A, 0), Order("s", "u", 696, goal="signed_up"), Order("o", "u", 696)])
    scene.increment([opened(B, 800), Order("s2", "u", 801, goal="signed_up"), Order("s3", "u", 800, goal="signed_up")])
    assert [("any", "a", "click", at(0)), ("any", "b", "open", at(800))] == [
        row for row in given(scene) if row[0] == "any"
    ]
    assert {"signed_up"} == {row["goal"] for row in scene.rows("attribution")}


def test_a_click_beats_a_later_open_and_each_model_takes_its_own(scene: Scene) -> None:
    touches: list[Fact] = [
        opened(A, 1),
        clicked(A, 2),
        clicked(B, 3),
        opened(A, 4),
        opened(C, 5),
        opened(B, 6),
        clicked(A, 2.5),
    ]
    scene.increment([*touches, Order("o", "u", 7)])
    expected = [
        ("any", "a", "click", at(2.5)),
        ("any", "b", "click", at(3)),
        ("any", "c", "open", at(5)),
        ("first", "a", "click", at(2)),
        ("last", "b", "click", at(3)),
    ]
    assert expected == given(scene)


def test_without_a_click_in_its_window_opens_decide(scene: Scene) -> None:
    scene.increment([clicked(A, 0), opened(A, 100), opened(B, 110), opened(C, 120), Order("o", "u", 121)])
    expected = [
        ("any", "a", "open", at(100)),
        ("any", "b", "open", at(110)),
        ("any", "c", "open", at(120)),
        ("first", "a", "open", at(100)),
        ("last", "c", "open", at(120)),
    ]
    assert expected == given(scene)


TIES: Final[Sequence[tuple[tuple[Mail, float], tuple[Mail, float]]]] = [
    # The second of each pair is later in the order of touches at one moment; what comes first in it decides.
    ((Mail("e", "u", "b"), 2), (Mail("e", "u", "a"), 3)),
    ((Mail("f", "u", "a"), 2), (Mail("e", "u", "b"), 2)),
    ((Mail("a", "u", "c", "z"), 2), (Mail("b", "u", "c", "a"), 2)),
    ((Mail("e", "u", "C"), 2), (Mail("e", "u", "a"), 2)),  # by bytes, capitals come first
    ((Mail("e", "u", "c", "a", 2), 2), (Mail("e", "u", "c", "b", 1), 2)),
    ((Mail("e", "u", "c", "a", 1, "K"), 2), (Mail("e", "u", "c", "a", 2, "J"), 2)),
]


def test_touches_at_one_moment_have_an_order(scene: Scene) -> None:
    facts: list[Fact] = []
    expected = []
    for number, ((earlier, earlier_sent), (later, later_sent)) in enumerate(TIES):
        person = f"u{number}"
        first, last = earlier._replace(recipient=person), later._replace(recipient=person)
        facts += [Sent(last, later_sent), Sent(first, earlier_sent), clicked(last, 5), clicked(first, 5)]
        facts.append(Order(f"o{number}", person, 6))
        expected += [(person, "first", *told(first)), (person, "last", *told(last))]
    scene.increment(facts)
    columns = ("recipient_key", "model", "campaign_id", "email_id", "source", "journey_id")
    found = [tuple(row[column] for column in columns) for row in scene.rows("attribution") if row["model"] != "any"]
    assert expected == sorted(found)


def told(mail: Mail) -> tuple[str | None, ...]:
    return mail.campaign, mail.name, mail.source, mail.journey


def test_an_order_sent_twice_is_one_and_the_first_received_stays(scene: Scene) -> None:
    scene.increment([Order("x", "u", 2, "77", received=9, value=2), Order("z", "u", 3, "77", received=8, value=3)])
    scene.increment([Order("y", "u", 4, "77", received=8, value=4)])  # as early as z, and before it by its id
    scene.increment([Order("w", "u", 5, "77", received=9, value=5)])
    scene.increment([Order("77", "u", 6), Order("o", "u", 7, "77", goal="signed_up")])  # neither is the order 77
    found = sorted((row["goal"], row["id"], row["value"]) for row in scene.rows("conversions"))
    assert [("order_completed", "77", 10), ("order_completed", "y", 4), ("signed_up", "o", 10)] == found


def test_what_is_read_again_replaces_itself_and_nothing_else(scene: Scene) -> None:
    scene.increment([clicked(A, 0), Order("x", "u", 2, "77", received=8, value=None), Order("o", "u", 3)])
    removed, inserted = scene.increment([Order("x", "u", 2, "77", received=8, value=7)])
    assert [("x", 7), ("o", 10)] == [(row["id"], row["value"]) for row in by_time(scene.rows("conversions"))]
    assert [None] * 3 == [row["value"] for row in removed]
    assert [Decimal(7)] * 3 == [row["value"] for row in inserted]
    # The same once more differs in nothing.
    assert ([], []) == scene.increment([Order("x", "u", 2, "77", received=8, value=7)])


def by_time(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row["happened_at"]))


def test_a_person_who_is_known_later_has_the_conversions_of_before(scene: Scene) -> None:
    scene.increment([clicked(A, 0), Order("o", "visitor", 2), Control("k", "visitor", is_holdout=True, hours=0)])
    assert [] == given(scene)
    removed, inserted = scene.increment([Known("visitor", "u")])
    assert all_models("a", "click", 0) == given(scene)
    assert ([], 3) == (removed, len(inserted))
    assert [("visitor", "u")] == [(row["recipient"], row["recipient_key"]) for row in scene.rows("conversions")]
    assert [("visitor", "u")] == [(row["recipient"], row["recipient_key"]) for row in scene.rows("controls")]
    scene.increment([Order("o2", "visitor", 3), Control("k2", "visitor", is_holdout=False, hours=1)])
    assert {"u"} == {row["recipient_key"] for row in (*scene.rows("conversions"), *scene.rows("controls"))}


def test_touches_that_move_to_another_person_take_their_conversions_along(scene: Scene) -> None:
    mail = Mail("a", "visitor")
    scene.increment([clicked(mail, 0), Order("o", "u", 2)])
    assert [] == given(scene)
    scene.increment([Known("visitor", "u")])
    assert all_models("a", "click", 0) == given(scene)


def test_the_last_that_was_told_of_a_control_counts(scene: Scene) -> None:
    scene.increment([Control("b", "u", is_holdout=True, hours=2), Control("a", "v", is_holdout=True, hours=1)])
    scene.increment([Control("c", "u", is_holdout=False, hours=1), Control("b", "v", is_holdout=False, hours=1)])
    found = {(row["recipient"], row["id"], row["is_holdout"]) for row in scene.rows("controls")}
    assert {("u", "b", True), ("v", "b", False)} == found


def test_a_late_delivery_changes_what_attribution_says_of_the_mail(scene: Scene) -> None:
    scene.increment([clicked(A, 3), clicked(B, 3), Sent(B, 2), Order("o", "u", 4)])
    assert "a" == last_mail(scene)  # for want of a delivery it was sent at its click, after b
    removed, inserted = scene.increment([Sent(A, 1)])
    assert "b" == last_mail(scene)
    assert {at(1), at(2)} == {row["sent_at"] for row in scene.rows("attribution")}
    assert len(inserted) == len(removed)


def last_mail(scene: Scene) -> str:
    return next(str(row["email_id"]) for row in scene.rows("attribution") if row["model"] == "last")


def test_people_without_conversions_cost_nothing(scene: Scene) -> None:
    scene.increment([Order("o", "u", 4)])
    assert ([], []) == scene.increment([clicked(Mail("a", "v"), 3), Sent(Mail("a", "v"), 1)])
    assert not reads_events(scene)
    scene.increment([clicked(A, 5)])  # after the order
    assert not reads_events(scene)
    scene.increment([clicked(A, 3)])
    assert reads_events(scene)


def reads_events(scene: Scene) -> bool:
    return any("email.events" in statement for statement in scene.statements)


def test_what_was_removed_and_inserted_adds_up(scene: Scene) -> None:
    rows: list[Row] = []
    for part in slices(facts(SEED), random.Random(1)):
        removed, inserted = scene.increment(part)
        assert [] == [row for row in removed if row in inserted]
        for row in removed:
            rows.remove(row)
        rows = sorted(rows + inserted, key=repr)
        assert rows == scene.rows("attribution")
    assert rows


def facts(seed: int) -> list[Fact]:
    """Three people under five names, with everything that may be odd."""
    chance = random.Random(seed)
    people = ["u1", "u2", "u3", "v1", "v2"]
    mails = [Mail(f"m{number}", chance.choice(people), f"c{number % 3}") for number in range(12)]
    found: list[Fact] = [Sent(mail, chance.randrange(100)) for mail in mails if chance.random() < 0.8]
    for _ in range(40):
        mail, kind = chance.choice(mails), chance.choice(["opened", "clicked"])
        touch = Touch(mail, kind, chance.randrange(150), is_machine=chance.random() < 0.2)
        found += [touch] if touch not in found else []
    for number in range(15):
        # Some orders are told more than once, by the same id or another.
        order_id = chance.choice([None, "n1", "n2", "n3"])
        order = Order(f"o{number}", chance.choice(people), chance.randrange(200), order_id, chance.randrange(4))
        found += [order] * chance.choice([1, 1, 2])
    for number in range(8):
        found.append(
            Control(f"k{number}", chance.choice(people), is_holdout=chance.random() < 0.5, hours=chance.randrange(4))
        )
    return [*found, Known("v1", "u1"), Known("v2", "u3")]


def slices(rows: Sequence[Fact], chance: random.Random) -> list[list[Fact]]:
    """In another order, cut anywhere; orders and controls may come again."""
    shuffled = [*rows, *(row for row in rows if isinstance(row, (Order, Control)) and chance.random() < 0.2)]
    chance.shuffle(shuffled)
    cuts = sorted(chance.randrange(len(shuffled)) for _ in range(2))
    return [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]


def outcomes(stage: Stage, rows: Sequence[Fact]) -> Iterator[list[list[Row]]]:
    """The tables after all at once, and after each way of cutting."""
    ways: list[list[list[Fact]]] = [
        [list(rows)],
        *(slices(rows, random.Random(seed)) for seed in range(1, depth(2, 8))),
    ]
    for way in ways:
        scene = stage()
        for part in way:
            scene.increment(part)
        yield [scene.rows(table) for table in TABLES]


def test_order_of_arrival_cuts_and_repeats_make_no_difference(stage: Stage) -> None:
    whole, *cut = outcomes(stage, facts(SEED))
    assert all(whole)
    for found in cut:
        assert whole == found


def first_come(monkeypatch: pytest.MonkeyPatch) -> None:
    right = conversions._of_conversions
    order = ("age DESC", "id")
    monkeypatch.setattr(conversions, "_of_conversions", lambda engine: right(engine)._replace(order=order))


def without_later_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    right = attribution._changes
    monkeypatch.setattr(
        attribution,
        "_changes",
        lambda engine: [text.replace("HAVING count(*) = 1", "HAVING false") for text in right(engine)],
    )


@pytest.mark.parametrize("fault", [first_come, without_later_touches])
def test_an_attribution_with_a_fault_depends_on_the_order(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    fault(monkeypatch)
    found = outcomes(stage, facts(SEED))
    whole = next(found)
    assert any(whole != cut for cut in found)
