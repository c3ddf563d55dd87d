"""The OpenAPI document: what the framework finds in the routes, and what holds for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from litestar import Litestar
from litestar.serialization import encode_json

from headrace.console.problems import PROBLEM_JSON

_PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "required": ["status", "code", "detail", "title", "type"],
    "properties": {
        "status": {"type": "integer", "description": "As of the answer."},
        "code": {"type": "string", "description": "For programs; it never changes."},
        "detail": {"type": "string", "description": "The whole text."},
        "title": {"type": "string"},
        "step": {"type": "string", "description": "What was being done; empty where the text does not say."},
        "subject": {"type": "string", "description": "What is wrong."},
        "remedy": {"type": "string", "description": "What to do."},
        "type": {"type": "string"},
    },
}
_ARRAYS: Final = {
    "Condition": {
        "type": "array",
        "description": "Field, operator, value.",
        "prefixItems": [{"type": "string"}, {"type": "string"}, {}],
        "minItems": 2,
        "maxItems": 3,
    },
}
"""Structs that are written as arrays, which the framework describes as objects."""
_REFUSED: Final = {
    "4XX": "It is refused, with step, subject and remedy.",
    "5XX": "It cannot be done now; 503 says that the same may succeed later.",
}


def described(app: Litestar) -> dict[str, Any]:
    """As JSON values. Every operation tells its role (`x-role`), and that it refuses with problem details (RFC 9457)."""
    document: dict[str, Any] = json.loads(encode_json(app.openapi_schema.to_schema()))
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["schemas"].update(_ARRAYS)
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "`headrace token add`"},
        "session": {"type": "apiKey", "in": "cookie", "name": "headrace_session"},
    }
    roles = dict(_roles(app))
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            role = roles.get((path, method))
            if role is not None:
                operation["x-role"] = role
                operation["security"] = [{"token": []}, {"session": []}]
            _refuse(operation["responses"])
            for answer in operation["responses"].values():
                for media_type, content in answer.get("content", {}).items():
                    if "json" not in media_type:
                        content["schema"] = {}  # no JSON: its type says what it is
    return document


def _refuse(responses: dict[str, Any]) -> None:
    for status in [status for status in responses if status[0] in "45" and status != "503"]:
        del responses[status]
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, text in _REFUSED.items():
        responses[status] = {"description": text, "content": content}


def _roles(app: Litestar) -> Iterator[tuple[tuple[str, str], str]]:
    for route in app.routes:
        for one in getattr(route, "route_handlers", ()):
            for method in getattr(one, "http_methods", ()):
                if role := one.opt.get("role"):
                    yield (getattr(route, "path_format", route.path), str(method).lower()), role
