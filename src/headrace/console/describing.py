"""The API's OpenAPI document without a server: `python -m headrace.console.describing > openapi.json`."""

from __future__ import annotations

import json
import sys
from typing import Any, cast

from litestar.serialization import encode_json

from headrace.config import WarehouseConfig
from headrace.console.access import INSIDER
from headrace.console.api import Working, api


def description() -> dict[str, Any]:
    """As /api/v1/openapi.json answers."""
    schema = api(cast("Working", None), WarehouseConfig(), lambda _: INSIDER).openapi_schema.to_schema()
    found: dict[str, Any] = json.loads(encode_json(schema))
    return found


if __name__ == "__main__":
    json.dump(description(), sys.stdout, indent=1, sort_keys=True)
