"""What every kind of source in the catalogue declares: read by the console, the command line and the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

import msgspec
import pytest

from headrace.catalog import declared_settings
from headrace.errors import NotFoundError, RequestError
from headrace.sources import base
from headrace.sources.base import Draft, SourceKind, SourceSettings

KINDS = sorted(base.kinds().items())


def draft(**changes: object) -> Draft:
    values: dict[str, object] = dict.fromkeys(Draft.__struct_fields__)
    empty = msgspec.Raw(b"{}")
    values |= {"type": "track", "event": "Test Event", "anonymous_id": "a", "warnings": []}
    values |= {"properties": empty, "context": empty, "integrations": empty}
    return msgspec.convert({**values, **changes}, Draft)


def has_words(slug: str, kind: type[SourceKind]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    for text in (kind.title, kind.summary, kind.maintainer, kind.regions):
        assert text.strip() == text
        assert text.isprintable()
        assert text
    assert kind.summary.endswith(".")
    assert kind.deprecated is None or kind.deprecated.strip()
    assert all(name.strip() for name in kind.also_known_as)


def names_its_documentation(slug: str, kind: type[SourceKind]) -> None:
    assert kind.docs_url.startswith("https://"), slug


def tells_the_next_steps(slug: str, kind: type[SourceKind]) -> None:
    assert kind.setup, slug
    assert [step for step in kind.setup if not step.isprintable() or not step.endswith(".")] == []


def works_without_settings(slug: str, kind: type[SourceKind]) -> None:
    assert kind.Settings() == msgspec.convert({}, kind.Settings), slug


def describes_every_setting(slug: str, kind: type[SourceKind]) -> None:
    assert [setting.name for setting in declared_settings(kind.Settings) if not setting.description] == [], slug


def refuses_unknown_settings(slug: str, kind: type[SourceKind]) -> None:
    with pytest.raises(msgspec.ValidationError, match="no_such_setting"):
        msgspec.convert({"no_such_setting": 1}, kind.Settings)


def says_whether_it_refines(slug: str, kind: type[SourceKind]) -> None:
    assert kind.refines == (kind.refine is not SourceKind.refine), slug


def lets_any_event_pass_or_refuses_it(slug: str, kind: type[SourceKind]) -> None:
    """Whatever is in the event, `refine` ends without another error, and what it leaves can be written again."""
    odd = msgspec.Raw(
        '{"email_id": 7, "tags": [1, {"a": null}], "user_id": {}, "é\\u0000": "x", "timestamp": []}'.encode()
    )
    context = msgspec.Raw(b'{"traits": {"email": "a@example.com"}, "integration": 3}')
    for event_type in ("track", "identify", "page", "screen", "group", "alias"):
        for changes in ({}, {"properties": odd}, {"context": context}, {"event": None, "anonymous_id": None}):
            subject = draft(type=event_type, **changes)
            try:
                kind("test", kind.Settings()).refine(subject)
            except RequestError:
                continue
            for raw in (subject.properties, subject.context, subject.integrations):
                assert isinstance(msgspec.json.decode(raw), dict), slug


CHECKS: list[Callable[[str, type[SourceKind]], None]] = [
    has_words,
    names_its_documentation,
    tells_the_next_steps,
    works_without_settings,
    describes_every_setting,
    refuses_unknown_settings,
    says_whether_it_refines,
    lets_any_event_pass_or_refuses_it,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("slug", "kind"), KINDS, ids=[slug for slug, _ in KINDS])
def test_every_kind(slug: str, kind: type[SourceKind], check: Callable[[str, type[SourceKind]], None]) -> None:
    check(slug, kind)


class _LooseSettings(SourceSettings, frozen=True, forbid_unknown_fields=False, kw_only=True):
    undescribed: int
    """No default either: so a source cannot be added without settings."""


class Broken(SourceKind):
    title = "Broken "
    summary = "no full stop"
    docs_url = "http://example.com"
    maintainer = ""
    refines: ClassVar[bool] = False
    Settings = _LooseSettings

    def __init__(self, slug: str, settings: SourceSettings) -> None:
        super().__init__(slug, settings)

    def refine(self, draft: Draft) -> None:
        raise KeyError(draft.type)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_broken_kind_fails_every_check(check: Callable[[str, type[SourceKind]], None]) -> None:
    with pytest.raises((AssertionError, TypeError, KeyError, pytest.fail.Exception)):
        check("Broken_", Broken)


def test_search_finds_former_names_and_puts_deprecated_kinds_last() -> None:
    assert list(base.search("MARIGOLD")) == ["selligent-marketing-cloud"]
    assert list(base.search("selligent")) == ["selligent-marketing-cloud", "selligent"]
    assert base.search("selligent nonesuch") == {}
    assert set(base.kinds()) == set(base.search(""))


def test_an_unknown_kind_is_refused_with_what_there_is() -> None:
    with pytest.raises(NotFoundError, match="http-api"):
        base.kind("nonesuch")


def test_the_sentence_for_the_platform_names_address_and_key() -> None:
    class Asked(SourceKind):
        handover = "Send to {url} with {write_key}; {braces} stay."

    assert base.handover_text(Asked, "http://h", "hr_x") == "Send to http://h with hr_x; {braces} stay."
    assert base.handover_text(SourceKind, "http://h", "hr_x") is None
