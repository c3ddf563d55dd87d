"""The archive in a bucket of Amazon S3 or of anything that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pyarrow import fs

from headrace.archive.storage import RETRY_SECONDS, S3
from headrace.config import ArchiveConfig
from headrace.errors import ConfigError, RetryableError

PIECE_BYTES: Final = 4_000_000
CONNECT_SECONDS: Final = 5.0
REQUEST_SECONDS: Final = 30.0


class S3Storage:
    """An object appears as a whole or not at all: small ones are one PUT, larger ones an upload in parts that only its
    completion makes visible. What a killed process left unfinished takes room until the bucket's own rule for
    incomplete uploads removes it."""

    def __init__(self, config: ArchiveConfig, drafts: Path) -> None:
        """Raises ConfigError for settings that cannot be right; nothing is asked of the storage yet."""
        bucket, _, prefix = config.path.removeprefix(S3).strip("/").partition("/")
        if not bucket:
            raise ConfigError(f"archive: path {config.path!r} names no bucket; write {S3}BUCKET/PREFIX")
        if bool(config.access_key) != bool(config.secret_key):
            raise ConfigError("archive: access_key and secret_key go together; set both, or neither for the role's")
        self.drafts = drafts
        self._root = f"{bucket}/{prefix}" if prefix else bucket
        endpoint = urlsplit(config.endpoint if "://" in config.endpoint else f"https://{config.endpoint}")
        self._files = fs.S3FileSystem(
            access_key=config.access_key or None,
            secret_key=config.secret_key or None,
            region=config.region or None,
            endpoint_override=endpoint.netloc or None,
            scheme=endpoint.scheme,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            background_writes=False,
            allow_delayed_open=True,  # with it a small object is one request
        )

    def put(self, name: str, draft: Path) -> None:
        with self._translated(name), draft.open("rb") as content:
            stream = self._open(name)
            # Not a context manager: closing completes the object, which an error here must not do.
            while piece := content.read(PIECE_BYTES):
                stream.write(piece)
            stream.close()
        draft.unlink()

    def write(self, name: str, content: bytes) -> None:
        with self._translated(name):
            stream = self._open(name)
            stream.write(content)
            stream.close()

    def read(self, name: str) -> bytes:
        with self._translated(name), self._files.open_input_file(self._path(name)) as file:
            return bytes(file.readall())

    def names(self, folder: str) -> Sequence[str]:
        return self._listed(folder, fs.FileType.File)

    def folders(self, folder: str) -> Sequence[str]:
        return self._listed(folder, fs.FileType.Directory)

    def _listed(self, folder: str, kind: fs.FileType) -> Sequence[str]:
        with self._translated(folder):
            found = self._files.get_file_info(fs.FileSelector(self._path(folder), allow_not_found=True))
            return sorted(one.base_name for one in found if one.type == kind)

    def remove(self, name: str) -> None:
        with self._translated(name):
            if self._files.get_file_info(self._path(name)).type != fs.FileType.NotFound:
                self._files.delete_file(self._path(name))

    def _open(self, name: str) -> Any:
        # By default the driver would compress what is called .zst, again.
        return self._files.open_output_stream(self._path(name), compression=None)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            # The driver's texts name what was asked, never a key.
            raise RetryableError(
                f"archive: cannot use {S3}{self._path(name)}: {error}; look at the bucket, its rights and the network",
                RETRY_SECONDS,
            ) from error
