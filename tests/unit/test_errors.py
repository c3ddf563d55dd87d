"""The tree that is drawn on top of errors.py is the tree of its classes."""

from __future__ import annotations

import re

from headrace import errors


def drawn(docstring: str) -> dict[str, str | None]:
    """`{class: parent}` from the drawing; four columns are one level."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in docstring.splitlines():
        found = re.match(r"^(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w*Error)\b", line)
        if found is not None:
            level = len(found["indent"]) // 4
            path[level:] = [found["name"]]
            parents[found["name"]] = path[level - 1] if level else None
    return parents


def declared() -> dict[str, str | None]:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    return {c.__name__: None if c.__base__ is Exception else getattr(c.__base__, "__name__", None) for c in classes}


def test_the_drawn_tree_is_the_tree_of_the_classes() -> None:
    assert declared() == drawn(errors.__doc__ or "")


def test_a_class_that_is_drawn_at_another_place_is_noticed() -> None:
    moved = (errors.__doc__ or "").replace("│   └── QueryError", "├── QueryError    ")
    assert declared() != drawn(moved)


def test_every_error_says_what_the_caller_must_do() -> None:
    undocumented = [name for name in declared() if not (getattr(errors, name).__doc__ or "").strip()]
    assert undocumented == []


def test_errors_with_codes_keep_code_and_reason() -> None:
    request = errors.RequestError("event_not_defined", "event is missing")
    query = errors.QueryError("one SELECT only")
    rejected = errors.RejectedEventError("too_deep", "depth 101")
    retryable = errors.LogUnavailableError("disk full", 2.5)
    assert (request.status, request.code, str(request)) == (400, "event_not_defined", "event is missing")
    assert (query.status, query.code, query.reason) == (400, "query_refused", "one SELECT only")
    assert (rejected.code, str(rejected)) == ("too_deep", "depth 101")
    assert (retryable.retry_after_seconds, str(retryable)) == (2.5, "disk full")
