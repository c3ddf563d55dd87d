"""What a collector process is made of."""

from __future__ import annotations

import socket

import uvloop

from headrace.app import folder, memory
from headrace.collector.serve import serve
from headrace.config import Config
from headrace.log.sqlite import SqliteLog
from headrace.workspace.workspace import Workspace


def collect(config: Config, partition: int, descriptor: int) -> None:
    """Run until told to stop. Raises FolderInUseError when another process writes this partition."""
    writer = SqliteLog(config.folder / folder.LOG, config.log).writer(partition)
    workspace = Workspace.open(config.folder)
    listening = socket.socket(fileno=descriptor)
    listening.setblocking(False)
    memory.settle()
    uvloop.run(serve(writer, workspace, config, listening))
