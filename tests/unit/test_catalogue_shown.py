"""The catalogue in the API: searched, and with what a form needs to know of every setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
import pytest
from litestar import Litestar, Router
from litestar.testing import TestClient

from headrace.catalog import Form, form_of
from headrace.console import catalogue


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    with TestClient(Litestar([Router("/api/v1", route_handlers=catalogue.routes())])) as client:
        yield client


def test_the_catalogue_is_searched_by_former_names_in_one_room_or_all(client: TestClient[Any]) -> None:
    found = client.get("/api/v1/catalog", params={"q": "marigold"}).json()
    assert [("source", "selligent-marketing-cloud"), ("destination", "selligent-marketing-cloud")] == [
        (one["room"], one["kind"]) for one in found
    ]
    only = client.get("/api/v1/catalog", params={"q": "message studio", "room": "source"}).json()
    assert ["selligent"] == [one["kind"] for one in only]
    assert [] == client.get("/api/v1/catalog", params={"q": "zzz"}).json()


def test_a_kind_says_who_maintains_it_where_it_is_offered_and_what_its_settings_are(client: TestClient[Any]) -> None:
    found = client.get("/api/v1/catalog/source/selligent-marketing-cloud").json()
    assert ("Selligent (the sending side)", True, None) == (
        found["maintainer"], found["has_handover"], found["deprecated"],
    )  # fmt: skip
    assert "Marigold Engage" in found["also_known_as"]
    address = next(one for one in found["settings"] if one["name"] == "address")
    assert ("choice", ["raw", "sha256", "both"], "raw") == (address["type"], address["choices"], address["default"])


def test_settings_that_every_destination_has_are_told_apart(client: TestClient[Any]) -> None:
    settings = {one["name"]: one for one in client.get("/api/v1/catalog/destination/braze").json()["settings"]}
    assert (True, True, "text") == (settings["api_key"]["own"], settings["api_key"]["secret"], settings["api_key"]["type"])  # fmt: skip
    assert (False, 0.0, 100.0) == (
        settings["sample_percent"]["own"], settings["sample_percent"]["minimum"], settings["sample_percent"]["maximum"],
    )  # fmt: skip


def test_a_kind_or_room_that_is_not_there_is_refused(client: TestClient[Any]) -> None:
    assert 400 == client.get("/api/v1/catalog/kitchen/duckdb").status_code
    assert 400 == client.get("/api/v1/catalog", params={"room": "kitchen"}).status_code


@pytest.mark.parametrize(
    ("form", "declared"),
    [
        (Form("choice", ("raw", "sha256", "both")), Literal["raw", "sha256", "both"]),
        (Form("integer", (), 1, 256), Annotated[int, msgspec.Meta(ge=1, le=256, description="x")]),
        (Form("number", (), 0, 336, is_above=True), Annotated[float, msgspec.Meta(gt=0, le=336)]),
        (Form("list"), tuple[str, ...]),
        (Form("mapping"), dict[str, str]),
        (Form("json"), dict[str, Any]),
        (Form("text"), str | None),
        (Form("json"), str | int),
        (Form("boolean"), bool),
    ],
)
def test_a_form_is_made_of_the_type(form: Form, declared: Any) -> None:
    assert form == form_of(declared)


def test_every_setting_of_every_kind_has_a_form() -> None:
    """Only objects may be edited as JSON."""
    as_json = {
        setting.name
        for room in catalogue.rooms().values()
        for slug, kind in room.kinds().items()
        for setting in room.shown(slug, kind).settings
        if setting.type == "json" and not isinstance(setting.default, dict)
    }
    assert set() == as_json
