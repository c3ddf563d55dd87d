"""The workspace's secret, a file of random bytes: under it write keys are digests and secret settings are sealed."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from headrace.errors import ConfigError
from headrace.workspace.database import Database
from headrace.workspace.destinations import DESTINATIONS
from headrace.workspace.sources import SOURCES
from headrace.workspace.warehouses import WAREHOUSES

SECRET_BYTES: Final = 32


def secret_of(file: Path, database: Database) -> bytes:
    """The file's content; it is made where there is none and nothing that is stored needs it. Raises ConfigError."""
    try:
        if not file.exists():
            with database.write() as connection:  # its lock makes this the only process that creates the file
                if not file.exists():
                    kept = (WAREHOUSES, DESTINATIONS)
                    needed = bool(SOURCES.every(connection)) or any(some.has_secrets(connection) for some in kept)
                    _create(file, needed=needed)
        secret = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"workspace: cannot read {file}: {error.strerror}; check its rights") from error
    if len(secret) != SECRET_BYTES:
        raise ConfigError(
            f"workspace: {file} must have {SECRET_BYTES} bytes, it has {len(secret)}; restore it from a backup"
        )
    return secret


def _create(file: Path, *, needed: bool) -> None:
    if needed:
        raise ConfigError(
            f"workspace: {file} is missing, and without it no write key and no secret of a warehouse or destination is known; "
            f"restore it from a backup. If there is none, run: head -c {SECRET_BYTES} /dev/urandom > {file}, then rotate every "
            "source's key and give every warehouse and destination its secrets again (headrace warehouse set, headrace destination set)"
        )
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(SECRET_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
