"""Writing the file, comparing one with the workspace, and making the workspace as it says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from headrace.app.configuration.differences import Action, Change, Plan, differences
from headrace.app.configuration.file import SECTIONS, STEP, VERSION, File, Missing, resolved
from headrace.app.configuration.references import Resolve, variable_of
from headrace.app.configuration.sections import Section, sections
from headrace.config import Config
from headrace.errors import ConfigError, HeadraceError
from headrace.reports.model import differences as model_differences
from headrace.reports.model.checking import check, converted, plain_values
from headrace.reports.model.kept import keep, kept, source_slugs
from headrace.workspace.workspace import Workspace

EMAIL_MODEL: Final = "email_model"


class Wanted(NamedTuple):
    """One thing of the file beside what is there; one of the two is None where it is added or removed."""

    section: str
    slug: str
    before: Any
    after: Any
    change: Change


class Applied(msgspec.Struct, frozen=True):
    """`done` are the titles of what was changed; `error` is why it ended before the end."""

    plan: Plan
    done: tuple[str, ...]
    notes: tuple[str, ...]
    error: str | None = None


class Configuration:
    """A workspace as a file. `author` names who applies it."""

    def __init__(
        self,
        workspace: Workspace,
        config: Config,
        resolve: Resolve,
        author: Callable[[], str] = lambda: "configuration",
    ) -> None:
        self._workspace = workspace
        self._resolve = resolve
        self._sections = sections(workspace, config, author)

    def exported(self) -> File:
        """All that is there, secrets as references to variables."""
        found: dict[str, Any] = {"version": VERSION, EMAIL_MODEL: _without_defaults(kept(self._workspace).settings)}
        for name, section in self._sections.items():
            found[name] = {slug: _referring(section, slug, entry) for slug, entry in section.there().items()}
        return File(**found)

    def plan(self, file: File, *, prune: bool = False) -> Plan:
        """What `apply` would change. Raises ConfigError for what the file must not say."""
        wanted, notes = self._wanted(file, prune=prune)
        return Plan([one.change for one in wanted], notes)

    def apply(self, file: File, *, prune: bool = False) -> Applied:
        """Safe to call twice: what is as the file says stays. Everything is checked before anything is changed; raises ConfigError then.

        Each thing is a transaction of its own: `error` says where it ended, if it did."""
        wanted, notes = self._wanted(file, prune=prune)
        plan = Plan([one.change for one in wanted], notes)
        done: list[str] = []
        told: list[str] = []
        for one in _in_order(wanted):
            try:
                with self._workspace.together():
                    note = self._do(one)
                told.append(note)
            except HeadraceError as error:
                return Applied(plan, tuple(done), tuple(filter(None, told)), f"{one.change.title}: {error}")
            done.append(one.change.title)
        return Applied(plan, tuple(done), tuple(filter(None, told)))

    def _do(self, one: Wanted) -> str:
        if one.section == EMAIL_MODEL:
            keep(self._workspace, one.after, kept(self._workspace).revision)
            return ""
        section = self._sections[one.section]
        match one.change.action:
            case "add":
                return section.add(one.slug, one.after)
            case "remove":
                section.remove(one.slug)
            case "change":
                section.change(one.slug, one.before, one.after)
        return ""

    def _wanted(self, file: File, *, prune: bool) -> tuple[list[Wanted], list[str]]:
        wanted: list[Wanted] = []
        notes: list[str] = []
        for name, section in self._sections.items():
            entries = getattr(file, name)
            if entries is not None:
                wanted += self._of_section(name, section, entries, notes, prune=prune)
        _check_names(file, self._sections, prune=prune)
        if file.email_model is not None:
            wanted += self._of_model(file, file.email_model)
        return wanted, notes

    def _of_section(
        self, name: str, section: Section, entries: Mapping[str, Any], notes: list[str], *, prune: bool
    ) -> list[Wanted]:
        there = section.there()
        found = []
        for slug, entry in entries.items():
            before = there.get(slug)
            title = f"{section.word} {slug}"
            after = self._entry(section, slug, title, before, entry, notes)
            if before is None:
                lines = differences({}, _plain(after, drop=()), _secret_paths(section, after))
                found.append(Wanted(name, slug, None, after, Change("add", name, slug, title, lines)))
                continue
            _check_fixed(section, title, before, after)
            if hasattr(after, "schema") and after.schema is None:
                after = msgspec.structs.replace(after, schema=before.schema)
            secret = {*_secret_paths(section, before), *_secret_paths(section, after)}
            if lines := differences(_plain(before), _plain(after), secret):
                found.append(Wanted(name, slug, before, after, Change("change", name, slug, title, lines)))
        for slug, before in there.items():
            if slug not in entries:
                action: Action = "remove" if prune else "stay"
                found.append(Wanted(name, slug, before, None, Change(action, name, slug, f"{section.word} {slug}")))
        return found

    def _entry(self, section: Section, slug: str, title: str, before: Any, entry: Any, notes: list[str]) -> Any:
        """With references taken up. A secret whose reference leads to nothing stays as it is."""
        if not hasattr(entry, "settings"):
            return section.checked(slug, entry)
        settings: dict[str, Any] = {}
        for name, value in entry.settings.items():
            found = resolved(value, self._resolve)
            if isinstance(found, Missing):
                if before is None or name not in before.settings:
                    raise ConfigError(
                        f"{STEP}: {title}: settings.{name}: {found.text}; set it, or write the value itself"
                    )
                notes.append(f"{title}: settings.{name} stays as it is: {found.text}")
                found = before.settings[name]
            settings[name] = found
        try:
            return section.checked(slug, msgspec.structs.replace(entry, settings=settings))
        except ConfigError as error:
            raise ConfigError(f"{STEP}: {title}: {error}") from None

    def _of_model(self, file: File, wanted: Mapping[str, Any]) -> list[Wanted]:
        before, after = kept(self._workspace).settings, converted(dict(wanted))
        check(after, {*source_slugs(self._workspace), *(file.sources or {})})
        lines = model_differences.differences(before, after)
        if not lines:
            return []
        parts = [model_differences.PARTS[part] for part in model_differences.made_anew(before, after)]
        change = Change("change", EMAIL_MODEL, EMAIL_MODEL, "e-mail model", [*lines, *parts])
        return [Wanted(EMAIL_MODEL, EMAIL_MODEL, before, after, change)]


def _in_order(wanted: list[Wanted]) -> list[Wanted]:
    """What is added after what it names, what is removed before what it names."""
    does = [one for one in wanted if one.change.action != "stay"]
    removed = [one for one in does if one.change.action == "remove"]
    return [one for one in does if one.change.action != "remove"] + removed[::-1]


def _check_fixed(section: Section, title: str, before: Any, after: Any) -> None:
    for field in section.fixed:
        was, is_ = getattr(before, field), getattr(after, field)
        if is_ is not None and was != is_:
            raise ConfigError(
                f"{STEP}: {title}: {field} is {was!r} for good, and the file says {is_!r}; take another slug for a new one, or correct the file"
            )


def _check_names(file: File, known: Mapping[str, Section], *, prune: bool) -> None:
    """What one thing names must be there, or come with the file."""
    for section, field, of in (("destinations", "sources", "sources"), ("alerts", "channels", "alert_channels")):
        in_file = getattr(file, of)
        there = set(in_file or ()) | (set() if prune and in_file is not None else set(known[of].there()))
        for slug, entry in (getattr(file, section) or {}).items():
            for name in getattr(entry, field):
                if name not in there:
                    raise ConfigError(
                        f"{STEP}: {known[section].word} {slug}: {field} names {name[:100]!r}, which is neither in the file nor in the workspace; "
                        f"there are {', '.join(sorted(there)) or 'none'}"
                    )


def _plain(entry: Any, drop: Collection[str] = ()) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(entry)
    return {name: value for name, value in values.items() if name not in drop and value is not None}


def _secret_paths(section: Section, entry: Any) -> set[str]:
    return {f"settings.{name}" for name in section.secret_settings(entry)}


def _referring(section: Section, slug: str, entry: Any) -> Any:
    """As the file has it: secrets as references."""
    secret = section.secret_settings(entry)
    if not secret:
        return entry
    room = section.word.replace(" ", "_")
    settings = {
        name: {"env": variable_of(room, slug, name)} if name in secret else value
        for name, value in entry.settings.items()
    }
    return msgspec.structs.replace(entry, settings=settings)


def _without_defaults(settings: Any) -> dict[str, Any]:
    values: dict[str, Any] = plain_values(settings)
    return values


__all__ = ["SECTIONS", "Applied", "Configuration"]
