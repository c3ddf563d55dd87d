"""The catalogue as it is told: the kinds of the three rooms, with what a form and a page need of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from litestar import get
from litestar.params import FromPath, FromQuery, QueryParameter

from headrace.catalog import Setting, SettingType, declared_settings
from headrace.destinations import base as destinations
from headrace.destinations.base import DestinationKind, DestinationSettings
from headrace.errors import NotFoundError
from headrace.sources import base as sources
from headrace.sources.base import SourceKind
from headrace.warehouses import base as warehouses
from headrace.warehouses.base import WarehouseKind

RoomName = Literal["source", "warehouse", "destination"]


class SettingShown(msgspec.Struct, frozen=True):
    """A setting that a kind declares. `default` is a JSON value; `choices` are those of a choice, bounds are of numbers, and with
    `is_above` the least itself is too little. `own`: the kind declares it itself, not all kinds of its room."""

    name: str
    type: SettingType
    default: Any
    description: str
    secret: bool
    required: bool
    choices: Sequence[Any] = ()
    minimum: float | None = None
    maximum: float | None = None
    is_above: bool = False
    own: bool = True


class KindShown(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of source, warehouse or destination. Fields that do not belong to its room are empty.

    `setup`: the steps at the other end. `guarantee` and `tried` are of warehouses; `types`, `batch_events`, `drops_repeats`, `mapping`
    and `required` of destinations; `is_email` and `has_handover` of sources."""

    room: RoomName
    kind: str
    title: str
    summary: str
    docs_url: str
    setup: Sequence[str]
    settings: Sequence[SettingShown]
    also_known_as: Sequence[str] = ()
    maintainer: str = ""
    regions: str = ""
    deprecated: str | None = None
    has_handover: bool = False
    guarantee: str = ""
    tried: str = ""
    types: Sequence[str] = ()
    batch_events: int = 0
    drops_repeats: str = ""
    mapping: Mapping[str, Mapping[str, Any]] = {}
    required: Mapping[str, Sequence[str]] = {}


def setting_shown(setting: Setting, *, own: bool = True) -> SettingShown:
    return SettingShown(
        setting.name,
        setting.form.type,
        setting.default,
        setting.description,
        setting.is_secret,
        setting.is_required,
        setting.form.choices,
        setting.form.minimum,
        setting.form.maximum,
        setting.form.is_above,
        own,
    )


def own_and_common(kind: type[DestinationKind]) -> tuple[list[Setting], list[Setting]]:
    """Settings of the kind's own, and those that every destination has, with the defaults that they have here."""
    everywhere = DestinationSettings.__struct_fields__
    every = declared_settings(kind.Settings)
    return [s for s in every if s.name not in everywhere], [s for s in every if s.name in everywhere]


def _source(slug: str, kind: type[SourceKind]) -> KindShown:
    return KindShown(
        room="source",
        kind=slug,
        title=kind.title,
        also_known_as=kind.also_known_as,
        summary=kind.summary,
        maintainer=kind.maintainer,
        regions=kind.regions,
        deprecated=kind.deprecated,
        has_handover=kind.handover is not None,
        docs_url=kind.docs_url,
        setup=kind.setup,
        settings=[setting_shown(setting) for setting in declared_settings(kind.Settings)],
    )


def _warehouse(slug: str, kind: type[WarehouseKind]) -> KindShown:
    return KindShown(
        room="warehouse",
        kind=slug,
        title=kind.title,
        summary=kind.summary,
        guarantee=kind.guarantee,
        tried=kind.tried,
        docs_url=kind.docs_url,
        setup=kind.setup,
        settings=[setting_shown(setting) for setting in declared_settings(kind.Settings)],
    )


def _destination(slug: str, kind: type[DestinationKind]) -> KindShown:
    own, common = own_and_common(kind)
    return KindShown(
        room="destination",
        kind=slug,
        title=kind.title,
        summary=kind.summary,
        types=sorted(kind.types),
        batch_events=kind.batching.events,
        drops_repeats=kind.drops_repeats,
        mapping={event_type: dict(rules) for event_type, rules in kind.mapping.items()},
        required={event_type: list(fields) for event_type, fields in kind.required.items()},
        tried=kind.tried,
        docs_url=kind.docs_url,
        setup=kind.setup,
        settings=[
            *(setting_shown(setting) for setting in own),
            *(setting_shown(setting, own=False) for setting in common),
        ],
    )


def _matching(kinds: Mapping[str, Any], words: str) -> Mapping[str, Any]:
    """The kinds in whose slug, title or summary every word occurs, case ignored."""
    wanted = words.casefold().split()
    texts = ((slug, kind, f"{slug} {kind.title} {kind.summary}".casefold()) for slug, kind in kinds.items())
    return {slug: kind for slug, kind, text in texts if all(word in text for word in wanted)}


class Room(msgspec.Struct, frozen=True):
    """`search` finds kinds by words, `kinds` are all of them, each by slug."""

    kinds: Callable[[], Mapping[str, Any]]
    search: Callable[[str], Mapping[str, Any]]
    shown: Callable[[str, Any], KindShown]


def rooms() -> Mapping[RoomName, Room]:
    """In the order in which they are told."""
    return {
        "source": Room(sources.kinds, sources.search, _source),
        "warehouse": Room(warehouses.kinds, lambda words: _matching(warehouses.kinds(), words), _warehouse),
        "destination": Room(destinations.kinds, lambda words: _matching(destinations.kinds(), words), _destination),
    }


Words = Annotated[
    str, QueryParameter(max_length=200, description="Words of a title, former name or summary; all of them must occur.")
]


def routes() -> list[Any]:
    @get("/catalog", role="viewer", sync_to_thread=True)
    def search_catalog(q: Words = "", room: FromQuery[RoomName | None] = None) -> Sequence[KindShown]:
        chosen = [one for name, one in rooms().items() if room in (None, name)]
        return [one.shown(slug, kind) for one in chosen for slug, kind in one.search(q).items()]

    @get("/catalog/{room:str}/{kind:str}", role="viewer", sync_to_thread=True)
    def show_kind(room: FromPath[RoomName], kind: FromPath[str]) -> KindShown:
        kinds = rooms()[room].kinds()
        if kind not in kinds:
            raise NotFoundError(f"catalogue: there is no kind of {room} {kind[:100]!r}; it has {', '.join(kinds)}")
        return rooms()[room].shown(kind, kinds[kind])

    return [search_catalog, show_kind]
