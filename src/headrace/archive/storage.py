"""Where the archive's files lie: a folder, or a bucket of an S3-compatible storage."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from headrace.config import ArchiveConfig
from headrace.errors import ConfigError, RetryableError

S3: Final = "s3://"
DRAFTS: Final = ".drafts"
RETRY_SECONDS: Final = 10.0


class Storage(Protocol):
    """Names are relative to the archive's root, with `/`. Every method raises RetryableError while the storage cannot be used.

    For any thread."""

    drafts: Path
    """A local folder for files that are being written; whatever is in it at a start is left from before."""

    def put(self, name: str, draft: Path) -> None:
        """Store the draft's content under the name, durable when this returns: whole or not at all. An older file of that
        name is replaced; the draft is used up."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """The same for content that is small."""
        ...

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        ...

    def names(self, folder: str) -> Sequence[str]:
        """The names of the files in a folder, without it; none where there is no such folder."""
        ...

    def folders(self, folder: str) -> Sequence[str]:
        """The names of the folders in a folder."""
        ...

    def remove(self, name: str) -> None:
        """Nothing happens when there is no such file."""
        ...


def open_storage(config: ArchiveConfig, data: Path) -> Storage:
    """`data` is the data folder. Raises ConfigError when the place cannot be what the settings say."""
    if config.path.startswith(S3):
        from headrace.archive._s3 import S3Storage  # noqa: PLC0415 - pyarrow is heavy

        return S3Storage(config, data / "archive" / DRAFTS)
    if "://" in config.path:
        raise ConfigError(f"archive: path {config.path!r} is neither a folder nor {S3}BUCKET/PREFIX")
    return FolderStorage(Path(config.path) if config.path else data / "archive")


class FolderStorage:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.drafts = root / DRAFTS

    def put(self, name: str, draft: Path) -> None:
        with _translated(name):
            _make_durable(draft)
            place = self._root / name
            self._make_folder(place.parent)
            draft.replace(place)
            _make_durable(place.parent)

    def write(self, name: str, content: bytes) -> None:
        with _translated(name):
            self.drafts.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self.drafts / uuid.uuid4().hex
            try:
                draft.write_bytes(content)
                self.put(name, draft)
            finally:
                draft.unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        with _translated(name):
            return (self._root / name).read_bytes()

    def names(self, folder: str) -> Sequence[str]:
        return self._listed(folder, is_folder=False)

    def folders(self, folder: str) -> Sequence[str]:
        return self._listed(folder, is_folder=True)

    def _listed(self, folder: str, *, is_folder: bool) -> Sequence[str]:
        with _translated(folder):
            try:
                with os.scandir(self._root / folder) as entries:
                    return sorted(entry.name for entry in entries if entry.is_dir() == is_folder)
            except FileNotFoundError:
                return []

    def remove(self, name: str) -> None:
        with _translated(name):
            (self._root / name).unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        """With all above it, each durable in the one above: a file whose folder's name is lost is lost too."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _make_durable(folder.parent)


def _make_durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RetryableError(
            f"archive: cannot use {error.filename or name}: {error.strerror or error}; make room or mend the disk",
            RETRY_SECONDS,
        ) from error
