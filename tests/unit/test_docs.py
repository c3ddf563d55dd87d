"""Documentation that cannot rot: settings, codes, warnings, commands and links are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace import config
from headrace.catalog import declared_settings
from headrace.cli import app
from headrace.collector import accept, routes
from headrace.destinations import base as destinations
from headrace.sources import base
from headrace.warehouses import base as warehouses

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


def test_every_command_about_warehouses_is_documented() -> None:
    text = (ROOT / "docs/warehouses.md").read_text()
    (group,) = [group.typer_instance for group in app.registered_groups if group.name == "warehouse"]
    assert group is not None
    names = {command.name or command.callback.__name__ for command in group.registered_commands if command.callback}
    assert {"add", "retype", "export"} <= names
    assert set() == {name for name in names if f"headrace warehouse {name}" not in text}


def documentation_of(slug: str) -> str:
    file = ROOT / f"docs/warehouses/{slug}.md"
    assert file.exists(), f"each kind of warehouse has its page: {file.relative_to(ROOT)} is missing"
    return file.read_text()


def settings_missing_in(text: str, kind: type[warehouses.WarehouseKind | destinations.DestinationKind]) -> set[str]:
    return {setting.name for setting in declared_settings(kind.Settings) if f"`{setting.name}`" not in text}


@pytest.mark.parametrize("slug", warehouses.kinds())
def test_every_kind_of_warehouse_has_its_page_with_every_setting(slug: str) -> None:
    assert set() == settings_missing_in(documentation_of(slug), warehouses.kind(slug))
    assert f"(warehouses/{slug}.md)" in (ROOT / "docs/warehouses.md").read_text()


@pytest.mark.parametrize("slug", destinations.kinds())
def test_every_kind_of_destination_has_its_page_with_every_setting_of_its_own(slug: str) -> None:
    kind = destinations.kind(slug)
    file = ROOT / f"docs/destinations/{slug}.md"
    assert file.exists(), f"each kind of destination has its page: {file.relative_to(ROOT)} is missing"
    common = set(destinations.DestinationSettings.__struct_fields__)
    assert set() == settings_missing_in(file.read_text(), kind) - common
    overview = (ROOT / "docs/destinations.md").read_text()
    assert f"(destinations/{slug}.md)" in overview
    assert set() == {name for name in common if f"`{name}`" not in overview}


@pytest.mark.parametrize("slug", warehouses.kinds())
def test_a_setting_that_a_page_does_not_name_is_missed(slug: str) -> None:
    """The control of the test above."""
    kind = warehouses.kind(slug)
    names = [setting.name for setting in declared_settings(kind.Settings)]
    assert set(names[:1]) == settings_missing_in(" ".join(f"`{name}`" for name in names[1:]), kind)


def test_every_setting_of_a_warehouse_has_a_description() -> None:
    assert [] == [
        (slug, setting.name)
        for slug, kind in warehouses.kinds().items()
        for setting in declared_settings(kind.Settings)
        if not setting.description
    ]


@pytest.mark.parametrize(
    "file", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda file: file.name
)
def test_links_between_documents_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text())
    assert [] == [link for link in links if not (file.parent / link).exists()]


def test_each_target_of_make_is_made_once_and_each_that_is_told_is_there() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    targets = [line.split(":")[0] for line in lines if re.match(r"^[a-z-]+:(?!=)", line)]
    assert sorted(set(targets)) == sorted(targets)
    told = {found[1] for line in lines if (found := re.search(r'@echo "make ([a-z-]+)', line))}
    phony = {name for line in lines if line.startswith(".PHONY:") for name in line.split()[1:]}
    assert told
    assert set() == (told | phony) - set(targets)
