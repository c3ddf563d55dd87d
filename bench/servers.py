"""What is measured: nginx, a collector process alone, or a whole `headrace serve`, each on a free loopback port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from headrace.app.folder import LOG
from headrace.app.supervisor import Child
from headrace.config import CollectorConfig, Config, ConsoleConfig
from headrace.log.base import Tally
from headrace.log.sqlite import SqliteLog
from headrace.workspace.workspace import Workspace

START_SECONDS = 30.0

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200; }}
    }}
}}
"""


class Running(NamedTuple):
    """`pids` by role. `console_port` where there is a console."""

    port: int
    pids: dict[str, int]
    console_port: int = 0


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _listening() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0), backlog=4_096)
    listening.setblocking(False)
    return listening


def add_sources(folder: Path, kinds: Sequence[str]) -> dict[str, str]:
    """A source of each kind in a workspace, new or not; their write keys by kind."""
    with Workspace.open(folder) as workspace:
        return {kind: workspace.add_source(kind, f"bench {kind}")[1] for kind in kinds}


def slug(kind: str) -> str:
    """Of the first source of that kind that `add_sources` made."""
    return f"bench-{kind}"


def tallies(folder: Path) -> Tally:
    """What a log counts, over all sources."""
    log = SqliteLog(folder / LOG, Config().log)
    totals = [tally for partition in log.partitions() for tally in log.reader(partition).totals().values()]
    return Tally(sum(tally.accepted for tally in totals), sum(tally.refused for tally in totals))


@contextmanager
def collector(folder: Path) -> Iterator[Running]:
    """One collector process with the settings that `headrace serve` has by default, and no worker beside it."""
    listening = _listening()
    config = Config(data=str(folder))
    child = Child("collector", ("collector", "0", str(listening.fileno())), config, (listening.fileno(),))
    port = listening.getsockname()[1]
    try:
        pid = _started(child)
        _wait_for(port, "/v1/health")
        yield Running(port, {"collector": pid})
    finally:
        child.end()
        child.wait(time.monotonic() + 10)
        listening.close()


@contextmanager
def worker(folder: Path) -> Iterator[int]:
    """A worker process alone; its id."""
    listening = _listening()
    child = Child("worker", ("worker", str(listening.fileno())), Config(data=str(folder)), (listening.fileno(),))
    try:
        pid = _started(child)
        _wait_for(listening.getsockname()[1], "/health")
        yield pid
    finally:
        child.end()
        child.wait(time.monotonic() + 10)
        listening.close()


def _started(child: Child) -> int:
    before = {process.pid for process in psutil.Process().children()}
    child.start()
    (pid,) = {process.pid for process in psutil.Process().children()} - before
    return pid


@contextmanager
def nginx(folder: Path) -> Iterator[Running]:
    """Raises FileNotFoundError when it is not installed."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise FileNotFoundError("nginx is not installed; `make bench` as root installs Debian's nginx-light")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port))
    master = subprocess.Popen([program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)])
    try:
        _wait_for(port, "/")
        (worker,) = psutil.Process(master.pid).children()
        yield Running(port, {"nginx": worker.pid})
    finally:
        master.terminate()
        master.wait(10)


@contextmanager
def serve(folder: Path) -> Iterator[Running]:
    """A whole server with its defaults."""
    config = Config(
        data=str(folder),
        collector=CollectorConfig(listen=f"127.0.0.1:{free_port()}"),
        console=ConsoleConfig(listen=f"127.0.0.1:{free_port()}"),
    )
    arguments = ["serve", "--collector", config.collector.listen, "--console", config.console.listen]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    server = subprocess.Popen(
        [sys.executable, "-m", "headrace", *arguments, "--data", config.data],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    port = int(config.collector.listen.rpartition(":")[2])
    try:
        _wait_for(port, "/v1/health")
        console_port = int(config.console.listen.rpartition(":")[2])
        _wait_for(console_port, "/health")
        pids = {"supervisor": server.pid}
        for child in psutil.Process(server.pid).children():
            pids["collector" if "collector" in child.cmdline() else "worker"] = child.pid
        yield Running(port, pids, console_port)
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(port: int, path: str) -> None:
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > ends:
            raise SystemExit(f"nothing answers on port {port} after {START_SECONDS:.0f} s")
        time.sleep(0.05)
