"""What the workspace keeps, as frozen structs. None of them holds a secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class WriteKey(msgspec.Struct, frozen=True):
    """A live write key: `digest` is its HMAC-SHA256 under the workspace's secret, hex; `last_four` its last characters."""

    digest: str
    last_four: str
    created_at: datetime


class Source(msgspec.Struct, frozen=True):
    """A source. `slug` never changes and is the source's name in the log, the books and headrace.rejected; `kind` is the
    slug of its catalogue entry; `schema` its namespace in every warehouse. `settings` are those that the kind declares,
    as configured (JSON values; absent ones have the kind's defaults). A removed source is kept, so that its events still load and its schema stays taken."""

    slug: str
    kind: str
    nickname: str
    schema: str
    enabled: bool
    created_at: datetime
    keys: tuple[WriteKey, ...] = ()
    settings: dict[str, Any] = {}
    removed_at: datetime | None = None


class Warehouse(msgspec.Struct, frozen=True):
    """A configured warehouse. `slug` never changes and is the name of its consumer of the log; `kind` is the slug of its catalogue
    entry. `settings` are those that were given, for showing: secret ones are masked, and `Workspace.revealed_settings` alone
    tells them. `selection` says by source slug what of a source is loaded (absent: everything), as it was given.
    `retyped` names the columns (`schema.table.column`) whose type a person chose: what is sent to them is converted, as far as that loses nothing. A
    removed warehouse is kept, so that no other ever gets its slug."""

    slug: str
    kind: str
    nickname: str
    created_at: datetime
    settings: dict[str, Any] = {}
    paused: bool = False
    selection: dict[str, Any] = {}
    retyped: tuple[str, ...] = ()
    removed_at: datetime | None = None


class Destination(msgspec.Struct, frozen=True):
    """A configured destination. `slug` never changes, is the name of its consumer of the log, and no warehouse has the same; `kind`
    is the slug of its catalogue entry. `sources` are the slugs of those whose events go to it. `settings` are those that were given, for showing:
    secret ones are masked, and `Workspace.revealed_destination_settings` alone tells them. `paused` is what a person ordered;
    `disabled` says why headrace itself switched it off, until a person resumes it. A removed destination is kept, so that no other ever gets its slug."""

    slug: str
    kind: str
    nickname: str
    created_at: datetime
    sources: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    paused: bool = False
    disabled: str | None = None
    removed_at: datetime | None = None
