"""What a data folder knows of its demo: `demo.json`, which outlives the server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from headrace.console.demo import DemoStage
from headrace.errors import ConfigError
from headrace.workspace.workspace import Workspace

FILE: Final = "demo.json"
KINDS: Final = (("selligent-marketing-cloud", "Selligent"), ("http-api", "Shop"))


class DemoNote(msgspec.Struct, frozen=True, kw_only=True):
    """`sources`: the slugs of all that demos ever added here, the last two those of the last one. The month of `recipients` and `campaigns` ends
    at `until`: with the same it is the same again, event by event."""

    state: DemoStage = "none"
    sources: Sequence[str] = ()
    recipients: int = 0
    campaigns: int = 0
    until: datetime | None = None
    sent: int = 0
    expected: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None


class AddedSource(NamedTuple):
    nickname: str
    slug: str
    schema: str
    write_key: str


def read(folder: Path) -> DemoNote:
    """Raises ConfigError."""
    file = folder / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=DemoNote)
    except FileNotFoundError:
        return DemoNote()
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"demo: {file} cannot be read: {error}; remove it, its sources stay as they are") from None


def write(folder: Path, note: DemoNote) -> None:
    """All of it or nothing. Raises ConfigError."""
    file = folder / FILE
    partial = file.with_name(f".{FILE}.partial")
    try:
        partial.write_bytes(msgspec.json.encode(note))
        partial.replace(file)
    except OSError as error:
        raise ConfigError(f"demo: {file} cannot be written: {error.strerror}; make room, or mend its rights") from None


def add_sources(workspace: Workspace, folder: Path, state: DemoStage = "sending") -> tuple[AddedSource, AddedSource]:
    """A Selligent source and a shop, new ones each time, so that a second demo in the same folder is counted apart. They are noted as the demo's.

    `state` is what the next server is to know of it: `done` where a command looks after the rest itself."""
    known = read(folder).sources
    added = [workspace.add_source(kind, nickname) for kind, nickname in KINDS]
    mail, shop = (AddedSource(source.nickname, source.slug, source.schema, key) for source, key in added)
    write(folder, DemoNote(state=state, sources=[*known, mail.slug, shop.slug], started_at=datetime.now(UTC)))
    return mail, shop


def renewed_keys(workspace: Workspace, note: DemoNote) -> tuple[AddedSource, AddedSource]:
    """The last demo's sources with new write keys, as the former ones cannot be shown again. Raises NotFoundError where one is removed."""
    mail, shop = (_renewed(workspace, slug) for slug in note.sources[-2:])
    return mail, shop


def _renewed(workspace: Workspace, slug: str) -> AddedSource:
    source = workspace.source(slug)
    for key in source.keys[:-1]:
        workspace.retire_key(slug, key.last_four)
    write_key = workspace.rotate_key(slug)
    if source.keys:
        workspace.retire_key(slug, source.keys[-1].last_four)
    return AddedSource(source.nickname, slug, source.schema, write_key)
