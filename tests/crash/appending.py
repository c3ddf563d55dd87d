"""A child of the log's fault tests: appends chunks and prints the ids of each one after its append returned.

`appending.py FOLDER COUNT MODE`: mode `stop` ends at the first failure at once, like a kill; `go-on` tries the next chunk;
`unmarked` is `stop` with a writer that does not note where a dead segment ends: the control, which must fail.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from headrace.config import LogConfig
from headrace.errors import LogUnavailableError
from headrace.log import _segment
from headrace.log.sqlite import SqliteLog
from log_entries import append


def main() -> None:
    folder, count, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if mode == "unmarked":
        _segment.write_mark = lambda *_: None
    writer = SqliteLog(folder, LogConfig()).writer(0)
    begin = writer.next
    for number in range(count):
        ids = [f"{begin}.{number}.{n}" for n in range(20)]
        try:
            append(writer, *ids)
        except LogUnavailableError:
            print("failed", flush=True)
            if mode in ("stop", "unmarked"):
                os._exit(0)
        else:
            print(*ids, flush=True)
    os._exit(0)  # like a kill: nothing is closed, so the journal stays as it is


if __name__ == "__main__":
    main()
