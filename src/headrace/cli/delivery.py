"""`headrace delivery ...`: what became of the events, for each destination and warehouse. Works with and without a running server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli import delivery_shown, options
from headrace.cli.options import ConfigFile, Data, Json
from headrace.cli.output import plain, print_fields, print_json, print_line, print_table

if TYPE_CHECKING:
    from headrace.delivery.account_samples import SampleShown

commands: Final = typer.Typer(
    no_args_is_help=True, help="See what became of the events at each destination and warehouse."
)

Slug = Annotated[
    str, typer.Argument(metavar="SLUG", help="A destination or a warehouse, as `headrace delivery list` names it.")
]
Since = Annotated[
    str, typer.Option("--since", metavar="TIME", help="So long ago: 10m, 1h, 24h, 7d, 14d; or a date like 2026-03-01.")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="A moment like 2026-03-01T12:00Z. [default: now]")
]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="delivery")


@commands.command()
def show(
    slug: Slug,
    *,
    since: Since = "24h",
    until: Until = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show what became of the events that were received in a period: every one is counted, and the counts add up."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.app import delivery_accounts  # noqa: PLC0415 - as above

    with delivery_accounts.opened(options.settings(data, config)) as accounts:
        found = accounts.one(slug, since, until)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        delivery_shown.print_account(found)


@commands.command("list")
def list_deliveries(
    *, since: Since = "24h", until: Until = None, data: Data = None, config: ConfigFile = None, as_json: Json = False
) -> None:
    """List all destinations and warehouses, a line each."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.app import delivery_accounts  # noqa: PLC0415 - as above

    with delivery_accounts.opened(options.settings(data, config)) as accounts:
        found = accounts.every(since, until)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    print_table(
        ("SLUG", "KIND", "STATE", "ACCEPTED", "FILTERED", "DELIVERED", "RETRYING", "FAILED", "WAITING", "RATE", "P95"),
        (
            (
                one.slug,
                one.kind,
                one.state,
                *(f"{n:,}" for n in (one.accepted, one.filtered, one.delivered, one.retrying, one.failed, one.waiting)),
                delivery_shown.share(one.delivery_rate),
                delivery_shown.duration(one.p95_seconds),
            )
            for one in found
        ),
        "No destinations and no warehouses yet; add one with `headrace destination add KIND --name NICKNAME --source SLUG`.",
    )


@commands.command()
def samples(
    slug: Annotated[
        str, typer.Argument(metavar="SLUG", help="The destination, as `headrace destination list` names it.")
    ],
    *,
    code: Annotated[
        str | None,
        typer.Option(
            "--code", metavar="CODE", help="Only of this code; DELIVERED shows what went through. [default: all]"
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1_000, help="So many at the most.")] = 3,
    data: Data = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show the newest events of a code: what came in, the request that was sent and the tool's answer. Secrets are masked."""
    import msgspec  # noqa: PLC0415 - --help needs none of these

    from headrace.app import delivery_accounts  # noqa: PLC0415 - as above

    with delivery_accounts.opened(options.settings(data, config)) as accounts:
        found = accounts.samples(slug, _known(code), limit)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    for sample in found:
        _print_sample(sample)
    if not found:
        print_line(
            "No samples. Of events that are left out before a request there are none; `headrace delivery show` counts them."
        )


def _known(code: str | None) -> str | None:
    from headrace.destinations.base import CODES  # noqa: PLC0415 - --help needs no catalogue
    from headrace.errors import NotFoundError  # noqa: PLC0415 - as above

    if code is not None and code.upper() not in {"DELIVERED", *CODES}:
        raise NotFoundError(f"samples: there is no code {code[:100]!r}; there are DELIVERED, {', '.join(CODES)}")
    return code


def _print_sample(sample: SampleShown) -> None:
    name = f" {sample.event!r}" if sample.event else ""
    print_line(plain(f"{sample.code}: {sample.title}"))
    print_fields(
        {
            "at": f"{sample.at:%Y-%m-%d %H:%M:%S} UTC, in {sample.seconds:.3f} s",
            "event": f"{sample.type}{name} of {sample.source}, messageId {sample.message_id}",
            **({"with": f"{sample.events - 1} more events in the same request"} if sample.events > 1 else {}),
            **({"because": sample.detail} if sample.detail else {}),
            "came in": _text(sample.sent),
            "request": _exchange(sample.request, "method", "url"),
            "answer": _exchange(sample.answer, "status"),
        }
    )
    print_line("")


def _exchange(shown: Any, *first: str) -> str:
    """A request or an answer: what names it, then its headers and body."""
    if not shown:
        return "none"
    if "error" in shown:
        return f"none: {shown['error']}"
    begin = " ".join(str(shown[name]) for name in first if name in shown)
    headers = f" {_text(shown['headers'])}" if shown.get("headers") else ""
    return f"{begin}{headers} {shown.get('body', '')}".strip()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
