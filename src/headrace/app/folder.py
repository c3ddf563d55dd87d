"""The data folder: who works on it, and where things lie in it."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import Final

from headrace.config import Config, address
from headrace.errors import ConfigError, FolderInUseError

LOG: Final = "log"
WAREHOUSE: Final = "warehouse.duckdb"
WORKER_SOCKET: Final = "worker.sock"
LOCK: Final = "serve.lock"


def prepare(folder: Path) -> None:
    """Make the folder, readable by its owner only. Raises ConfigError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"data folder: cannot make {folder}: {error.strerror}; give --data a place that can be written"
        ) from None


def lock(folder: Path, *, patience_seconds: float = 0.0) -> int:
    """Hold the folder for one server; the descriptor holds it as long as any process has it open.

    Raises FolderInUseError. `patience_seconds` bridges the moment in which a killed server's processes end."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            holder = os.pread(descriptor, 300, 0).decode("ascii", "replace").partition("\n")[0].strip() or "unknown"
            os.close(descriptor)
            raise FolderInUseError(
                f"serve: another headrace server (process {holder}) works on {folder}; stop it or give --data another folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor


def note_address(descriptor: int, url: str) -> None:
    """Write down where the server that holds the lock collects."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n{url}\n".encode(), 0)


def address_of(folder: Path) -> str | None:
    """Where the server of this folder collects; None while none runs."""
    if not is_served(folder):
        return None
    try:
        lines = (folder / LOCK).read_text().splitlines()
    except OSError:
        return None
    return lines[1] if len(lines) > 1 else None


def local_address(folder: Path) -> str | None:
    """As `address_of`, in a form that this machine can connect to."""
    served = address_of(folder)
    return None if served is None else served.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:")


def tracking_url(config: Config) -> str:
    """The tracking API, without a path: its public address if that is set, else where the folder's server listens, or would."""
    if config.collector.public_url:
        return config.collector.public_url.rstrip("/")
    served = local_address(config.folder)
    if served is not None:
        return served
    host, port = address(config.collector.listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised here, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_served(folder: Path) -> bool:
    """Whether a server works on this folder now."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def listen_tcp(host: str, port: int, option: str) -> socket.socket:
    """A listening socket. Raises ConfigError that names the address and the option to change it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=4_096)
    except OSError as error:
        raise ConfigError(
            f"serve: cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
            f"stop what uses it, or choose another address of this machine with {option} HOST:PORT"
        ) from None
    listening.setblocking(False)
    return listening


def short_path(path: Path) -> tuple[str, int]:
    """A name of `path` that fits a Unix socket's 108 bytes, and the descriptor of its folder that keeps it valid: close it afterwards."""
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{descriptor}/{path.name}", descriptor


def listen_unix(path: Path) -> socket.socket:
    """A listening Unix socket of mode 0600 in place of whatever lies there."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    name, descriptor = short_path(path)
    before = os.umask(0o177)
    try:
        listening.bind(name)
    finally:
        os.umask(before)
        os.close(descriptor)
    listening.listen(128)
    listening.setblocking(False)
    return listening
