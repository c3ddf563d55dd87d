"""Settings of a server: a TOML file and HEADRACE_* variables, typed; unknown keys are refused and every key has help.

A key `listen` of the table `[collector]` is the variable HEADRACE_COLLECTOR_LISTEN. Precedence, highest first: options of
the command line, environment, file, default.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec

from headrace.errors import ConfigError

PREFIX: Final = "HEADRACE_"


def _help(text: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=text, **bounds)


class CollectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    listen: Annotated[str, _help("HOST:PORT that the tracking API listens on.")] = "127.0.0.1:8000"
    public_url: Annotated[
        str,
        _help(
            "How clients outside reach the tracking API, for example https://events.example.com; shown with write keys."
        ),
    ] = ""
    processes: Annotated[int, _help("Collector processes; each writes a partition of its own.", ge=1, le=64)] = 1
    compat_always_200: Annotated[
        bool,
        _help("Answer 200 to unknown write keys and refused events, as Segment does. Nothing more is stored by it."),
    ] = False
    staging_bytes: Annotated[
        int, _help("Accepted bytes that may wait for the log before requests wait, then get 503.", ge=1_000_000)
    ] = 16_000_000
    commit_timeout_seconds: Annotated[
        float, _help("How long a request waits for the log before it gets 503.", gt=0)
    ] = 4.0
    header_timeout_seconds: Annotated[float, _help("How long a client may take to send a request's headers.", gt=0)] = (
        30.0
    )
    keep_alive_seconds: Annotated[int, _help("How long a connection without requests stays open.", ge=1)] = 75
    body_timeout_seconds: Annotated[float, _help("How long a client may take to send a request's body.", gt=0)] = 30.0
    max_connections: Annotated[int, _help("Open connections; more get 503.", ge=1)] = 10_000
    events_per_second_per_source: Annotated[
        int,
        _help("Events a second that one source may send to one collector process; more get 429. 0 is no limit.", ge=0),
    ] = 0
    events_per_second_per_address: Annotated[
        int,
        _help(
            "Events a second that one peer address may send to one collector process; more get 429. 0 is no limit.",
            ge=0,
        ),
    ] = 0
    trust_forwarded_for: Annotated[
        bool, _help("Take the client's address from X-Forwarded-For: only behind a proxy of your own that sets it.")
    ] = False


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    segment_bytes: Annotated[int, _help("A segment of the log is closed at this size.", ge=65_536)] = 256_000_000
    segment_seconds: Annotated[float, _help("A segment of the log is closed at this age.", gt=0)] = 86_400.0
    retention_bytes: Annotated[int, _help("Loaded segments beyond this total are removed, oldest first.", ge=0)] = (
        20_000_000_000
    )
    retention_seconds: Annotated[float, _help("Loaded segments older than this are removed.", ge=0)] = 14 * 86_400.0
    max_bytes: Annotated[
        int,
        _help(
            "Segments beyond this total are removed even if not loaded yet, which loses events loudly. 0 never does it.",
            ge=0,
        ),
    ] = 0
    linger_seconds: Annotated[float, _help("How long a commit waits for company.", ge=0, le=1)] = 0.002
    commit_bytes: Annotated[int, _help("A commit that has this much waits no longer.", ge=1_024)] = 512_000


class LoaderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    interval_seconds: Annotated[float, _help("Events wait at most this long before a load begins.", gt=0)] = 1.0
    load_events: Annotated[int, _help("Events in one load at the most.", ge=1)] = 50_000
    load_bytes: Annotated[int, _help("Uncompressed bytes of the log in one load at the most.", ge=1_024)] = 24_000_000
    email_model: Annotated[
        bool, _help("Whether the tables of the schema email are carried on, in warehouses that can have them.")
    ] = True
    model_seconds: Annotated[
        float,
        _help("How often the e-mail model takes up what was loaded, at the most; while much waits, sooner.", gt=0),
    ] = 5.0
    dedup_days: Annotated[float, _help("The window in which a repeated messageId is found.", gt=0)] = 30.0
    dedup_memory_bytes: Annotated[
        int, _help("Memory for the filters of that window; beyond it the oldest leave.", ge=1_000_000)
    ] = 128_000_000
    max_columns: Annotated[
        int, _help("Columns of a table at the most; further properties go to _extra.", ge=50, le=1_500)
    ] = 500
    max_tables: Annotated[
        int, _help("Tables of a schema at the most; further events are rows of tracks only.", ge=10)
    ] = 1_000


class WarehouseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    memory_bytes: Annotated[
        int, _help("Memory limit of the embedded DuckDB, loader and queries together.", ge=128_000_000)
    ] = 256_000_000
    threads: Annotated[int, _help("Threads of the embedded DuckDB.", ge=1)] = 2
    query_timeout_seconds: Annotated[float, _help("A query is cancelled after this time.", gt=0)] = 60.0
    query_rows: Annotated[int, _help("Rows of a query's answer at the most.", ge=1)] = 100_000
    queries_per_person: Annotated[int, _help("Queries of one person in the console at the same time.", ge=1)] = 4
    queries_at_once: Annotated[int, _help("Queries of everybody in the console at the same time.", ge=1)] = 16
    download_timeout_seconds: Annotated[
        float, _help("A download of a query's whole answer, however many rows it has, ends after this time.", gt=0)
    ] = 600.0


class ArchiveConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Off by default: it keeps personal data and takes room without end, which somebody should have decided."""

    enabled: Annotated[
        bool,
        _help(
            "Keep every event as compressed files, beyond the log's retention, for backfills and rebuilds; docs/archive.md."
        ),
    ] = False
    path: Annotated[str, _help("A folder, or s3://BUCKET/PREFIX. Empty is the folder archive in the data folder.")] = ""
    endpoint: Annotated[
        str, _help("Of an S3-compatible storage, for example https://minio.example.com:9000. Empty is Amazon's.")
    ] = ""
    region: Annotated[str, _help("Of the bucket. Empty: found out, as Amazon's own tools do.")] = ""
    access_key: Annotated[str, _help("Empty: the machine's role, or what AWS_ACCESS_KEY_ID and its like say.")] = ""
    secret_key: Annotated[str, _help("Goes with access_key; better in the environment than in a file.")] = ""
    interval_seconds: Annotated[
        float, _help("Events wait in the log at most about this long before they are archived.", gt=0)
    ] = 3_600.0
    range_bytes: Annotated[
        int,
        _help("So many uncompressed bytes are archived at once at the most, or as soon as they are there.", ge=65_536),
    ] = 128_000_000


class DeliveryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    connect_timeout_seconds: Annotated[
        float, _help("How long a destination may take to accept a connection.", gt=0)
    ] = 5.0
    request_timeout_seconds: Annotated[
        float, _help("How long a request to a destination may take, connection and answer included.", gt=0)
    ] = 10.0
    retention_days: Annotated[
        float,
        _help(
            "Outcomes of deliveries are kept so long; `headrace delivery show` and `trace` look no further back.", gt=0
        ),
    ] = 30.0
    dead_letter_days: Annotated[
        float,
        _help("Dead letters are kept so long after the event was received, then removed. 0 keeps them for ever.", ge=0),
    ] = 90.0


class ConsoleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    listen: Annotated[str, _help("HOST:PORT of the worker: the console's pages and API, /health and /metrics.")] = (
        "127.0.0.1:8001"
    )
    public_url: Annotated[
        str,
        _help(
            "How people outside reach the console, for example https://headrace.example.com; docs/console-access.md."
        ),
    ] = ""
    allowed_hosts: Annotated[
        str,
        _help(
            "Further names, comma-separated, under which the console answers. Addresses, localhost and the name in public_url always work."
        ),
    ] = ""
    trust_forwarded: Annotated[
        bool,
        _help(
            "Take the client's address and https from X-Forwarded-For and X-Forwarded-Proto: only behind a proxy of your own that sets them."
        ),
    ] = False
    session_hours: Annotated[float, _help("A login ends after so long.", gt=0)] = 14 * 24.0
    session_idle_hours: Annotated[float, _help("A login that is not used ends after so long.", gt=0)] = 72.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; each table of the TOML file is a field."""

    data: Annotated[str, _help("The folder that holds everything: log, warehouse, workspace.")] = "headrace-data"
    allowed_networks: Annotated[
        str,
        _help(
            "Private networks that destinations and alerts may reach all the same, for example 127.0.0.0/8,10.0.0.0/8. Empty: public addresses only."
        ),
    ] = ""
    collector: CollectorConfig = CollectorConfig()
    log: LogConfig = LogConfig()
    loader: LoaderConfig = LoaderConfig()
    warehouse: WarehouseConfig = WarehouseConfig()
    console: ConsoleConfig = ConsoleConfig()
    archive: ArchiveConfig = ArchiveConfig()
    delivery: DeliveryConfig = DeliveryConfig()

    @property
    def folder(self) -> Path:
        return Path(self.data)


class Setting(msgspec.Struct, frozen=True):
    """One key, for the documentation and for the environment. `table` is empty at the top level."""

    table: str
    key: str
    type: str
    default: Any
    help: str

    @property
    def variable(self) -> str:
        return PREFIX + "_".join(part for part in (self.table, self.key) if part).upper()


def settings() -> list[Setting]:
    """Every key there is, in the order of the classes."""
    found: list[Setting] = []
    for field in msgspec.structs.fields(Config):
        if isinstance(field.default, msgspec.Struct):
            found.extend(_settings_of(type(field.default), field.name))
    return [*(s for s in _settings_of(Config, "") if s.help), *found]


def _settings_of(struct: type[msgspec.Struct], table: str) -> list[Setting]:
    hints = get_type_hints(struct, include_extras=True)
    found = []
    for field in msgspec.structs.fields(struct):
        meta = next((m for m in getattr(hints[field.name], "__metadata__", ()) if isinstance(m, msgspec.Meta)), None)
        if meta is not None:
            kind = hints[field.name].__origin__.__name__
            found.append(Setting(table, field.name, kind, field.default, meta.description or ""))
    return found


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any] | Any] | None = None,
) -> Config:
    """The settings of a server. `overrides` has the shape of the file and wins; None values in it are left out.

    Raises ConfigError that names the file or variable, the key and what would be right."""
    tree: dict[str, Any] = {}
    if file is not None:
        tree = _file(file)
    _merge(tree, _environment(os.environ if environment is None else environment))
    _merge(tree, overrides or {})
    try:
        return msgspec.convert(tree, Config, strict=False)
    except msgspec.ValidationError as error:
        where = f" (file {file})" if file else ""
        raise ConfigError(f"settings{where}: {error}; docs/configuration.md lists every key") from None


def _file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"settings: there is no file {file}; give --config an existing TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings: {file} is not TOML: {error}") from None


def _environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {setting.variable: setting for setting in settings()}
    tree: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX):
            continue
        setting = known.get(name)
        if setting is None:
            raise ConfigError(f"settings: the variable {name} is unknown; docs/configuration.md lists every one")
        place = tree.setdefault(setting.table, {}) if setting.table else tree
        place[setting.key] = value
    return tree


def _merge(tree: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping):
            _merge(tree.setdefault(key, {}), value)
        elif value is not None:
            tree[key] = value


def address(listen: str) -> tuple[str, int]:
    """`HOST:PORT` (also `[::1]:8000`) taken apart. Raises ConfigError."""
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(f"settings: {listen!r} is no HOST:PORT, for example 127.0.0.1:8000")
    return host.strip("[]") or "127.0.0.1", int(port)


def documentation() -> str:
    """docs/configuration.md: `python -m headrace.config > docs/configuration.md` writes it, a test compares it."""
    lines = [
        "# Configuration",
        "",
        "Written from the code by `python -m headrace.config`. Options of the command line win over the environment, the environment over the file",
        "(`--config FILE`), the file over the defaults. Unknown keys and variables are refused. `headrace source set` has the settings of single sources.",
    ]
    table = None
    for setting in settings():
        if setting.table != table:
            table = setting.table
            lines += ["", f"## `[{table}]`" if table else "## Top level", ""]
            lines += ["| key | variable | default | what |", "|---|---|---|---|"]
        shown = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
        lines.append(f"| `{setting.key}` | `{setting.variable}` | `{shown}` | {setting.help} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.stdout.write(documentation())
