"""How often a process looks for garbage that refers to itself."""

from __future__ import annotations

import gc
from typing import Final

ALLOCATIONS: Final = 50_000
"""Between two looks; Python's own 700 are a handful of requests."""


def settle() -> None:
    """Called once, when all modules are loaded: they stay, so they need never be looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS)
