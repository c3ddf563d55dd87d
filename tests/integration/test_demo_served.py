"""The demo over the API of a running server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from browser import demo_data
from headrace.app import demo_note
from headrace.errors import ConfigError
from server import Server

SMALL: Final = {"recipients": 50, "campaigns": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"HEADRACE_LOADER_MODEL_SECONDS": "0.2", "HEADRACE_LOADER_INTERVAL_SECONDS": "0.1"}
    with Server(tmp_path_factory.mktemp("demo") / "data", settings) as running:
        yield running


def ask(server: Server, method: str, body: Any = None) -> httpx.Response:
    return demo_data.ask(server.data, method, "/demo", body)


def loaded(server: Server) -> dict[str, int]:
    books = demo_data.ask(server.data, "GET", "/status").json()["totals"]
    return {name: books[name] for name in ("accepted", "loaded", "duplicates")}


def test_a_month_comes_in_goes_on_after_an_interruption_without_doubles_and_is_removed(server: Server) -> None:
    assert "none" == ask(server, "GET").json()["state"]
    assert 404 == ask(server, "DELETE").status_code
    state = demo_data.load(server.data, **SMALL)
    first = loaded(server)
    assert ["Selligent", "Shop"] == [source["nickname"] for source in state["sources"]]
    assert first["accepted"] == state["accepted"] == state["loaded"] == state["sent"]
    report = demo_data.ask(server.data, "POST", "/reports", {"preset": "campaigns"}).json()
    assert any("NewArrivals" in row[1] for row in report["rows"])

    refused = ask(server, "POST", SMALL)
    assert (409, True) == (refused.status_code, "selligent and shop" in refused.json()["detail"])

    server.stop()
    note = demo_note.read(server.data)
    (server.data / demo_note.FILE).write_text(
        json.dumps({**json.loads((server.data / demo_note.FILE).read_text()), "state": "sending"})
    )
    server.start()
    assert "interrupted" == ask(server, "GET").json()["state"]
    demo_data.load(server.data)  # what is asked for now does not matter: the same month goes on
    again = loaded(server)
    assert first["loaded"] == again["loaded"]
    assert 2 * first["accepted"] == again["accepted"]  # the control: everything was sent once more
    assert list(note.sources) == list(demo_note.read(server.data).sources)

    removed = ask(server, "DELETE").json()
    assert "removed" == removed["state"]
    assert all(source["removed"] for source in removed["sources"])
    assert "its rows stay in the schemas selligent and shop" in removed["sentence"]
    assert again == loaded(server)
    assert 409 == ask(server, "POST", SMALL).status_code


@pytest.mark.parametrize("body", [{"recipients": 1}, {"recipients": 20_001}, {"campaigns": 0}, {"people": 5}, [], 7])
def test_a_demo_of_another_size_is_refused(server: Server, body: Any) -> None:
    assert 400 == ask(server, "POST", body).status_code


def test_a_note_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / demo_note.FILE).write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        demo_note.read(tmp_path)
    assert demo_note.DemoNote() == demo_note.read(tmp_path / "elsewhere")  # the control
