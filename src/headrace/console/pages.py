"""The console's pages as `make web` built them: files, and index.html for every other address, so that deep links work."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

STATIC: Final = Path(__file__).parent / "static"
ASSETS: Final = "assets/"
_FOREVER: Final = "public, max-age=31536000, immutable"
_NOT_BUILT: Final = (
    "headrace: the console's pages are not built here. The API under /api/v1 works.\n"
    "In a checkout `make web` builds them; a released package has them.\n"
)
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}


class Page(NamedTuple):
    """An answer: `headers` by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes


def page(path: str, headers: Mapping[str, str], folder: Path = STATIC) -> Page:
    """What a GET of the path answers. `path` is decoded and begins with a slash."""
    name = path.lstrip("/")
    file = _file(folder, name)
    if file is None and name.startswith(ASSETS):
        return Page(
            404, {"content-type": "text/plain; charset=utf-8"}, b"There is no such file; load the page again.\n"
        )
    file = file or _file(folder, "index.html")
    if file is None:
        return Page(503, {"content-type": "text/plain; charset=utf-8"}, _NOT_BUILT.encode())
    known = file.stat()
    packed = file.with_name(f"{file.name}.gz")
    is_packed = "gzip" in headers.get("accept-encoding", "").lower() and packed.is_file()
    tag = f'"{known.st_mtime_ns:x}-{known.st_size:x}{"-gz" if is_packed else ""}"'
    answered = {
        "content-type": _type(file),
        "etag": tag,
        "vary": "accept-encoding",
        "cache-control": _FOREVER if name.startswith(ASSETS) else "no-cache",
    }
    if headers.get("if-none-match") == tag:
        return Page(304, answered, b"")
    if is_packed:
        answered["content-encoding"] = "gzip"
    return Page(200, answered, (packed if is_packed else file).read_bytes())


def _file(folder: Path, name: str) -> Path | None:
    """A file of the folder, never of another one."""
    if not name or "\0" in name or "\\" in name or ".." in name.split("/"):
        return None
    try:
        file = (folder / name).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None
    except (OSError, ValueError):  # a name that is too long, or none that the system can write
        return None


def _type(file: Path) -> str:
    kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind in {"text/html", "text/css", "text/plain"} else kind


async def serve(scope: Any, send: Any, headers: Mapping[str, str]) -> None:
    """The ASGI answer to a request that is not the API's."""
    if scope["method"] in {"GET", "HEAD"}:
        found = page(scope["path"], headers)
    else:
        found = Page(
            405, {"allow": "GET, HEAD", "content-type": "text/plain; charset=utf-8"}, b"Pages are only read.\n"
        )
    answered = [(name.encode(), value.encode()) for name, value in found.headers.items()]
    answered.append((b"content-length", str(len(found.body)).encode()))
    await send({"type": "http.response.start", "status": found.status, "headers": answered})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else found.body})
