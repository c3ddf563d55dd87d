"""A child of the supervisor: `python -m headrace.app PARENT collector PARTITION FD` or `... worker FD`, settings on stdin."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from typing import Final

import msgspec

from headrace.app import logs
from headrace.config import Config
from headrace.errors import HeadraceError

logger = logging.getLogger("headrace.app")

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
EXIT_CONFIG: Final = 78  # sysexits.h EX_CONFIG


def main() -> int:
    parent, role, *rest = sys.argv[1:]
    die_with(int(parent))
    logs.set_up(role if role == "worker" else f"{role} {rest[0]}")
    config = msgspec.json.decode(sys.stdin.buffer.read(), type=Config)
    try:
        if role == "collector":
            from headrace.app.collecting import collect  # noqa: PLC0415 - each child loads only its own part

            collect(config, int(rest[0]), int(rest[1]))
        else:
            from headrace.app.working import work  # noqa: PLC0415 - see above

            work(config, int(rest[0]))
    except HeadraceError as error:
        logger.error("%s", error)  # noqa: TRY400 - the text says all; no traceback wanted
        return EXIT_CONFIG
    return 0


def die_with(parent: int) -> None:
    """The kernel kills this process when the supervisor is gone, also after its kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
