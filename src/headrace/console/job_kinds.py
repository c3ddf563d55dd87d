"""The jobs that can be ordered on a warehouse, said plainly before they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec


class JobKind(msgspec.Struct, frozen=True):
    """`does` says what it does and `meanwhile` what goes on while it runs. `is_heavy`: it deserves a second thought. `can_end`: it can be
    cancelled while it runs. `why_not` is empty where the warehouse takes it."""

    job: str
    title: str
    does: str
    meanwhile: str
    is_heavy: bool = False
    can_end: bool = False
    why_not: str = ""


_LOADS_WAIT: Final = (
    "Loads of this warehouse wait in the log until it has ended; collecting and other warehouses go on."
)

JOB_KINDS: Final[Sequence[JobKind]] = (
    JobKind(
        "retype",
        "Change a column's type",
        "Converts what the column holds and applies the values that did not fit before. What does not convert without loss is kept as "
        "it was sent in headrace.discards, and comes back with a type that takes it. Later values are converted too.",
        f"{_LOADS_WAIT} It is one transaction: it cannot be cancelled in its middle.",
    ),
    JobKind(
        "backfill",
        "Backfill",
        "Loads what was collected before and is not there, for example after a wider selection: tables are made anew from the log and the "
        "archive, beside the present ones. What is there already stays once.",
        f"{_LOADS_WAIT} Queries see the old tables until the new ones are complete; the disk needs room for both.",
        is_heavy=True,
        can_end=True,
    ),
    JobKind(
        "rebuild",
        "Rebuild tables",
        "Makes tables anew from everything that the log and the archive still have, with the columns and types of now. Rows of which they "
        "have nothing any more are carried over. A value that was changed by hand is as it was sent afterwards.",
        f"{_LOADS_WAIT} Queries see the old tables until the new ones are complete; the disk needs room for both.",
        is_heavy=True,
        can_end=True,
    ),
    JobKind(
        "snapshot",
        "Snapshot",
        "Writes a copy of this moment as a file beside the warehouse's, for programs that read it while the server goes on loading.",
        "Loads wait while the file is copied. The disk needs room for the copy.",
    ),
    JobKind(
        "export",
        "Export as Parquet",
        "Writes tables as Parquet files into the folder exports of the data folder, a folder for each schema.",
        _LOADS_WAIT,
        can_end=True,
    ),
    JobKind(
        "email_rebuild",
        "Rebuild the e-mail model",
        "Empties all tables of the schema email; they are made anew from the tables of events, in increments between the loads that follow. "
        "Nobody needs this after a change of settings: the model does so itself.",
        "Loading goes on. Campaigns and reports are empty at first and complete again when the model has caught up.",
        is_heavy=True,
    ),
)
