"""How the e-mail model's settings are shown, and where the model of each warehouse stands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.cli.output import plain, print_line, print_table
from headrace.cli.report_shown import FLAGGING
from headrace.errors import ConfigError, HeadraceError, NotFoundError, QueryError

if TYPE_CHECKING:
    from headrace.cli.email_place import Opened
    from headrace.config import Config
    from headrace.reports.model.settings import ModelSettings
    from headrace.workspace.records import Warehouse


def settings_in(file: Path) -> ModelSettings:
    """Of a TOML file; `-` is stdin. Raises ConfigError and NotFoundError."""
    from headrace.reports.model import settings_file  # noqa: PLC0415 - --help needs none of it

    try:
        if str(file) == "-":
            return settings_file.read(sys.stdin.buffer.read(settings_file.MOST_BYTES + 1))
        with file.open("rb") as opened:
            return settings_file.read(opened.read(settings_file.MOST_BYTES + 1))
    except FileNotFoundError:
        raise NotFoundError(
            f"email settings: there is no file {file}; make one: headrace email export > {file}"
        ) from None
    except OSError as error:
        raise ConfigError(f"email settings: {file} cannot be read: {error.strerror}") from None


def described(place: Opened) -> dict[str, Any]:
    """For programs."""
    import msgspec  # noqa: PLC0415 - --help needs none of it

    from headrace.reports.model.checking import plain_values  # noqa: PLC0415 - as above
    from headrace.reports.model.rules_shown import rules_shown  # noqa: PLC0415 - as above

    values = plain_values(place.settings)
    return {
        "revision": place.revision,
        "sources": _sources(place),
        "rules": msgspec.to_builtins(rules_shown(place.settings)),
        "goals": values["goals"],
        "labels": values["labels"],
        "warehouses": [_standing(place.chosen, warehouse) for warehouse in place.workspace.warehouses()],
    }


def _sources(place: Opened) -> list[dict[str, Any]]:
    from headrace.console.email_model import why  # noqa: PLC0415 - --help needs none of it
    from headrace.reports.model.kept import mail_sources  # noqa: PLC0415 - as above

    return [
        {
            "slug": source.slug,
            "schema": source.schema,
            "is_email": source.is_email or source.slug in place.settings.email_sources,
            "why": why(source.slug, place.settings, is_email=source.is_email),
        }
        for source in mail_sources(place.workspace.sources(include_removed=True))
    ]


def _standing(config: Config, warehouse: Warehouse) -> dict[str, Any]:
    from headrace.app import reach  # noqa: PLC0415 - --help needs none of it
    from headrace.console.email_model import STANDING  # noqa: PLC0415 - as above
    from headrace.reports.model.engine import engine  # noqa: PLC0415 - as above

    shown: dict[str, Any] = {"slug": warehouse.slug, "kind": warehouse.kind}
    try:
        engine(warehouse.kind)
        found = reach.query(config, STANDING, warehouse=warehouse.slug)
    except QueryError:
        return shown | {"state": "none yet", "problem": None}
    except HeadraceError as error:
        return shown | {"state": "unknown", "problem": str(error)}
    standing = dict(zip(found.columns, found.rows[0], strict=True))
    if not standing["tables_read"]:
        return shown | {"state": "none yet", "problem": None}
    state = "behind" if standing["loads_waiting"] else "up to date"
    return shown | {"state": state, "problem": None, **standing}


def print_described(shown: dict[str, Any]) -> None:
    print_table(
        ("SOURCE", "SCHEMA", "E-MAIL", "WHY"),
        ((one["slug"], one["schema"], "yes" if one["is_email"] else "no", one["why"]) for one in shown["sources"]),
        "No sources yet.",
    )
    print_line()
    print_table(
        ("RULE", "ON", "SENTENCE"),
        ((one["name"], "on" if one["on"] else "off", one["sentence"]) for one in shown["rules"]),
        "",
    )
    print_line()
    print_table(
        ("GOAL", "EVENT", "SOURCE", "CLICK DAYS", "OPEN DAYS"),
        (
            (one["name"], one["event"], one["source"] or "any", f"{one['click_days']:g}", f"{one['open_days']:g}")
            for one in shown["goals"]
        ),
        "",
    )
    sets = dict.fromkeys(one["set"] for one in shown["labels"])
    named = f" in {', '.join(sets)}" if sets else "; see: headrace email labels"
    print_line(f"\nLabel rules: {len(shown['labels'])}{named}\n")
    print_table(
        ("WAREHOUSE", "MODEL", "READ TO", "TABLES READ", "LOADS WAITING", "CAMPAIGNS", "LABELS"),
        (
            (
                one["slug"],
                one["state"],
                one.get("read_to", "-"),
                *(one.get(name, "-") for name in ("tables_read", "loads_waiting", "campaigns", "labels")),
            )
            for one in shown["warehouses"]
        ),
        "No warehouses.",
    )
    for one in shown["warehouses"]:
        if one["problem"]:
            print_line(f"\n{plain(one['slug'])}: {plain(one['problem'])}")
        if one.get("is_flagging"):
            print_line(f"\n{plain(one['slug'])}: {FLAGGING[0].lower()}{FLAGGING[1:]}")
