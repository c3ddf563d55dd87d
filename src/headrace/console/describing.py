"""The API's OpenAPI document without a server: `python -m headrace.console.describing > openapi.json`."""

from __future__ import annotations

import json
import sys
from typing import Any, cast

from headrace.config import WarehouseConfig
from headrace.console.access import INSIDER
from headrace.console.api import Working, api
from headrace.console.openapi import described


def description() -> dict[str, Any]:
    """As /api/v1/openapi.json answers."""
    return described(api(cast("Working", None), WarehouseConfig(), lambda _: INSIDER))


if __name__ == "__main__":
    json.dump(description(), sys.stdout, indent=1, sort_keys=True)
