"""Names of tables and columns."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.loader.paths import column_base, joined, names_of
from headrace.names import STANDARD_TABLES, event_slug, event_table, limited, numbered, snake_case

CASES = json.loads((Path(__file__).parents[1] / "cases" / "snakecase-cases.json").read_text(encoding="utf-8"))["cases"]

EXAMPLES = {
    "Email Marked as Spam": "email_marked_as_spam",
    "userId": "user_id",
    "emailID": "email_id",
    "HTTPServer": "httpserver",
    "iOSVersion": "i_osversion",
    "CStringRef": "cstring_ref",
    "2FA Enabled": "2fa_enabled",
    "5TEst": "5test",
    "sample___text": "sample_text",
    "_id": "id",
    "$ip": "ip",
    "f_pX9": "f_p_x9",
    "edf_6N": "edf_6n",
    "FOO:BAR$BAZ": "foo_bar_baz",
    "something.com": "something_com",
    "événement": "evenement",
    "Ünïcödé Name": "unicode_name",
    "nul\0character": "nulcharacter",
    "产品": "",
    "": "",
    "___": "",
    "a_": "a",
    "a__b": "a_b",
    "a_B": "a_b",
    "ﬁnal": "final",
}


def test_there_are_all_of_the_cases() -> None:
    assert len(CASES) == 32


@pytest.mark.parametrize("case", CASES, ids=[case["in"] for case in CASES])
def test_a_case_of_segments_library_holds(case: dict[str, str]) -> None:
    assert case["out"] == snake_case(case["in"])


@pytest.mark.parametrize(("name", "expected"), EXAMPLES.items())
def test_an_example_of_the_rule_holds(name: str, expected: str) -> None:
    assert expected == snake_case(name)


LOWER, DIGITS, UPPER = set(string.ascii_lowercase), set(string.digits), set(string.ascii_uppercase)


def by_the_letter(name: str) -> str:
    """The rule for ASCII names, character by character, as it is worded."""
    kept = 0
    while kept < len(name) and stays(name, kept):
        kept += 1
    written, rest = name[:kept], name[kept:]
    since = written[written.rfind("_") + 1 :]
    is_same_word = not set(written) & LOWER or ("_" in written and not set(since) & LOWER)
    if rest and rest[0] in UPPER and is_same_word:
        word, rest = one_word(rest)
        written += word
    while rest:
        if rest[0] not in LOWER | DIGITS | UPPER:
            rest = rest[1:]
            continue
        word, rest = one_word(rest)
        written += ("_" if written else "") + word
    return written


def stays(name: str, place: int) -> bool:
    follows = name[place + 1 : place + 2]
    is_inner = name[place] == "_" and place > 0 and follows != "" and follows in LOWER | DIGITS
    return name[place] in LOWER | DIGITS or is_inner


def one_word(rest: str) -> tuple[str, str]:
    place = 0
    for allowed in (UPPER | DIGITS, LOWER | DIGITS):
        while place < len(rest) and rest[place] in allowed:
            place += 1
    return rest[:place].lower(), rest[place:]


@given(st.text(alphabet="aAbB19_ .$", max_size=12))
def test_snake_case_follows_the_rule_letter_by_letter(name: str) -> None:
    assert by_the_letter(name) == snake_case(name)


@given(st.text())
def test_any_name_becomes_an_identifier(name: str) -> None:
    for identifier in (event_slug(name), column_base(joined("properties", name))):
        assert 1 <= len(identifier.encode()) <= 63
        assert set(identifier) <= set(string.ascii_lowercase + string.digits + "_")
        assert not identifier.startswith("_")


def test_names_that_leave_nothing_stay_apart_by_a_hash() -> None:
    assert event_slug("产品").startswith("event_")
    assert event_slug("产品") != event_slug("商品")
    assert len("event_") + 8 == len(event_slug("产品"))
    assert column_base("产品").startswith("property_")


def test_long_names_end_in_a_hash_and_stay_apart() -> None:
    one, other = event_slug("word " * 20 + "one"), event_slug("word " * 20 + "other")
    assert (63, 63) == (len(one), len(other))
    assert one != other
    assert "x" * 63 == limited("x" * 63, "x" * 63)
    assert 63 == len(limited("x" * 64, "x" * 64))


def test_a_number_is_put_after_the_name_within_the_limit() -> None:
    assert "plan_2" == numbered("plan", 2)
    assert "x" * 60 + "_12" == numbered("x" * 63, 12)


@pytest.mark.parametrize("name", ["Users", "Tracks", "identifies", "Pages", "Aliases", "Accounts", "GROUPS", "screens"])
def test_an_event_called_like_a_standard_table_gets_a_table_of_its_own(name: str) -> None:
    slug = event_slug(name)
    assert slug in STANDARD_TABLES
    assert f"_{slug}" == event_table(slug)


def test_nested_names_are_joined() -> None:
    assert "context_app_version" == column_base(joined(joined("context", "app"), "version"))
    assert "address_zip_code" == column_base(joined(joined("properties", "address"), "zipCode"))


def test_a_path_reads_like_what_was_sent() -> None:
    assert "plan" == joined("properties", "plan")
    assert "cart.total" == joined(joined("properties", "cart"), "total")
    assert "context.ip" == joined("context", "ip")
    assert "properties.context.ip" == joined(joined("properties", "context"), "ip")
    assert "a\\.b" == joined("properties", "a.b")


@given(
    st.sampled_from(["properties", "context", "envelope"]),
    st.lists(
        st.sampled_from(["context", "properties", "envelope", "a", "a.b", ".", "\\", "\\.", "", "\0", "é"])
        | st.text(max_size=4),
        min_size=1,
        max_size=4,
    ),
)
def test_a_path_gives_its_names_back(root: str, names: list[str]) -> None:
    path = root
    for name in names:
        path = joined(path, name)
    assert (root, *names) == names_of(path)
