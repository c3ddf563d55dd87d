"""Python imports this at its start in every process of a server under test, because its folder is in PYTHONPATH.

Replaces parts of the server's processes, so that production code needs no switch for it: CRASH_STAND_INS names modules
of this folder, each with a function `stand_in(role)`."""

from __future__ import annotations

import importlib
import os
import sys

names = [name for name in os.environ.get("CRASH_STAND_INS", "").split(",") if name]
role = ""
if "headrace.app" in sys.orig_argv:
    role = "worker" if "worker" in sys.orig_argv else "collector"
elif "serve" in sys.orig_argv:
    role = "supervisor"
for name in names if role else ():
    importlib.import_module(name).stand_in(role)
