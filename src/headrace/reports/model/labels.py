"""Categories of campaigns by patterns that people keep: `email.labels`."""

# ruff: noqa: S608 -- the only values in these statements are literals made by the engine

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from headrace.filters.globs import glob
from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import SCHEMA, Type
from headrace.reports.model.settings import LabelRule, ModelSettings
from headrace.warehouses.base import Derivation

LONGEST_NAME: Final = 1_000
"""Characters of a name or id that patterns look at: what a match may cost at the most is bounded by it."""
REMEMBERED: Final = 50_000
"""Campaigns whose labels are remembered from one increment to the next."""
ROLE: Final = "labels"
MATCHING: Final = 1
"""To be counted up when patterns come to mean something else, so that all labels are made anew."""

CAMPAIGNS: Final = (
    f"SELECT campaign_id, campaign_name FROM {SCHEMA}.names UNION ALL "
    f"SELECT c.campaign_id, CAST(NULL AS varchar) FROM {SCHEMA}.campaigns c "
    f"WHERE NOT EXISTS (SELECT 1 FROM {SCHEMA}.names n WHERE n.campaign_id = c.campaign_id)"
)
"""All campaigns; without a name those whose events never told one."""

_OWN_STATE: Final = f"role = '{ROLE}' AND schema_name = '' AND table_name = ''"
_STAGED: Final = "labels_now"
_FIELDS: Final = ("campaign_id", "campaign_name")


class Labelling:
    """Label rules, ready to be used. Safe to use from several threads."""

    def __init__(self, rules: Sequence[LabelRule]) -> None:
        self._rules = rules
        self._fits = [glob(_folded(rule.pattern)) for rule in rules]
        self._by_field = {
            field: _Candidates({n: _folded(rule.pattern) for n, rule in enumerate(rules) if rule.field == field})
            for field in _FIELDS
        }
        self._labels_by_campaign: dict[tuple[str, str | None], Mapping[str, str]] = {}

    def fitting(self, campaign_id: str, campaign_name: str | None) -> list[LabelRule]:
        """All rules that fit, in their order. A campaign without a name is looked at by its id only."""
        places: list[int] = []
        for field, text in zip(_FIELDS, (campaign_id, campaign_name), strict=True):
            if text or field == "campaign_id":
                folded = _folded((text or "")[:LONGEST_NAME])
                places += [place for place in self._by_field[field].of(folded) if self._fits[place](folded)]
        return [self._rules[place] for place in sorted(places)]

    def labels(self, campaign_id: str, campaign_name: str | None) -> Mapping[str, str]:
        """The label by set."""
        key = campaign_id, campaign_name
        found = self._labels_by_campaign.get(key)
        if found is None:
            if len(self._labels_by_campaign) >= REMEMBERED:
                self._labels_by_campaign.clear()
            found = first_of_each_set(self.fitting(campaign_id, campaign_name))
            self._labels_by_campaign[key] = found
        return found


def first_of_each_set(fitting: Iterable[LabelRule]) -> Mapping[str, str]:
    labels: dict[str, str] = {}
    for rule in fitting:
        labels.setdefault(rule.set, rule.label)
    return labels


def _folded(text: str) -> str:
    """Composed and in small letters, as what looks the same may be sent in several ways."""
    return unicodedata.normalize("NFC", text).lower()


class _Candidates:
    """Which of thousands of patterns may fit a text at all: those of which three neighbouring letters are in it, and those without three."""

    def __init__(self, pattern_by_place: Mapping[int, str]) -> None:
        own = {place: _threes(_literal(pattern)) for place, pattern in pattern_by_place.items()}
        counts = Counter(three for threes in own.values() for three in threes)
        self._always = [place for place, threes in own.items() if not threes]
        self._by_three: dict[str, list[int]] = {}
        for place, threes in own.items():
            if threes:
                rarest = min(threes, key=lambda three: (counts[three], three))
                self._by_three.setdefault(rarest, []).append(place)

    def of(self, text: str) -> Iterator[int]:
        yield from self._always
        for three in _threes(text):
            yield from self._by_three.get(three, ())


def _threes(text: str) -> set[str]:
    return {text[place : place + 3] for place in range(len(text) - 2)}


def _literal(pattern: str) -> str:
    """The longest part that every text has which fits; what a backslash makes plain is left out."""
    parts = pattern.replace("\\*", "**").replace("\\?", "**").replace("\\", "*").replace("?", "*").split("*")
    return max(parts, key=len)


def apply(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """Bring email.labels up to date, as the last step of an increment. Costs one query when neither names nor rules have changed."""
    state = derivation.fetch(f"SELECT state FROM {SCHEMA}.progress WHERE {_OWN_STATE}").to_pylist()
    kept = state[0]["state"] if state else None
    if not settings.labels:
        if kept is not None:
            derivation.run([f"DELETE FROM {SCHEMA}.labels", f"DELETE FROM {SCHEMA}.progress WHERE {_OWN_STATE}"])
        return
    now = f"{_fingerprint(settings.labels)} {_names_now(derivation, engine)}"
    if now == kept:
        return
    labelling = _labelling(tuple(settings.labels))
    campaigns = derivation.fetch(CAMPAIGNS)
    _write(derivation, engine, list(_rows(labelling, campaigns)))
    kept_now = f"'', '', '{ROLE}', {engine.null(Type.TIME)}, {engine.text(now)}"
    columns = "schema_name, table_name, role, loaded_to, state"
    derivation.run(
        [
            f"DELETE FROM {SCHEMA}.progress WHERE {_OWN_STATE}",
            f"INSERT INTO {SCHEMA}.progress ({columns}) VALUES ({kept_now})",
        ]
    )


@lru_cache(maxsize=4)
def _labelling(rules: tuple[LabelRule, ...]) -> Labelling:
    """From one increment to the next the same."""
    return Labelling(rules)


def _fingerprint(rules: Sequence[LabelRule]) -> str:
    return hashlib.sha256(f"{MATCHING} ".encode() + msgspec.json.encode(rules)).hexdigest()[:32]


def _names_now(derivation: Derivation, engine: Engine) -> str:
    """Another text when a campaign has come or changed its name; numbers of keys are an engine's own, and so is this."""
    key = engine.key("campaign_id", "coalesce(campaign_name, '')")
    counted = f"SELECT CAST(count(*) AS varchar) AS n, CAST(sum({key}) AS varchar) AS keys FROM ({CAMPAIGNS}) AS named"
    row = derivation.fetch(counted).to_pylist()[0]
    return f"{row['n']} {row['keys'] or 0}"


def _rows(labelling: Labelling, campaigns: Any) -> Iterable[tuple[str, str, str]]:
    for id_, name in zip(campaigns["campaign_id"].to_pylist(), campaigns["campaign_name"].to_pylist(), strict=True):
        for set_, label in labelling.labels(id_, name).items():
            yield id_, set_, label


def _write(derivation: Derivation, engine: Engine, rows: Sequence[tuple[str, str, str]]) -> None:
    """Only what differs from what is there."""
    import pyarrow as pa  # noqa: PLC0415 - heavy, and commands that only show labels need none

    columns = ("campaign_id", "label_set", "label")
    arrays = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(columns))]
    derivation.stage(_STAGED, pa.table(arrays, names=list(columns)))
    same = " AND ".join(f"l.{column} = n.{column}" for column in columns)
    staged = engine.quoted(_STAGED)
    absent = f"NOT EXISTS (SELECT 1 FROM {SCHEMA}.labels l WHERE {same})"
    derivation.run(
        [
            f"DELETE FROM {SCHEMA}.labels AS l WHERE NOT EXISTS (SELECT 1 FROM {staged} n WHERE {same})",
            f"INSERT INTO {SCHEMA}.labels ({', '.join(columns)}) SELECT * FROM {staged} n WHERE {absent}",
            f"DROP TABLE {staged}",
        ]
    )
