"""`headrace destination test`: one event, each step of its way to the tool, and nothing stored."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli import options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_json, print_line
from headrace.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.delivery.trying import Sent, Tried

EVENT_BYTES: Final = 1_000_000
_STATES: Final = {"passed": "ok", "note": "note", "stopped": "STOPPED"}


def register(commands: typer.Typer) -> None:
    commands.command("test")(try_out)


def try_out(
    slug: Annotated[
        str, typer.Argument(metavar="SLUG", help="The destination, as `headrace destination list` names it.")
    ],
    *,
    event: Annotated[
        str | None,
        typer.Option("--event", metavar="FILE", help="An event in Segment's form, as JSON; - reads it from stdin."),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="NAME",
            help="An example event: email-opened, order-completed, identify, page, ... [default: the first one that it takes]",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="SLUG", help="Whose event it is to be. [default: a connected one]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Make the request and do not send it.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Send one event to a destination and show each step: filter, mapping, request, answer, outcome. Nothing of it is stored here."""
    from headrace.app import destination_trials  # noqa: PLC0415 - --help needs none of it
    from headrace.delivery.trying import TrialOrder  # noqa: PLC0415 - as above

    if event is not None and sample is not None:
        raise typer.BadParameter("give --event or --sample, not both")
    order = TrialOrder(None if event is None else _read(event), sample, source, dry_run)
    chosen = options.settings(data, config)
    with options.workspace(chosen) as workspace:
        found = destination_trials.try_out(chosen, workspace, slug, order)
    if as_json:
        print_json(described(found))
    else:
        _print(found)
    if not found.is_fine:
        raise typer.Exit(1)


def described(found: Tried) -> Any:
    """For programs."""
    import msgspec  # noqa: PLC0415 - --help needs none of it

    return json.loads(msgspec.json.encode(found))


def _read(file: str) -> dict[str, Any]:
    """Raises NotFoundError and ConfigError."""
    name = "stdin" if file == "-" else file
    try:
        if file == "-":
            content = sys.stdin.buffer.read(EVENT_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(EVENT_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"test event: there is no file {file}") from None
    except OSError as error:
        raise ConfigError(f"test event: cannot read {name}: {error.strerror}") from None
    if len(content) > EVENT_BYTES:
        raise ConfigError(f"test event: {name} has more than {EVENT_BYTES:,} bytes; give one event")
    try:
        sent = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"test event: {name} is no JSON: {error}") from None
    if not isinstance(sent, dict):
        raise ConfigError(f"test event: {name} must be one JSON object, an event in Segment's form")
    return sent


def _print(found: Tried) -> None:
    event = json.loads(bytes(found.event))
    what = " ".join(filter(None, (event["type"], event.get("event") or event.get("name"))))
    print_line(
        f"{plain(found.destination)} ({plain(found.kind)}): {plain(what)}, messageId {plain(event['messageId'])}\n"
    )
    width = max(len(step.name) for step in found.steps)
    for step in found.steps:
        print_line(f"  {_STATES[step.state]:<7}  {step.name:<{width}}  {plain(step.text)}")
    if found.fields is not None:
        print_line("\nFields that the mapping made:")
        _print_json(found.fields)
    for sent in found.sent:
        _print_sent(sent, is_dry=found.outcome == "ready")
    print_line(f"\n{_in_words(found)}")
    if found.title:
        print_line(f"  {plain(found.description)}")
        print_line(f"  What to do: {plain(found.remedy)}")
        print_line(f"  More: {plain(found.link)}")


def _in_words(found: Tried) -> str:
    code = f"{found.code}: {found.title}" if found.title else found.detail
    match found.outcome:
        case "delivered":
            return "Delivered: the tool has it."
        case "ready":
            return "It could be sent; because of --dry-run it was not."
        case "filtered":
            return f"Not sent: {plain(code)}"
        case "retrying":
            return f"Not delivered now; an event would be tried again by itself. {plain(code)}"
    return f"Not delivered: {plain(code)}"


def _print_sent(sent: Sent, *, is_dry: bool) -> None:
    print_line("\nRequest, not sent:" if is_dry else "\nRequest:")
    _print_http(sent.request)
    if sent.answer:
        print_line(f"\nAnswer after {sent.seconds:.2f} s:")
        _print_http(sent.answer)


def _print_http(part: Mapping[str, Any]) -> None:
    """A request or an answer, as `delivery.samples` shows it."""
    first = [str(part[name]) for name in ("method", "url", "status", "code", "error") if part.get(name)]
    if first:
        print_line(f"  {plain(' '.join(first))}")
    for name, value in part.get("headers", {}).items():
        print_line(f"  {plain(name)}: {plain(value)}")
    if part.get("body"):
        print_line()
        _print_body(part["body"])


def _print_body(text: str) -> None:
    try:
        _print_json(json.loads(text))
    except ValueError:
        for line in text.splitlines():
            print_line(f"  {plain(line)}")


def _print_json(value: Any) -> None:
    """Foreign text in it is escaped: ASCII only."""
    for line in json.dumps(value, indent=2).splitlines():
        print_line(f"  {line}")
