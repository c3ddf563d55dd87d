"""How often tests repeat what they repeat: a little in the suite, so that it stays short, in full by `make test DEPTH=full`."""

from __future__ import annotations

import os
from typing import Final, TypeVar

Repeated = TypeVar("Repeated")

FULL: Final = os.environ.get("DEPTH") == "full"


def depth(usual: Repeated, full: Repeated) -> Repeated:
    """`usual` in the suite; each guarantee and its control are looked at with either."""
    return full if FULL else usual
