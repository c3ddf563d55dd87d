"""The API's OpenAPI document without a server: `python -m headrace.console.describing > openapi.json`. Without examples, which are of the day on which they
are made."""

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


def without_examples(node: Any, *, are_names: bool = False) -> Any:
    """`are_names`: the keys of `node` are names of properties or schemas, of which one may be called so."""
    if isinstance(node, list):
        return [without_examples(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: without_examples(value, are_names=key in ("properties", "schemas") and not are_names)
        for key, value in node.items()
        if are_names or key not in ("example", "examples")
    }


if __name__ == "__main__":
    json.dump(without_examples(description()), sys.stdout, indent=1, sort_keys=True)
