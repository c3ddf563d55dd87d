"""What alerts know from one check to the next: a small JSON file in the data folder, written whole and at once.

The server alone writes it; the command line reads it. What is to be sent stands in it before it is sent, so that a kill loses no notice
and repeats at most the one that was on its way."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from headrace.alerts.lasting import Lasting
from headrace.alerts.notices import Notice

FILE: Final = "alerts.json"
logger = logging.getLogger(__name__)


class Waiting(msgspec.Struct, frozen=True):
    """A notice that a channel has not taken yet."""

    notice: Notice
    channel: str
    attempts: int = 0
    due_at: datetime | None = None
    """Not before; None is at once."""
    error: str = ""


class Trouble(msgspec.Struct, frozen=True):
    """A channel that takes nothing now. `lost` are notices that were given up."""

    since: datetime | None = None
    error: str = ""
    attempts: int = 0
    due_at: datetime | None = None
    lost: int = 0
    sent_at: datetime | None = None
    """When it last took a notice."""


class State(msgspec.Struct, frozen=True):
    """`lasting` by alert and subject, `errors` of alerts that cannot be checked, `troubles` by channel."""

    checked_at: datetime | None = None
    lasting: Mapping[str, Mapping[str, Lasting]] = {}
    errors: Mapping[str, str] = {}
    waiting: tuple[Waiting, ...] = ()
    troubles: Mapping[str, Trouble] = {}


def read(folder: Path) -> State | None:
    """What the file says; None where there is none or it cannot be read."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        logger.error("alerts: cannot read %s: %s", folder / FILE, error)  # noqa: TRY400 - the reason is the text
        return None


def begun(folder: Path) -> State:
    """For a server that starts. What nobody was told of must hold anew, since nobody looked meanwhile; a file that cannot be read is
    put aside."""
    found = read(folder)
    if found is None:
        with contextlib.suppress(OSError):
            (folder / FILE).replace(folder / f"{FILE}.damaged")
        return State()
    told = {
        alert: {
            subject: msgspec.structs.replace(lasting, good_since=None)
            for subject, lasting in by_subject.items()
            if lasting.told_at is not None
        }
        for alert, by_subject in found.lasting.items()
    }
    return msgspec.structs.replace(found, lasting=told, errors={})


def write(folder: Path, state: State) -> None:
    """All of it or nothing, durable. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{FILE}.", dir=folder)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.json.encode(state))
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(folder / FILE)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
