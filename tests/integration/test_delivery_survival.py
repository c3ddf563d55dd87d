"""What may happen to the books of a destination and to the process that keeps them: nothing is lost, and it goes on by itself."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from crash.faults import fill, small_disk
from delivery_house import House, Tool
from delivery_street import Street
from fault_server import FaultServer
from headrace.delivery.commits import Commit
from headrace.delivery.preparing import Preparation, Stopped
from headrace.delivery.store import REQUEUE, Store
from headrace.destinations.base import Answer, Outgoing, Prepared
from headrace.destinations.webhook import WebhookKind
from headrace.errors import FolderInUseError, PositionError, RetryableError
from headrace.event import Event


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def ids(count: int) -> list[str]:
    return sorted(f"m-{number}" for number in range(count))


def test_a_full_disk_delays_the_books_and_loses_nothing(house: House) -> None:
    tool = Tool()
    with small_disk(house.file.parent, 2):
        ballast = house.file.parent / "ballast"
        counted: list[dict[str, int]] = []

        def mended() -> bool:
            if len(tool.ids) < 300:
                return False
            if ballast.exists():
                counted.append(house.counts())  # the control: the disk was really full
                ballast.unlink()
            return house.counts() == {"delivered": 300}

        def fill_and_send() -> None:
            fill(ballast)
            for _ in range(300):
                house.tracks(1)

        house.deliver(tool, mended, meanwhile=fill_and_send)
        assert sum(counted[0].values()) < 300
        assert ids(300) == sorted(tool.ids)
        assert house.position() == 300


def test_killed_while_the_disk_was_full_it_sends_again_what_the_books_do_not_have(house: House) -> None:
    tool = Tool()
    with small_disk(house.file.parent, 2):
        ballast = house.file.parent / "ballast"

        def fill_and_send() -> None:
            fill(ballast)
            for _ in range(300):
                house.tracks(1)

        house.deliver(tool, lambda: len(tool.ids) == 300, meanwhile=fill_and_send, is_killed=True)
        ballast.unlink()
        stored = house.position()
        assert stored < 300
        house.deliver(tool, lambda: house.counts() == {"delivered": 300})
        assert ids(300) == sorted(set(tool.ids))
        assert sum(Counter(tool.ids).values()) == 300 + 300 - stored


def test_locked_books_are_waited_for_and_hold_up_nobody_else(house: House) -> None:
    """The lock goes only once the other destination has everything: would that wait too, neither came to an end."""
    with FaultServer() as server:
        street = Street(house, {slug: {"url": f"{server.url}/{slug}"} for slug in ("locked", "free")})

        def delivered(slug: str) -> int:
            with closing(sqlite3.connect(street.file(slug))) as connection:
                return int(connection.execute("SELECT coalesce(sum(events), 0) FROM minutes").fetchone()[0])

        street.deliver(lambda: delivered("locked") == delivered("free") == 1, lambda: house.tracks(1))
        with closing(sqlite3.connect(street.file("locked"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            def has_all() -> bool:
                if delivered("free") == 51 and other.in_transaction:
                    other.execute("ROLLBACK")
                return delivered("locked") == 51

            street.deliver(has_all, lambda: house.tracks(50))
        arrived = [request.json()["messageId"] for request in server.received("/locked")]
        assert ids(51) == sorted(arrived)


def test_a_commit_that_fails_is_stored_with_the_next_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = 3
    commit = Store.commit

    def failing(self: Store, what: Commit) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise RetryableError("made up: the disk has gone")
        commit(self, what)

    monkeypatch.setattr(Store, "commit", failing)
    tool = Tool()
    house.deliver(tool, lambda: house.counts() == {"delivered": 100}, meanwhile=lambda: house.tracks(100))
    assert ids(100) == sorted(tool.ids)  # each once: what is not in the books yet is not sent again
    assert failures < 0


def test_killed_between_the_request_and_the_books_it_sends_again_and_counts_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool has everything, the books nothing."""

    def never(self: Store, what: Commit) -> None:
        raise RetryableError("made up: not yet")

    tool = Tool()
    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit", never)
        house.deliver(tool, lambda: len(tool.ids) == 100, meanwhile=lambda: house.tracks(100), is_killed=True)
    assert (0, {}) == (house.position(), house.counts())
    house.deliver(tool, lambda: house.counts() == {"delivered": 100})
    assert dict.fromkeys(ids(100), 2) == dict(Counter(tool.ids))


def test_books_of_another_log_stop_the_delivery_loudly(house: House, tmp_path: Path) -> None:
    house.deliver(Tool(), lambda: house.counts() == {"delivered": 5}, meanwhile=lambda: house.tracks(5))
    other = House(tmp_path / "other")
    other.file.parent.mkdir(parents=True)
    other.file.write_bytes(house.file.read_bytes())
    tool = Tool()
    with pytest.raises(PositionError, match="belongs to another log; bring that log back, or remove the destination"):
        other.deliver(tool, lambda: False, meanwhile=lambda: other.tracks(5))
    assert [] == tool.requests


def test_an_event_over_which_the_kind_fails_is_a_dead_letter_and_its_neighbours_proceed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = WebhookKind.requests

    def poisoned(self: WebhookKind, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        if any(prepared.event.message_id == "m-3" for prepared in batch):
            raise RecursionError("poison")
        return requests(self, batch)

    monkeypatch.setattr(WebhookKind, "requests", poisoned)
    tool = Tool()
    expected = {"delivered": 9, "failed INTERNAL": 1}
    house.deliver(
        tool, lambda: house.counts() == expected, settings={"batch_events": 10}, meanwhile=lambda: house.tracks(10)
    )
    assert sorted(set(ids(10)) - {"m-3"}) == sorted(tool.ids)
    assert [("m-3", "RecursionError: poison")] == house.rows(
        "SELECT message_id, detail FROM events WHERE line NOT NULL"
    )


def test_an_event_that_cannot_be_prepared_is_a_dead_letter_and_its_neighbours_proceed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = Preparation._prepared

    def poisoned(self: Preparation, event: Event) -> Prepared | Stopped:
        if event.message_id == "m-3":
            raise RecursionError("poison")
        return prepared(self, event)

    monkeypatch.setattr(Preparation, "_prepared", poisoned)
    tool = Tool()
    expected = {"delivered": 9, "failed INTERNAL": 1}
    house.deliver(tool, lambda: house.counts() == expected, meanwhile=lambda: house.tracks(10))
    assert sorted(set(ids(10)) - {"m-3"}) == sorted(tool.ids)


def test_a_wrong_key_that_refused_very_many_costs_none_of_them(house: House) -> None:
    """More than one transaction takes up again at a time."""
    refusing = Tool(lambda _: Answer(401))
    together = {"batch_events": 1_000, "concurrency": 3}
    house.tracks(3_000)
    house.deliver(refusing, lambda: house.counts().get("failed INVALID_AUTHENTICATION", 0) > REQUEUE, settings=together)
    tool = Tool()
    house.deliver(tool, lambda: house.counts() == {"delivered": 3_000}, settings=together)
    assert ids(3_000) == sorted(tool.ids)


def test_two_workers_cannot_work_on_one_folder(tmp_path: Path) -> None:
    from headrace.app import folder

    with _held(folder.lock(tmp_path)), pytest.raises(FolderInUseError, match="another headrace server"):
        folder.lock(tmp_path)
    with _held(folder.lock(tmp_path)):  # the control: it was the other one that stood in the way
        pass


def _held(descriptor: int) -> Any:
    import os
    from contextlib import ExitStack

    stack = ExitStack()
    stack.callback(os.close, descriptor)
    return stack


class Running:
    """The deliveries of a worker over the log of a house, with the destinations of a workspace."""

    def __init__(self, house: House, tmp_path: Path) -> None:
        from headrace.app.deliveries import Deliveries
        from headrace.config import Config
        from headrace.workspace.workspace import Workspace

        config = Config(data=str(tmp_path), allowed_networks="127.0.0.0/8")
        self.workspace = Workspace.open(tmp_path)
        with suppress(Exception):
            self.workspace.add_source("http-api", "Selligent")
        self.deliveries = Deliveries(config, self.workspace, house.readers)

    def __enter__(self) -> Self:
        self.deliveries.start()
        self.deliveries.notice()
        return self

    def __exit__(self, *_: object) -> None:
        self.deliveries.end()
        self.workspace.close()


def eventually(is_so: Callable[[], bool]) -> None:
    from crash.faults import wait_until

    wait_until("what this test waits for", is_so, 20)


def test_the_log_is_kept_for_a_paused_destination(house: House, tmp_path: Path) -> None:
    """Its position, and after its removal nobody's, says from where on the log is needed."""
    with FaultServer() as server, Running(house, tmp_path) as running:
        for slug in ("paused", "going"):
            running.workspace.add_destination(
                "webhook", slug, ["selligent"], {"url": f"{server.url}/{slug}"}, slug=slug
            )
        running.deliveries.notice()
        house.tracks(10)
        eventually(lambda: running.deliveries.needed() == {0: 10})
        running.workspace.pause_destination("paused")
        running.deliveries.notice()
        house.tracks(10)
        eventually(lambda: len(server.received("/going")) == 20)
        assert {0: 10} == running.deliveries.needed()
        running.workspace.resume_destination("paused")
        running.deliveries.notice()
        eventually(lambda: len(server.received("/paused")) == 20)
        eventually(lambda: running.deliveries.needed() == {0: 20})


def test_a_destination_whose_books_cannot_be_read_for_now_is_taken_up_later(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile nobody knows from where on the log is needed, and the other destination is delivered to."""
    from headrace.app import deliveries

    positions = Store.positions
    is_broken = True

    def breaking(self: Store, incarnation: str) -> Any:
        if is_broken and self.file.stem == "broken":
            raise RetryableError("made up: the disk has gone")
        return positions(self, incarnation)

    monkeypatch.setattr(Store, "positions", breaking)
    monkeypatch.setattr(deliveries, "AGAIN_SECONDS", 0.05)
    with FaultServer() as server, Running(house, tmp_path) as running:
        for slug in ("broken", "going"):
            running.workspace.add_destination(
                "webhook", slug, ["selligent"], {"url": f"{server.url}/{slug}"}, slug=slug
            )
        running.deliveries.notice()
        house.tracks(10)
        eventually(lambda: len(server.received("/going")) == 10)
        assert running.deliveries.needed() is None
        is_broken = False
        eventually(lambda: running.deliveries.needed() == {0: 10})
        house.tracks(10)
        eventually(lambda: len(server.received("/broken")) == 10)
