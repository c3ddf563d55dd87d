"""docs/destinations.md and docs/adding-a-destination.md: their examples are run, their tables are those of the code, and the codes' links lead there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from headrace.cli import app
from headrace.delivery.mapping import FieldMapping
from headrace.delivery.preparing import Preparation, Stopped
from headrace.destinations import base
from headrace.destinations.base import CODES, DestinationKind, DestinationSettings, Place
from segment_events import event_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/destinations.md").read_text()
ADDING = (ROOT / "docs/adding-a-destination.md").read_text()
PAGE = {"type": "page", "name": "Home", "messageId": "m-1"}
KINDS = base.kinds()


def table(heading: str) -> list[list[str]]:
    """The rows below the line that begins a table, without backticks around a cell."""
    lines = TEXT[TEXT.index(f"| {heading} |") :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        rows.append([cell[1:-1] if re.fullmatch(r"`[^`]*`", cell) else cell for cell in cells])
    return rows


def example() -> dict[str, Any]:
    """The event of the examples."""
    event: dict[str, Any] = json.loads(TEXT.split("```json\n")[1].split("```")[0])
    return event


def webhook(**settings: Any) -> Preparation:
    given = {"url": "https://tool.example/hook", **settings}
    return Preparation(base.configured("webhook", given, Place("tool", Path("unused"))))


def made(preparation: Preparation, sent: dict[str, Any]) -> Any:
    """The fields, `whole` or the code."""
    step = preparation.prepare(event_of(sent))
    if isinstance(step, Stopped):
        return step.code
    return "whole" if step.fields is None else step.fields


@pytest.mark.parametrize(("rules", "fields"), table("mapping of track | makes"))
def test_examples_of_mappings_make_what_they_say(rules: str, fields: str) -> None:
    assert json.loads(fields) == FieldMapping({}, {"track": json.loads(rules)}).fields(event_of(example()))


@pytest.mark.parametrize(
    ("mapping", "track", "page"), table("`mapping` of a webhook | this track event | a page event")
)
def test_examples_of_the_setting_leave_the_other_types_as_they_say(mapping: str, track: str, page: str) -> None:
    preparation = webhook(mapping=json.loads(mapping))
    assert [said(track), said(page)] == [made(preparation, example()), made(preparation, PAGE)]


def said(cell: str) -> Any:
    return json.loads(cell) if cell.startswith("{") else cell


@pytest.mark.parametrize(("integrations", "sent"), table("`integrations` | sent"))
def test_examples_of_integrations_are_decided_as_they_say(integrations: str, sent: str) -> None:
    event = event_of({**PAGE, "integrations": json.loads(integrations)})
    assert (sent == "yes") == webhook().is_wanted_by_event(event)


def test_settings_of_every_destination_are_documented_with_their_defaults() -> None:
    fields = msgspec.structs.fields(DestinationSettings)
    defaults = {
        field.name: field.default_factory() if field.default is msgspec.NODEFAULT else field.default for field in fields
    }
    assert json.loads(json.dumps(defaults)) == {row[0]: json.loads(row[2]) for row in table("setting | is | default")}


def test_every_kind_is_listed_as_the_catalogue_has_it() -> None:
    rows = [
        (f"[`{slug}`](destinations/{slug}.md)", kind.title, kind.drops_repeats) for slug, kind in sorted(KINDS.items())
    ]
    assert rows == [tuple(row) for row in table("kind | called in `integrations` | a repeated event")]


def anchors(file: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("link", sorted({code.link for code in CODES.values() if not code.link.startswith("https://")}))
def test_links_of_codes_lead_to_a_heading(link: str) -> None:
    name, _, anchor = link.partition("#")
    file = ROOT / name
    assert file.is_file()
    assert not anchor or anchor in anchors(file)


def test_an_anchor_that_is_not_there_is_missed() -> None:
    """The control of the test above."""
    assert "order" in anchors(ROOT / "docs/destinations.md")
    assert "orders" not in anchors(ROOT / "docs/destinations.md")


@pytest.mark.parametrize("text", [TEXT, ADDING], ids=["destinations", "adding"])
def test_links_within_the_documents_lead_to_a_heading(text: str) -> None:
    here = anchors(ROOT / "docs/destinations.md")
    assert set() == set(re.findall(r"\]\((?:destinations\.md)?#([a-z-]+)\)", text)) - here


def commands() -> dict[str, Any]:
    root: Any = typer.main.get_command(app)
    return {name: getattr(command, "commands", {}) for name, command in root.commands.items()}


@pytest.mark.parametrize("text", [TEXT, ADDING], ids=["destinations", "adding"])
def test_commands_that_are_named_are_there(text: str) -> None:
    known = commands()
    named = re.findall(r"(?:^|`)headrace ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", text, re.MULTILINE)
    assert "destination" in {name for name, _ in named}
    for name, sub in named:
        assert name in known, name
        assert not sub or not known[name] or sub in known[name], f"{name} {sub}"


def test_codes_that_are_named_are_there() -> None:
    named = set(re.findall(r"`([A-Z]{2,}[A-Z_]{3,})`", TEXT)) - {"GET", "POST"}
    assert "FILTERED_BY_RULES" in named
    assert set() == named - CODES.keys()


def test_the_kind_of_the_example_works(tmp_path: Path) -> None:
    code = ADDING.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"__name__": "acme"}
    exec(compile(code, "acme.py", "exec", dont_inherit=True), names)
    kind: DestinationKind = names["AcmeKind"](
        msgspec.convert({"token": "t-1"}, names["AcmeSettings"]), Place("acme", tmp_path)
    )
    prepared = Preparation(kind).prepare(event_of(example()))
    assert not isinstance(prepared, Stopped)
    assert isinstance(kind, base.HttpKind)
    (outgoing,) = kind.requests([prepared])
    assert [
        {"id": "m-1", "email": "ada@example.com", "what": "Email Link Clicked", "at": "2026-03-01T12:00:00.000Z"}
    ] == json.loads(outgoing.request.body)
    assert "Bearer t-1" == outgoing.request.headers["authorization"]
    refused = Preparation(kind).prepare(event_of({**example(), "context": {}}))
    assert isinstance(refused, Stopped)
    assert "PAYLOAD_VALIDATION_FAILED" == refused.code
