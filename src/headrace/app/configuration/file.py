"""The file: YAML with a section for each kind of thing, each thing by its slug. Pure but for references to variables and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec
import yaml

from headrace.errors import ConfigError
from headrace.workspace.roles import Role

STEP: Final = "configuration"
VERSION: Final = 1
MOST_BYTES: Final = 5_000_000
MOST_DEPTH: Final = 40

Settings = dict[str, Any]


class SourceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Without `schema` it is made of the nickname. Write keys are not in the file: a new source gets one, which is told once."""

    kind: str
    nickname: str
    schema: str | None = None
    enabled: bool = True
    settings: Settings = {}


class WarehouseEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`selection` by slug of source, as `headrace warehouse select` has it."""

    kind: str
    nickname: str
    paused: bool = False
    settings: Settings = {}
    selection: dict[str, dict[str, Any]] = {}


class DestinationEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Filter and mapping are settings."""

    kind: str
    nickname: str
    sources: list[str] = []
    paused: bool = False
    settings: Settings = {}


class ChannelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    kind: str
    nickname: str
    settings: Settings = {}


class AlertEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`kind` is the condition."""

    kind: str
    nickname: str
    channels: list[str]
    paused: bool = False
    settings: Settings = {}


class SavedEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A query, a report or a dashboard."""

    title: str
    description: str = ""
    body: dict[str, Any] = {}


class PersonEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """By e-mail address. Passwords are not in the file: who is new gets an invitation, which is told once."""

    name: str
    role: Role
    disabled: bool = False


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A section that is not there is left alone as a whole."""

    version: Literal[1]
    sources: dict[str, SourceEntry] | None = None
    warehouses: dict[str, WarehouseEntry] | None = None
    destinations: dict[str, DestinationEntry] | None = None
    alert_channels: dict[str, ChannelEntry] | None = None
    alerts: dict[str, AlertEntry] | None = None
    email_model: dict[str, Any] | None = None
    queries: dict[str, SavedEntry] | None = None
    reports: dict[str, SavedEntry] | None = None
    dashboards: dict[str, SavedEntry] | None = None
    people: dict[str, PersonEntry] | None = None


ENTRIES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "sources": SourceEntry,
    "warehouses": WarehouseEntry,
    "destinations": DestinationEntry,
    "alert_channels": ChannelEntry,
    "alerts": AlertEntry,
    "queries": SavedEntry,
    "reports": SavedEntry,
    "dashboards": SavedEntry,
    "people": PersonEntry,
}
SECTIONS: Final = tuple(name for name in File.__struct_fields__ if name != "version")


def read(text: str | bytes) -> File:
    """References stay as they stand. Raises ConfigError that names the place."""
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{STEP}: the file has more than {MOST_BYTES:,} bytes; give the right file")
    try:
        found = yaml.load(text.decode() if isinstance(text, bytes) else text, Loader=_Loader)  # noqa: S506 - a SafeLoader, of fewer types
    except UnicodeDecodeError as error:
        raise ConfigError(f"{STEP}: the file is no UTF-8 text: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigError(
            f"{STEP}: the file is no YAML that is taken here{place}: {error.problem or error.context}"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{STEP}: the file is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{STEP}: the file says nothing; `headrace export` writes one to begin with")
    try:
        return msgspec.convert(found, File)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{STEP}: {_place(found)}{error}; docs/configuration-file.md lists what each section takes"
        ) from None


def _place(found: Mapping[Any, Any]) -> str:
    """The first entry that does not fit: msgspec names the section only."""
    for section, entry_type in ENTRIES.items():
        entries = found.get(section)
        for slug, entry in entries.items() if isinstance(entries, dict) else ():
            try:
                msgspec.convert(entry, entry_type)
            except msgspec.ValidationError:
                return f"{section}, {slug}: "
    return ""


def written(file: File) -> str:
    """`read` gives the same back."""
    values = msgspec.to_builtins(file)
    head = (
        "# The workspace of headrace: `headrace apply FILE --dry-run` says what a changed file would change, `headrace apply FILE` does it.\n"
        "# Secrets are references: {env: VARIABLE} or {file: PATH}. One whose variable is not set stays as the workspace has it.\n"
    )
    ordered = {"version": VERSION, **{name: values[name] for name in SECTIONS if name in values}}
    return head + yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Loader(yaml.SafeLoader):
    """YAML's plain types only: true and false are booleans and no other words, dates are texts, nothing is named twice or by alias."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not taken; write it out", event.start_mark)
        self.depth = getattr(self, "depth", 0) + 1
        try:
            if self.depth > MOST_DEPTH:
                raise yaml.composer.ComposerError(None, None, "it is nested too deeply", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str | int | float | bool):
                raise yaml.constructor.ConstructorError(None, None, "a name must be a plain text", key.start_mark)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands here twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_TAGS: Final = {
    "tag:yaml.org,2002:timestamp",
    "tag:yaml.org,2002:bool",
    "tag:yaml.org,2002:merge",
    "tag:yaml.org,2002:value",
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _TAGS]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _first, _word in (("t", "true"), ("f", "false")):
    _Loader.yaml_implicit_resolvers.setdefault(_first, []).append(("tag:yaml.org,2002:bool", re.compile(f"^{_word}$")))


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks; nothing by alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value and not any(line != line.rstrip() for line in value.split("\n")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)

Reference = Mapping[str, str]


def is_reference(value: Any) -> bool:
    """Whether it stands for the content of a variable or a file.

    >>> is_reference({"env": "TEAM_DSN"}), is_reference({"env": "A", "file": "b"})
    (True, False)
    """
    return (
        isinstance(value, dict)
        and len(value) == 1
        and next(iter(value)) in ("env", "file")
        and isinstance(next(iter(value.values())), str)
    )


class Missing(msgspec.Struct, frozen=True):
    """In the place of a reference to what is not there."""

    text: str


def resolved(value: Any, resolve: Callable[[Reference], str | Missing]) -> Any:
    """The value with every reference in it taken up; `Missing` where one of them leads to nothing."""
    if is_reference(value):
        return resolve(value)
    if isinstance(value, dict):
        found = {name: resolved(inner, resolve) for name, inner in value.items()}
        return next((inner for inner in found.values() if isinstance(inner, Missing)), found)
    if isinstance(value, list):
        listed = [resolved(inner, resolve) for inner in value]
        return next((inner for inner in listed if isinstance(inner, Missing)), listed)
    return value
