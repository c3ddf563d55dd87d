"""Documentation that cannot rot: settings, codes, warnings, commands and links are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace import config
from headrace.cli import app
from headrace.collector import accept, routes
from headrace.sources import base

ROOT = Path(__file__).parents[2]
TRACKING = (ROOT / "docs/tracking-api.md").read_text()


def test_every_setting_is_documented_as_it_is() -> None:
    assert config.documentation() == (ROOT / "docs/configuration.md").read_text(), "run python -m headrace.config"


def test_every_code_of_an_answer_is_documented() -> None:
    folder = ROOT / "src/headrace"
    sources = [*(folder / "collector").glob("*.py"), *(folder / "sources").glob("*.py")]
    found = set()
    for file in sources:
        found |= set(re.findall(r'(?:RequestError\(|_error\(\s*\d+,)\s*"([a-z_]+)"', file.read_text()))
        found |= set(re.findall(r'_object\([^"]*"([a-z_]+)"', file.read_text()))
    assert {"bad_request", "invalid_write_key", "too_deep"} <= found
    assert set() == {code for code in found if f"| `{code}` |" not in TRACKING}


def test_every_warning_is_documented() -> None:
    codes = {*accept.WARNINGS, *(code for kind in base.kinds().values() for code in kind.warnings)}
    assert set() == {code for code in codes if f"`{code}`" not in TRACKING and f"`{code}:NAME`" not in TRACKING}


def test_every_route_is_documented() -> None:
    documented = TRACKING.replace("`, `", " ")
    missing = {path for path in routes.ROUTES if path not in documented and path.rsplit("/", 1)[1] not in documented}
    assert set() == missing


def test_every_command_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {group.name for group in app.registered_groups if group.name}
    assert {"serve", "status", "source"} <= names
    assert set() == {name for name in names if f"`headrace {name}" not in readme}


@pytest.mark.parametrize(
    "file", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda file: file.name
)
def test_links_between_documents_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text())
    assert [] == [link for link in links if not (file.parent / link).exists()]
