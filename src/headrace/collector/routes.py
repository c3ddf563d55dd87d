"""Where the tracking API can be posted to."""

from __future__ import annotations

from typing import Final, NamedTuple


class Route(NamedTuple):
    """`kind`: event (one, its type from the path), batch, validate, metrics of the browser SDK (dropped)."""

    kind: str
    type: str | None = None
    browser: bool = False


_TYPES_BY_LETTER: Final = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
ROUTES: Final[dict[str, Route]] = {
    "/v1/batch": Route("batch"),
    "/v1/import": Route("batch"),
    "/v1/b": Route("batch", browser=True),
    "/v1/m": Route("drop"),
    "/v1/validate": Route("validate"),
    **{f"/v1/{kind}": Route("event", kind) for kind in _TYPES_BY_LETTER.values()},
    **{f"/v1/{letter}": Route("event", kind, browser=True) for letter, kind in _TYPES_BY_LETTER.items()},
    **{f"/api/s/{kind}": Route("event", kind) for kind in ("track", "page", "identify", "group")},
}
PIXELS: Final = {f"/v1/pixel/{kind}": kind for kind in _TYPES_BY_LETTER.values()}
PATHS_BY_URL: Final = {path.encode(): path for path in ROUTES}
