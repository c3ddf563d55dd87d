from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from server import Server

CI = bool(os.environ.get("CI"))

hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")  # how long an example takes says nothing on a machine that others use, too

CASES = Path(__file__).parent / "cases"


@pytest.fixture
def cases() -> Path:
    return CASES


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """`need("strace")` is the path of a command. Where it is missing the test is skipped, under CI it fails."""

    def path_of(command: str) -> str:
        path = shutil.which(command)
        if path is None:
            missing(f"the command {command} is not installed; `make setup` as root installs it")
        return str(path)

    return path_of


@pytest.fixture(scope="session")
def need_chromium(need: Callable[[str], str]) -> str:
    """The path of Chromium; of its headless shell where that is there, which draws the same with two thirds of the CPU."""
    return shutil.which("chromium-headless-shell") or need("chromium")


@pytest.fixture(scope="session")
def need_sdks(need: Callable[[str], str]) -> Path:
    """The folder of the real SDKs from npm, installed."""
    folder = Path(__file__).parent / "clients" / "node"
    if not (folder / "node_modules").is_dir():
        missing("the real SDKs are not installed; `make setup` installs them")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of this test alone, stopped by SIGTERM at its end."""
    with Server(tmp_path / "data") as running:
        yield running


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that add a source of their own and neither stop nor overload it."""
    with Server(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running


def missing(reason: str) -> None:
    if CI:
        pytest.fail(f"{reason}; under CI nothing may be missing")
    pytest.skip(reason)
