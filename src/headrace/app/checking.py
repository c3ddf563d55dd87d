"""Whether a warehouse can be used: its kind's check, in whose words no secret stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.config import Config
from headrace.errors import HeadraceError
from headrace.warehouses import base
from headrace.warehouses.base import Finding, Place, Warehouse, WarehouseKind
from headrace.warehouses.duckdb import DuckDBKind
from headrace.workspace import warehouses
from headrace.workspace.secret_settings import without_secrets


def findings(config: Config, kind: str, slug: str, settings: Mapping[str, Any]) -> Sequence[Finding]:
    """Each step up to the first that fails. `settings` are those in clear, of a warehouse that is there or is to be added.

    Raises ConfigError for settings that the kind does not take, and nothing for what is wrong at the other end."""
    checked = warehouses.checked(kind, settings)
    configured = base.configured(kind, checked, Place(slug, config.folder, config.warehouse))
    secrets = warehouses.secrets_of(kind, checked)
    try:
        found = configured.check()
    except Exception as error:  # noqa: BLE001 - a driver's bug shall not print a stack with its arguments
        found = [Finding("check", False, f"{type(error).__name__}: {error}", "report this: a check raises nothing")]
    return [
        finding._replace(text=without_secrets(finding.text, secrets), remedy=without_secrets(finding.remedy, secrets))
        for finding in found
    ]


Opened = tuple[str, WarehouseKind, Warehouse]
"""A warehouse that this process has open: its slug, its kind with its settings, and the thing itself."""


def beside(
    config: Config, kind: str, slug: str, settings: Mapping[str, Any], opened: Iterable[Opened]
) -> Sequence[Finding]:
    """The same in a process that has warehouses open. No file that it holds is opened a second time: its own one is asked, and
    another one's is refused. Raises ConfigError and NotFoundError."""
    checked = warehouses.checked(kind, settings)
    file = _file(base.configured(kind, checked, Place(slug, config.folder, config.warehouse)))
    for other, of_other, warehouse in opened:
        if file is None or file != _file(of_other):
            continue
        if other != slug:
            remedy = "give it a file of its own"
            return [Finding("open", False, f"the warehouse {other} has {file} open already", remedy)]
        return [Finding("open", True, f"{file} is open here and written"), _answers(warehouse)]
    return findings(config, kind, slug, settings)


def _file(kind: WarehouseKind) -> Path | None:
    return kind.file.resolve() if isinstance(kind, DuckDBKind) else None


def _answers(warehouse: Warehouse) -> Finding:
    try:
        warehouse.query("SELECT 1", max_rows=1, timeout_seconds=5.0)
    except HeadraceError as error:
        return Finding("query", False, str(error), "see what `headrace serve` prints")
    return Finding("query", True, "it answers")
