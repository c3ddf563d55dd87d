"""The lake's files: written so that what the catalogue names survives a power cut, and opened to DuckDB."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, Final, cast

from fsspec.implementations.arrow import ArrowFSWrapper  # type: ignore[import-untyped]
from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

PROTOCOL: Final = "lake"
"""How DuckDB's paths of files in S3-compatible storage begin: `lake://bucket/key`."""


class LakeFiles(PyArrowFileIO):
    """pyiceberg's own, with two changes: local files are on the disk when they are closed, and one connection to the
    storage serves all tables. Named by the catalogue's property `py-io-impl`."""

    _shared: Final[dict[Any, Any]] = {}
    _sharing: Final = Lock()

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        own = self.fs_by_scheme
        key = tuple(sorted((name, value) for name, value in properties.items() if name.startswith("s3.")))

        def shared(scheme: str, netloc: str | None = None) -> Any:
            with self._sharing:
                place = (key, scheme, netloc)
                if place not in self._shared:
                    self._shared[place] = own(scheme, netloc)
                return self._shared[place]

        self.fs_by_scheme = cast("Callable[[str, str | None], Any]", shared)

    def new_output(self, location: str) -> PyArrowFile:
        output = super().new_output(location)
        scheme, _, path = self.parse_location(location, self.properties)
        if scheme != "file":
            return output
        return _LocalFile(location, path, self.fs_by_scheme(scheme, ""))

    def remove_folder(self, location: str) -> None:
        """With everything below it; nothing happens when there is none."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        filesystem = self.fs_by_scheme(scheme, netloc)
        if filesystem.get_file_info(path).type.name == "Directory":
            filesystem.delete_dir(path)

    def listed(self, location: str) -> dict[str, float]:
        """Every file below a place with the moment of its last change, in seconds since 1970."""
        import pyarrow.fs  # noqa: PLC0415 - already loaded by pyiceberg, named here for its class alone

        scheme, netloc, path = self.parse_location(location, self.properties)
        chosen = pyarrow.fs.FileSelector(path, recursive=True, allow_not_found=True)
        found = self.fs_by_scheme(scheme, netloc).get_file_info(chosen)
        beginning = location[: len(location) - len(path)]
        return {
            beginning + info.path: info.mtime_ns / 1e9
            for info in found
            if info.type.name == "File" and info.mtime_ns is not None
        }


class _LocalFile(PyArrowFile):
    def __init__(self, location: str, path: str, filesystem: Any) -> None:
        super().__init__(location=location, path=path, fs=filesystem)
        self._local = Path(path)

    def create(self, overwrite: bool = False) -> OutputStream:  # noqa: FBT001, FBT002 -- pyiceberg's signature
        _make_folder(self._local.parent)
        return cast("OutputStream", _Synced(self._local, "wb" if overwrite else "xb"))


class _Synced(io.BufferedWriter):
    """On the disk once closed: the catalogue must never name what a power cut takes away."""

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(io.FileIO(path, mode), 1_000_000)
        self._folder = path.parent

    def close(self) -> None:
        if not self.closed:
            self.flush()
            os.fsync(self.fileno())
            super().close()
            _on_disk(self._folder)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _on_disk(folder.parent)


def _on_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class StorageForDuckDB(ArrowFSWrapper):  # type: ignore[misc]  # fsspec ships no types
    """pyarrow's file system as one that DuckDB can be given."""

    protocol = PROTOCOL

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return path.removeprefix(f"{PROTOCOL}://")


def duckdb_path(location: str) -> str:
    """What DuckDB calls a file or folder of the lake."""
    scheme, rest = location.split("://", 1)
    return rest if scheme == "file" else f"{PROTOCOL}://{rest}"
