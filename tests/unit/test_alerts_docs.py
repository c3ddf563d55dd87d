"""docs/alerts.md names every condition, channel, setting, state and command that there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from headrace.alerts.base import AlertSettings
from headrace.alerts.channels import CHANNELS
from headrace.alerts.conditions import CONDITIONS
from headrace.alerts.lasting import Told
from headrace.catalog import declared_settings
from headrace.cli import alert, alert_channel
from headrace.destinations.base import CODES

TEXT = (Path(__file__).parents[2] / "docs/alerts.md").read_text()


def names() -> set[str]:
    """Everything that must stand there as `name`."""
    found = {*CONDITIONS, *CHANNELS, *get_args(Told)}
    kinds = [*(kind.Settings for kind in CONDITIONS.values()), *(kind.Settings for kind in CHANNELS.values())]
    for settings in (AlertSettings, *kinds):
        found |= {setting.name for setting in declared_settings(settings)}
    return found


def missing(text: str) -> set[str]:
    return {name for name in names() if not re.search(rf"`{re.escape(name)}\b", text)}


def test_every_condition_channel_setting_and_state_is_documented() -> None:
    assert set() == missing(TEXT)


def test_what_is_not_documented_is_missed() -> None:
    """The control of the test above."""
    assert {"late_seconds"} == missing(TEXT.replace("`late_seconds`", ""))


def test_every_default_in_the_text_is_that_of_the_code() -> None:
    for condition, settings in ((slug, declared_settings(kind.Settings)) for slug, kind in CONDITIONS.items()):
        section = TEXT.partition(f"### `{condition}`")[2].partition("\n##")[0]
        documented = dict(re.findall(r"`(\w+)` \(([\d.]+)\)", section))
        assert documented
        defaults = {setting.name: setting.default for setting in settings}
        assert {name: float(value) for name, value in documented.items()} == {
            name: defaults[name] for name in documented
        }


def test_every_command_is_documented() -> None:
    for prefix, commands in (("headrace alert", alert.commands), ("headrace alert channel", alert_channel.commands)):
        found = {c.name or c.callback.__name__ for c in commands.registered_commands if c.callback}
        assert {"add", "test", "remove"} <= found
        row = next(line for line in TEXT.splitlines() if line.startswith("| `headrace alert channel list"))
        texts = TEXT if prefix == "headrace alert" else row.replace("`, `", "`, `headrace alert channel ")
        texts += TEXT if prefix == "headrace alert channel" else ""
        assert set() == {name for name in found if f"{prefix} {name}" not in texts}


def test_codes_of_failed_notices_are_those_of_the_table() -> None:
    folder = Path(__file__).parents[2] / "src/headrace/alerts"
    used = {
        code
        for file in folder.glob("*.py")
        for code in re.findall(r'"([A-Z][A-Z_]{3,})"', file.read_text())
        if code != "POST"
    }
    assert {"ADDRESS_REFUSED", "ETIMEDOUT"} <= used
    assert set() == used - set(CODES)
