"""The expression language over events."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path as File
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter_oracle import as_sent, holds
from headrace.errors import ConfigError, RejectedEventError
from headrace.event import EVENT_TYPES, Event, EventType
from headrace.filters import compile_filter, evaluation
from headrace.filters.parser import COMPARISONS, DEPTH, parse
from headrace.filters.syntax import All, Call, Comparison, Condition, Exists, ListOf, Literal, Not, Operand, Path, Some
from headrace.filters.tokens import CHARACTERS
from made_events import made

DOCS = (File(__file__).parents[2] / "docs/filters.md").read_text()


# The documentation.


def documented(heading: str) -> list[tuple[str, str]]:
    after = DOCS.split(heading, 1)[1]
    table = after.split("|---|---|\n", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `(.+?)` \| (.+?) \|$", table, re.MULTILINE)


def documented_event() -> Event:
    (block,) = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)
    sent = json.loads(block)
    return made(
        sent["messageId"],
        sent["type"],
        sent["properties"],
        sent["context"],
        event=sent["event"],
        user_id=sent["userId"],
        timestamp=datetime.fromisoformat(sent["timestamp"]),
    )


@pytest.mark.parametrize(("text", "expected"), documented("For this event"))
def test_every_documented_example_does_what_it_says(text: str, expected: str) -> None:
    assert {"yes": True, "no": False}[expected] is compile_filter(text).matches(documented_event())


@pytest.mark.parametrize(("text", "expected"), documented("These are refused"))
def test_every_documented_mistake_is_refused_as_documented(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=r"^filter, column \d+: ") as refused:
        compile_filter(text)
    assert expected in str(refused.value)


def test_the_documentation_is_read_whole() -> None:
    assert (26, 8) == (len(documented("For this event")), len(documented("These are refused")))
    (first,) = re.findall(r"```\n(type = .*)\n```", DOCS)
    assert compile_filter(first).matches(documented_event())
    for limit in (f"{CHARACTERS:,} characters", f"{COMPARISONS} comparisons", f"{DEPTH} levels"):
        assert limit in DOCS


# Meanings that the documentation does not show.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("properties.a = [1, [true, null]]", True),
        ("properties.a = [1, [1, null]]", False),
        ("properties.a contains [true, null]", True),
        ("[true, null] in properties.a", True),
        ("properties.a in [1, 'x']", False),
        ("properties.n in [1, 'x', null]", True),
        ("properties.nothing in ['x', null]", True),
        ("properties.nothing not in ['x']", True),
        ("properties.n = properties.m", True),
        ("properties.yes = properties.n", False),
        ("properties.o = properties.o", True),
        ("properties.o = properties.a", False),
        ("length(properties.o) = 2", True),
        ("length(properties.n) is null", True),
        ("length(lower(event)) = 12", True),
        ("lower(properties.n) is null", True),
        ("properties.o.x.y.z is null", True),
        ("properties.first-name = 'Ada' and properties.$set = 1 and properties.2fa = 2", True),
        ("properties['a.b'] = 1 and properties.o.x = 'in'", True),
        ("properties.in = true", True),
        ("properties.größe = 3", True),
        (r"event = 'Order \u0050laced'", True),
        (r"properties.clef = '\ud834\udd1e'", True),
        ('properties.quote = "\\"\'"', True),
        ("properties exists and context exists", True),
        ("receivedAt > timestamp", False),
        ("timestamp = receivedAt", True),
        ("timestamp = '2026-03-01T13:00:00+01:00'", True),
        ("timestamp != '2026-03-01T12:00:00.000001'", True),
        ("event contains ''", True),
        ("properties.n contains '1'", False),
        ("event > 'Order' and event < 'P'", True),
        ("properties.n < 1.5 and properties.n > -1e3", True),
        ("properties.yes > false", False),
        ("not not event exists", True),
        ("event is not null", True),
        ("source = 'shop'", True),
    ],
)
def test_a_condition_holds(text: str, expected: bool) -> None:  # noqa: FBT001
    event = made(
        properties={
            "a": [1, [True, None]], "n": 1, "m": 1.0, "yes": True, "o": {"x": "in", "k": 1}, "first-name": "Ada", "$set": 1, "2fa": 2,
            "a.b": 1, "in": True, "größe": 3, "clef": "𝄞", "quote": "\"'",
        }
    )  # fmt: skip
    assert expected is compile_filter(text).matches(event)


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("*", ["", "a\nb"], []),
        ("", [""], ["a"]),
        ("a*", ["a", "ab"], ["ba", "A"]),
        ("*b*b", ["bb", "abxb", "bbb"], ["b", "ab"]),
        ("a*a", ["aa", "aba"], ["a"]),
        ("a?c", ["abc", "a\nc"], ["ac", "abbc"]),
        (r"\*?\\", ["*x\\"], ["xx\\"]),
        ("[a-z].(x)+", ["[a-z].(x)+"], ["a.x"]),
        ("a**b", ["ab", "a*b"], ["a"]),
        ("a\\", ["a\\"], ["a"]),
    ],
)
def test_a_pattern_fits_whole_texts(pattern: str, fitting: list[str], other: list[str]) -> None:
    condition = compile_filter(f"event matches {json.dumps(pattern)}")
    assert fitting == [text for text in (*fitting, *other) if condition.matches(made(event=text))]


def test_a_pattern_made_to_be_slow_is_not() -> None:
    # A backtracking evaluator would need longer than the test's time limit for this by many orders of magnitude.
    for pattern in ("*a" * 50 + "*b*", "*a" * 50 + "*b", "*" + "a" * 500 + "b*", "*" + "?" * 500 + "b*"):
        assert not compile_filter(f'event matches "{pattern}"').matches(made(event="a" * 20_000))


def test_traits_belong_to_identify_and_group_and_properties_to_the_others() -> None:
    types: list[EventType] = ["track", "identify", "group", "page"]
    for text, expected in (("traits.x = 1", ["identify", "group"]), ("properties.x = 1", ["track", "page"])):
        condition = compile_filter(text)
        assert expected == [type_ for type_ in types if condition.matches(made(type_=type_, properties={"x": 1}))]


# Parsing events as late and as seldom as possible.


def test_properties_are_parsed_when_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def decode(raw: msgspec.Raw) -> Any:
        parsed.append(bytes(raw))
        return msgspec.json.decode(raw)

    monkeypatch.setattr(evaluation, "_decode", decode)
    event = made(properties={"a": 1}, context={"b": 2})
    assert not compile_filter("type = 'page' and properties.a = 1").matches(event)
    assert [] == parsed
    assert compile_filter("properties.a = 1 and properties.b is null and context.b = 2 and context.c is null").matches(
        event
    )
    assert [b'{"a":1}', b'{"b":2}'] == parsed


@pytest.mark.parametrize("broken", [b"[1]", b"777", b"{{{", b'{"a":'])
def test_properties_that_cannot_be_read_are_an_error_and_no_answer(broken: bytes) -> None:
    with pytest.raises(RejectedEventError) as error:
        compile_filter("not properties.a exists").matches(made(properties=broken))
    assert "properties_not_object" == error.value.code
    assert compile_filter("event exists").matches(made(properties=broken))


def test_an_empty_array_is_no_properties_as_for_the_loader() -> None:
    assert compile_filter("properties exists and properties.a is null").matches(made(properties=b"[]"))


def test_numbers_beyond_double_are_infinite() -> None:
    event = made(properties=b'{"big":1e999,"long":-%s,"exact":%s}' % (b"9" * 5000, b"9" * 30))
    assert compile_filter(f"properties.big > 1e300 and properties.long < -1 and properties.exact = {'9' * 30}").matches(
        event
    )


# Refusals.


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("event", 6, "expected a comparison after event"),
        ("event =", 8, "expected a field, a text"),
        ("event = 'x' type = 'page'", 13, "expected `and`, `or` or the end, found `type`"),
        ("event = 'x' adn type = 'page'", 13, "did you mean `and`"),
        ("event equals 'x'", 7, "did you mean `=`"),
        ("event startswith 'x'", 7, "did you mean `starts with`"),
        ("event starts 'x'", 14, "expected `with`"),
        ("event not = 'x'", 11, "expected a comparison after event: in contains"),
        ("(event = 'x'", 13, "expected `)`"),
        ("event = 'x')", 12, "found `)`"),
        ("event in ['a' 'b']", 15, "expected `,`"),
        ("event in ['a',]", 15, "expected a field, a text"),
        ("event in [userId]", 11, "expected only texts"),
        ("event in userId", 10, "expected a list"),
        ("event in [1]", 10, "event is text"),
        ("type in ['track', 'pages']", 9, 'did you mean "page"'),
        ("event matches properties.x", 15, "expected a pattern in quotes"),
        ("properties.x starts with 3", 26, "expected a text in quotes"),
        ("event is missing", 10, "expected `null`"),
        ("event.name = 'x'", 1, "expected `event` alone"),
        ("user_id = 'x'", 1, "did you mean `userId`"),
        ("MESSAGEID = 'x'", 1, "did you mean `messageId`"),
        ("event = 'x", 9, "closing quote"),
        ("event = “x”", 9, 'did you mean "'),
        (r"event = 'a\q'", 11, "after a backslash"),
        ("properties.x = 1e999", 16, "expected a number"),
        (f"properties.x = {'9' * 41}", 16, "expected a number"),
        ("timestamp > 'yesterday'", 13, "expected a date or time in quotes"),
        ("timestamp > '0001-01-01T00:00:00+10:00'", 13, "expected a date or time"),
        ("timestamp > 5", 13, "expected a date or time"),
        ("timestamp contains '2026'", 20, "expected a time to be compared by"),
        ("timestamp = properties.at", 13, "expected a date or time"),
        ("lower(timestamp) = 'x'", 7, "expected a field that may hold text"),
        ("lowr(event) = 'x'", 1, "did you mean `lower`"),
        ("lower(event = 'x'", 13, "expected `)`"),
        ("event = 1 + 1", 11, "'+' has no meaning"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_column_and_what_was_expected(text: str, column: int, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compile_filter(text)
    assert str(refused.value).startswith(f"filter, column {column}: ")
    assert expected in str(refused.value)


@pytest.mark.parametrize("text", ["", " \n"])
def test_nothing_is_no_condition(text: str) -> None:
    with pytest.raises(ConfigError, match="the expression is empty; write"):
        compile_filter(text)


def test_an_expression_is_bounded_and_reaches_its_bounds() -> None:
    compile_filter(" or ".join(["name exists"] * COMPARISONS))
    compile_filter("(" * DEPTH + "event exists" + ")" * DEPTH)
    compile_filter(f"event = '{'x' * (CHARACTERS - 10)}'")
    for text, expected in (
        (" or ".join(["name exists"] * (COMPARISONS + 1)), f"{COMPARISONS} comparisons"),
        ("(" * (DEPTH + 1) + "event exists" + ")" * (DEPTH + 1), f"{DEPTH} levels"),
        ("not " * 2000 + "event exists", f"{DEPTH} levels"),
        ("properties.x = " + "[" * 2000, f"{DEPTH} levels"),
        ("lower(" * 1000, f"{DEPTH} levels"),
        (f"event = '{'x' * (CHARACTERS - 9)}'", f"the limit is {CHARACTERS}"),
    ):
        with pytest.raises(ConfigError, match=expected):
            compile_filter(text)


# Laws, over made expressions.

NAMES = st.sampled_from(["a", "b", "odd name", "in", "", 'q"\\', "a.b", "größe", "2"])
SCALARS = st.one_of(
    st.sampled_from([None, True, False, 0, 1, 1.0, -1.5, "", "a", "A", "ab", "Track", 2**60, "*"]),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
)
LITERALS = SCALARS.map(Literal)
LISTS = st.recursive(
    st.lists(LITERALS, max_size=3).map(lambda items: ListOf(tuple(items))),
    lambda inner: st.lists(LITERALS | inner, max_size=3).map(lambda items: ListOf(tuple(items))),
    max_leaves=3,
)
OBJECT_PATHS = st.builds(
    Path, st.sampled_from(["properties", "context", "traits", "integrations"]), st.lists(NAMES, max_size=2).map(tuple)
)
TEXT_PATHS = st.sampled_from(["event", "name", "userId", "anonymousId", "messageId", "source"]).map(Path)
TEXTS = (st.sampled_from(["a", "A", "ab", "b", "*", ""]) | st.text(max_size=3)).map(Literal)
CALLS: st.SearchStrategy[Operand] = st.recursive(
    OBJECT_PATHS | TEXT_PATHS, lambda inner: st.builds(Call, st.sampled_from(["lower", "length"]), inner), max_leaves=2
)
SIGNS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
TIMES = st.datetimes(datetime(2026, 2, 28), datetime(2026, 3, 2)).map(lambda at: Literal(at.isoformat()))  # noqa: DTZ001
ANY = OBJECT_PATHS | LITERALS | LISTS
COMPARISON = st.one_of(
    st.builds(Comparison, SIGNS | st.just("contains"), ANY, ANY),
    st.builds(Comparison, SIGNS, CALLS.filter(lambda call: not isinstance(call, Path)), LITERALS),
    st.builds(Comparison, SIGNS | st.sampled_from(["contains", "starts with", "ends with"]), TEXT_PATHS, TEXTS),
    st.builds(Comparison, st.just("in"), ANY, LISTS | OBJECT_PATHS),
    st.builds(Comparison, st.just("in"), TEXT_PATHS, st.lists(TEXTS, max_size=3).map(lambda all_: ListOf(tuple(all_)))),
    st.builds(Comparison, st.just("="), st.just(Path("type")), st.sampled_from(sorted(EVENT_TYPES)).map(Literal)),
    st.builds(Comparison, st.just("matches"), CALLS, TEXTS),
    st.builds(Comparison, SIGNS, st.sampled_from(["timestamp", "receivedAt"]).map(Path), TIMES),
    st.builds(Exists, ANY | CALLS),
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    COMPARISON,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: All(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Some(tuple(parts))),
    ),
    max_leaves=6,
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=4)
OPTIONAL = st.none() | st.sampled_from(["a", "A", "ab", "b", ""])
EVENTS = st.builds(
    lambda type_, properties, context, event, **fields: made(
        "ab", type_, json.dumps(properties).encode(), json.dumps(context).encode(), event=event, **fields
    ),
    st.sampled_from(sorted(EVENT_TYPES)),
    OBJECTS,
    OBJECTS,
    OPTIONAL,
    name=OPTIONAL,
    user_id=OPTIONAL,
    anonymous_id=OPTIONAL,
    timestamp=st.datetimes(datetime(2026, 2, 28), datetime(2026, 3, 2), timezones=st.just(UTC)),  # noqa: DTZ001
)


@given(CONDITIONS)
def test_a_printed_tree_reads_back_as_itself(condition: Condition) -> None:
    again = parse(str(condition))
    assert condition == again
    assert repr(condition) == repr(again)  # 1, 1.0 and true are equal to Python


@given(CONDITIONS, EVENTS)
def test_an_evaluator_written_otherwise_agrees(condition: Condition, event: Event) -> None:
    assert holds(condition, as_sent(event)) is compile_filter(str(condition)).matches(event)


@given(CONDITIONS, EVENTS)
def test_negation_turns_every_answer_round(condition: Condition, event: Event) -> None:
    answer = compile_filter(str(condition)).matches(event)
    assert answer is not compile_filter(f"not ({condition})").matches(event)


def test_the_made_conditions_hold_and_fail_both() -> None:
    """A control: agreement would mean little if nearly all answers were the same."""
    answers: list[bool] = []

    @given(COMPARISON, EVENTS)
    def ask(condition: Condition, event: Event) -> None:
        answers.append(compile_filter(str(condition)).matches(event))

    ask()
    assert len(answers) / 10 < sum(answers) < len(answers) * 9 / 10


PIECES = st.sampled_from(
    ["event", "properties", ".a", "['b']", "=", "==", "!=", "<", "in", "not", "and", "or", "(", ")", "[", "]", ",", "'x'", '"', "'",
     "1", "-1.5e3", "null", "true", "lower", "length(", "exists", "is", "starts", "with", "matches", "contains", "timestamp", "type",
     "'track'", "\\", " ", "  "]
)  # fmt: skip


@given(st.text() | st.lists(PIECES, max_size=12).map(" ".join) | st.lists(PIECES, max_size=8).map("".join))
def test_any_text_is_a_filter_or_a_config_error(text: str) -> None:
    try:
        condition = compile_filter(text)
    except ConfigError:
        return
    answer: Any = condition.matches(made(properties={"a": "x"}))
    assert answer in (True, False)
