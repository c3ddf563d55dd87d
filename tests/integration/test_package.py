"""The wheel: the console's pages are in it, built, and ask nobody else."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATIC = "headrace/console/static/"
OUTSIDE = re.compile(rb"""(?:src|href|url|import|fetch|from)\s*[=(]?\s*["'`(]\s*(?:https?:)?//(?!www\.w3\.org)""")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built as pip builds it, without the isolation that would download what is installed here."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_pages_are_in_the_wheel_also_compressed(wheel: zipfile.ZipFile) -> None:
    names = [name.removeprefix(STATIC) for name in wheel.namelist() if name.startswith(STATIC)]
    assert {"index.html", "icon.svg"} <= set(names)
    scripts = [name for name in names if name.endswith((".js", ".css"))]
    assert len(scripts) > 20, "each page is a file of its own"
    assert {f"{name}.gz" for name in scripts} <= set(names)


def test_nothing_in_the_pages_is_loaded_from_elsewhere(wheel: zipfile.ZipFile) -> None:
    found = {
        name: OUTSIDE.findall(wheel.read(name))
        for name in wheel.namelist()
        if name.startswith(STATIC) and name.endswith((".js", ".css", ".html"))
    }
    assert {} == {name: hits for name, hits in found.items() if hits}
    assert OUTSIDE.search(b'<script src="https://example.com/x.js">'), "the control"


def test_the_first_page_is_small(wheel: zipfile.ZipFile) -> None:
    """Under 150 kB gzipped: what index.html names, before any page is opened."""
    index = wheel.read(f"{STATIC}index.html").decode()
    first = re.findall(r'(?:src|href)="/(assets/[^"]+)"', index)
    assert first
    assert 150_000 > sum(wheel.getinfo(f"{STATIC}{name}.gz").file_size for name in first) > 10_000
    assert "<script>" not in index, "nothing inline: the content security policy would refuse it"
