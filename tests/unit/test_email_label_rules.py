"""Label rules over names: what a pattern fits, and what a trial tells."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.filters.globs import glob
from headrace.reports.model import labels
from headrace.reports.model.label_trial import Labelled, Tried, trial
from headrace.reports.model.labels import LONGEST_NAME, Labelling
from headrace.reports.model.settings import LabelRule


def rule(pattern: str, *, set_: str = "type", label: str = "yes", field: Any = "campaign_name") -> LabelRule:
    return LabelRule(set=set_, label=label, pattern=pattern, field=field)


def fits(pattern: str, name: str) -> bool:
    return bool(Labelling([rule(pattern)]).fitting("", name))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("NL*", "nl 2026", True),
        ("NL*", "my nl", False),
        ("*sale*", "Big SALE", True),
        ("welcome-?", "Welcome-7", True),
        ("welcome-?", "welcome-17", False),
        ("été", "E\u0301TE\u0301", True),
        ("100 \\*", "100 *", True),
        ("100 \\*", "100 euro", False),
        ("a\\b", "ab", True),
        ("back\\\\*", "back\\slash", True),
        ("end\\", "end\\", True),
        ("[ab]*", "a", False),
        ("[ab]*", "[AB] test", True),
        ("a*", "a\nb", True),
    ],
)
def test_a_pattern_fits_as_for_files_with_case_ignored(pattern: str, name: str, expected: bool) -> None:  # noqa: FBT001
    assert expected is fits(pattern, name)


@settings(max_examples=200)
@given(st.text("ab*?", min_size=1, max_size=8), st.text("abAB", max_size=8))
def test_patterns_fit_what_those_of_files_fit(pattern: str, name: str) -> None:
    assert (bool(name) and fnmatchcase(name.lower(), pattern)) is fits(pattern, name)


@given(st.lists(st.text("aB\\*?", min_size=1, max_size=8), unique=True), st.text("abAB\\*", min_size=1, max_size=12))
def test_looking_for_a_part_first_leaves_nothing_out(patterns: list[str], name: str) -> None:
    fitting = Labelling([rule(pattern) for pattern in patterns]).fitting("", name)
    assert [pattern for pattern in patterns if glob(pattern.lower())(name.lower())] == [one.pattern for one in fitting]


def test_hostile_patterns_and_names_are_done_with_in_bounded_time() -> None:
    """A pattern that backtracks would not come to its end here."""
    hostile = [rule("*a" * 200 + "*b"), rule("*" + "a" * 498 + "?b"), rule("?*" * 250), rule("*" * 500)]
    found = Labelling(hostile).fitting("", "a" * 1_000_000)
    assert hostile[2:] == found


def test_of_a_very_long_name_the_beginning_counts() -> None:
    assert fits("*end", "x" * (LONGEST_NAME - 3) + "end")
    assert not fits("*end", "x" * (LONGEST_NAME - 2) + "end")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "REMEMBERED", 10)
    labelling = Labelling([rule("*1")])
    assert ["1", "11"] == [name for name in map(str, range(20)) if labelling.labels(name, name)]
    assert len(labelling._labels_by_campaign) <= 10


def test_a_trial_tells_labels_those_without_and_patterns_that_fit_nothing() -> None:
    first, second, third = rule("NL*", label="News"), rule("*1", label="One"), rule("zzz*", label="Never")
    brand = rule("b-*", set_="brand", label="B", field="campaign_id")
    found = trial([first, second, third, brand], [("b-1", "NL 1"), ("a", None), ("c", "X 1")])
    assert [
        Labelled("a", None, {}),
        Labelled("b-1", "NL 1", {"type": "News", "brand": "B"}),
        Labelled("c", "X 1", {"type": "One"}),
    ] == list(found.campaigns)
    assert [Tried(first, 1, 1), Tried(second, 2, 1), Tried(third, 0, 0), Tried(brand, 1, 1)] == list(found.rules)
    assert {"type": ["a"], "brand": ["a", "c"]} == found.unlabelled
