"""Whether a warehouse can be used: its kind's check, in whose words no secret stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.config import Config
from headrace.warehouses import base
from headrace.warehouses.base import Finding, Place
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
