"""Settings: the order of precedence, and that nothing wrong is taken in silence."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headrace import config
from headrace.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    file = folder / "headrace.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_hold_without_file_and_environment() -> None:
    assert config.Config() == config.load(None, {})


def test_options_win_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    file = written(
        tmp_path, 'data = "from-file"\n[collector]\nprocesses = 2\nlisten = "127.0.0.1:1"\n[log]\ncommit_bytes = 2048\n'
    )
    environment = {"HEADRACE_DATA": "from-environment", "HEADRACE_COLLECTOR_PROCESSES": "3"}
    loaded = config.load(file, environment, {"data": "from-option", "collector": {"listen": None}})
    assert (
        loaded.data,
        loaded.collector.processes,
        loaded.collector.listen,
        loaded.log.commit_bytes,
    ) == ("from-option", 3, "127.0.0.1:1", 2048)


def test_variables_of_other_programs_are_left_alone() -> None:
    assert config.Config() == config.load(None, {"PATH": "/bin", "HEAD": "x"})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colector = 1\n", "colector"),
        ("[collector]\nlisten_on = 'x'\n", "listen_on"),
        ("[collector]\nprocesses = 0\n", "processes"),
        ("[collector]\nprocesses = 'many'\n", "processes"),
        ("collector = 7\n", "collector"),
        ("data = \n", "TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError, match=named) as caught:
        config.load(file, {})
    assert str(file) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        config.load(tmp_path / "absent.toml", {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("HEADRACE_COLECTOR_LISTEN", "x"), ("HEADRACE_COLLECTOR", "x"), ("HEADRACE_LOG_LINGER_SECONDS", "2")],
)
def test_a_wrong_variable_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError):
        config.load(None, {name: value})


def test_every_variable_is_accepted_with_its_own_default() -> None:
    environment = {
        s.variable: str(s.default).lower() if s.type == "bool" else str(s.default) for s in config.settings()
    }
    assert config.Config() == config.load(None, environment)


def test_every_key_has_help_and_a_variable_of_its_own() -> None:
    settings = config.settings()
    keys = {
        ("" if not isinstance(f.default, msgspec.Struct) else f.name, key)
        for f in msgspec.structs.fields(config.Config)
        for key in (f.default.__struct_fields__ if isinstance(f.default, msgspec.Struct) else (f.name,))
    }
    assert keys == {(s.table, s.key) for s in settings}
    assert len(settings) == len({s.variable for s in settings})
    assert [s.variable for s in settings if not s.help.strip().endswith((".", "now."))] == []


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("[::1]:80", ("::1", 80)),
        (":9", ("127.0.0.1", 9)),
        ("h:65535", ("h", 65535)),
    ],
)
def test_an_address_is_taken_apart(listen: str, expected: tuple[str, int]) -> None:
    assert expected == config.address(listen)


@pytest.mark.parametrize("listen", ["localhost", "h:", "h:x", "h:65536", "h:-1", "h:٣"])
def test_a_wrong_address_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        config.address(listen)
