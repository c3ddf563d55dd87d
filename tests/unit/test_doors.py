"""The doors while the workspace changes under them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.collector.doors import LOOKS, Doors
from headrace.errors import RequestError, RetryableError
from headrace.sources import base
from headrace.sources.base import SourceKind
from headrace.workspace.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path, create=True) as workspace:
        yield workspace


def test_a_key_opens_as_soon_as_it_is_made(workspace: Workspace) -> None:
    doors = Doors(workspace)
    _, key = workspace.add_source("http-api", "Shop")
    assert "shop" == doors.open(key).slug
    workspace.disable("shop")
    assert "shop" == doors.open(key).slug, "until the next poll, as everything that is open already"
    doors.renew()
    workspace.enable("shop")
    assert "shop" == doors.open(key).slug


def test_a_source_that_is_just_being_added_opens_and_is_never_told_to_be_disabled(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    configured = base.configured

    def slowly(kind: str, slug: str, settings: dict[str, object]) -> SourceKind:
        reached.set()
        assert go_on.wait(10)
        return configured(kind, slug, settings)

    doors = Doors(workspace)
    _, key = workspace.add_source("http-api", "Shop")
    monkeypatch.setattr(base, "configured", slowly)
    with ThreadPoolExecutor(2) as threads:
        renewing = threads.submit(doors.renew)
        assert reached.wait(10)
        opening = threads.submit(doors.open, key)
        go_on.set()
        renewing.result(10)
        assert "shop" == opening.result(10).slug


def test_whoever_knows_no_key_makes_a_door_look_only_so_often(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = Doors(workspace)
    looks: list[None] = []
    revision = workspace.revision

    def counted() -> int:
        looks.append(None)
        return revision()

    monkeypatch.setattr(workspace, "revision", counted)
    for keys in (["old"] * 100, [f"guessed {n}" for n in range(3 * LOOKS)]):
        assert len(looks) < LOOKS, "the same key again takes no look"
        for key in keys:
            with pytest.raises(RequestError, match="no source of this server has this write key"):
                doors.open(key)
    with pytest.raises(RequestError, match="a write key is missing"):
        doors.open(None)
    assert LOOKS == len(looks)


def test_no_key_is_refused_while_the_workspace_cannot_be_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = workspace.add_source("http-api", "Shop")
    doors = Doors(workspace)

    def broken() -> int:
        raise OSError("disk")

    monkeypatch.setattr(workspace, "revision", broken)
    assert "shop" == doors.open(key).slug
    with pytest.raises(RetryableError, match="the workspace cannot be read"):
        doors.open("another")
