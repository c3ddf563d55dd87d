"""A kind of destination for tests of what keeps and shows settings: it has secrets, and it checks and warns by what its settings say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, cast

import msgspec
import pytest

from headrace.destinations import base
from headrace.destinations.base import Batching, DestinationKind, DestinationSettings, Mappings, Place, described
from headrace.errors import ConfigError

HOOK_TOKEN = "xoxb-4711-zu-gut-geheim"
HOOK = f"https://hooks.example/services/T0/{HOOK_TOKEN}"
SHOWN_HOOK = "https://hooks.example/***"
TOKEN = "tok-4711-zu-gut"


class MadeSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    hook_url: Annotated[str, described("Where to.", secret=True)] = ""
    token: Annotated[str, described("A key.", secret=True)] = ""
    headers: Annotated[dict[str, str], described("An object.", secret=True)] = msgspec.field(default_factory=dict)
    url: Annotated[str, described("An address.")] = ""
    list_name: Annotated[str, described("A text; `wrong` is refused by the kind, `old` is warned of.")] = ""


class Made(DestinationKind):
    title = "Made tool"
    summary = "A tool that is only there in tests."
    docs_url = "https://example.com/made"
    tried = "nothing at all"
    setup = ("Open the tool.\nAnd wait.", "Copy its key.")
    drops_repeats = "It does not."
    types = frozenset(("track", "identify"))
    mapping: ClassVar[Mappings] = {
        "track": {"name": "event", "id": "messageId", "v": {"constant": 1}},
        "identify": {"id": "messageId"},
    }
    required: ClassVar[Mapping[str, Sequence[str]]] = {"*": ("id",), "track": ("name|v",)}
    batching = Batching(events=50)
    Settings = MadeSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        super().__init__(settings, place)
        self._own = cast("MadeSettings", settings)
        if self._own.list_name == "wrong":
            raise ConfigError(f"destination: no list of {self._own.token} is called so")

    def warnings(self) -> Sequence[str]:
        return [f"the key {self._own.token} expires soon"] if self._own.list_name == "old" else []


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> type[DestinationKind]:
    """The kind `made` is in the catalogue."""
    kinds: dict[str, Any] = {**base.kinds(), "made": Made}
    monkeypatch.setattr(base, "kinds", lambda: kinds)
    return Made
