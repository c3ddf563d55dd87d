"""A kind of warehouse for tests of what keeps and shows settings: it has secrets, and it checks by what its settings say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

import msgspec
import pytest

from headrace.warehouses import base
from headrace.warehouses.base import Finding, WarehouseKind, WarehouseSettings

PASSWORD = "geheim-Über%7E9"
DSN = "postgresql://ada:geheim-%C3%9Cber%257E9@db.example:5432/events?sslmode=require"
"""Holds PASSWORD, escaped."""
SHOWN_DSN = "postgresql://ada:***@db.example:5432/events?sslmode=require"
ESCAPED = "geheim-%C3%9Cber%257E9"
TOKEN = "tok-4711-zu-gut"


class MadeSettings(WarehouseSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    dsn: Annotated[str, msgspec.Meta(description="Where the database is.", extra={"secret": True})] = ""
    token: Annotated[str, msgspec.Meta(description="A key.", extra={"secret": True})] = ""
    port: Annotated[int, msgspec.Meta(description="A number.", ge=1)] = 5432
    tables: Annotated[dict[str, str], msgspec.Meta(description="An object.")] = msgspec.field(default_factory=dict)
    step: Annotated[str, msgspec.Meta(description="The step that fails; empty: none.")] = ""


class Made(WarehouseKind):
    title = "Made database"
    summary = "A warehouse that is only there in tests."
    docs_url = "https://example.com/made"
    guarantee = "per table"
    tried = "not tried on a live account"
    setup = ("CREATE ROLE headrace;",)
    Settings = MadeSettings

    def check(self) -> Sequence[Finding]:
        settings = cast("MadeSettings", self.settings)
        found: list[Finding] = []
        for step in ("network", "login", "schema"):
            if step == settings.step:
                text = f"{step}: cannot use {settings.dsn} with {PASSWORD}"
                return [*found, Finding(step, False, text, f"GRANT ALL TO ada -- not {settings.token}")]
            found.append(Finding(step, True, f"{self.place.slug}: {step} works"))
        return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> type[WarehouseKind]:
    """The kind `made` is in the catalogue."""
    kinds: dict[str, Any] = {**base.kinds(), "made": Made}
    monkeypatch.setattr(base, "kinds", lambda: kinds)
    return Made
