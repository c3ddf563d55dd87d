"""Which segments go, and what goes with them unread."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from headrace.config import LogConfig
from headrace.log import _segment, chunk, hourly
from headrace.log.base import Tally
from headrace.log.hourly import Numbered

LOSSES: Final = "removed.json"


class Closed(NamedTuple):
    """A segment that another follows. Its offsets end at `end`, the next segment starts at `following`."""

    start: int
    following: int
    end: int
    size_bytes: int
    closed_at: float


class Loss(msgspec.Struct, frozen=True):
    """What a reader at `first` loses when all up to `next` is removed."""

    first: int
    next: int
    lost: dict[str, Tally]
    hours: Numbered = {}


def removable(
    closed: Sequence[Closed], active_bytes: int, needed: int, config: LogConfig, now: float
) -> Sequence[Closed]:
    """The oldest of the closed segments: those past the retention that end at `needed` or before, and whatever max_bytes forces."""
    total = active_bytes + sum(segment.size_bytes for segment in closed)
    for count, segment in enumerate(closed):
        is_due = total > config.retention_bytes or now - segment.closed_at > config.retention_seconds
        is_forced = bool(config.max_bytes) and total > config.max_bytes
        if not is_forced and not (is_due and segment.end <= needed):
            return closed[:count]
        total -= segment.size_bytes
    return closed


def remove(folder: Path, starts: Sequence[int]) -> list[Path]:
    """Remove segments, and what an earlier, interrupted call left of some."""
    removed = [_segment.path_of(folder, start) for start in starts]
    for path in removed:
        for file in _segment.files_of(path):
            file.unlink(missing_ok=True)
    if removed:
        for ending in ("-wal", "-shm", ".end"):
            for file in folder.glob(f"{'[0-9]' * 20}.sqlite{ending}"):
                if not file.with_name(file.name.removesuffix(ending)).exists():
                    file.unlink(missing_ok=True)
        _segment.make_durable(folder)
    return removed


def note_loss(folder: Path, noted: Loss, needed: int) -> None:
    """Keep it before anything is removed; what lies before `needed` interests nobody any more."""
    kept = [loss for loss in _losses(folder) if loss.next > needed and loss.first != noted.first]
    draft = folder / f"{LOSSES}.draft"
    draft.write_bytes(msgspec.json.encode([*kept, noted]))
    _segment.make_durable(draft)
    draft.rename(folder / LOSSES)
    _segment.make_durable(folder)


def noted_loss(folder: Path, first: int, end: int) -> Loss | None:
    """What was lost from an offset to the first one that is still there; None when that was not noted."""
    lost: dict[str, Tally] = {}
    hours: Numbered = {}
    at = first
    by_first = {loss.first: loss for loss in _losses(folder)}
    while at < end:
        loss = by_first.get(at)
        if loss is None:
            return None
        lost = chunk.added(lost, loss.lost)
        hourly.add(hours, loss.hours)
        at = loss.next
    return Loss(first, at, lost, hours)


def _losses(folder: Path) -> list[Loss]:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((folder / LOSSES).read_bytes(), type=list[Loss])
    return []
