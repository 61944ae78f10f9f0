"""Reading what a stranger wrote: nothing raises, nothing is guessed, nothing reaches a terminal raw."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.wire import Response, dump_json, excerpt, parse_json, pick, pick_text

QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
PATHS = st.lists(st.sampled_from(["data", "0", "1", "-1", "task_id", "", "\u0663", "99999999999999999999"]), min_size=1,
                 max_size=4).map(".".join)  # fmt: skip

ANSWER = {"code": 0, "data": {"task_id": 12345678901234567890, "videos": [{"url": "https://m.example/1"}, None]},
          "id": "", "request_id": "r1", "flag": True, "ratio": 0.5}  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (("request_id",), "r1"),
        (("id", "request_id"), "r1"),
        (("data.videos.0.url",), "https://m.example/1"),
        (("data.videos.1", "data.videos.1.url", "data.videos.2"), None),
        (("data.videos.-1",), None),
        (("data.videos.url",), None),
        (("code",), 0),
        (("code.data",), None),
        ((), None),
    ],
)
def test_pick_takes_the_first_path_that_leads_somewhere(paths: tuple[str, ...], found: Any) -> None:
    """None and an empty text are nowhere; zero is a value; a wrong type only means that the path ends."""
    assert pick(ANSWER, *paths) == found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("data.task_id", "12345678901234567890"),
        ("request_id", "r1"),
        ("flag", None),
        ("ratio", None),
        ("data", None),
        ("data.videos", None),
    ],
)
def test_an_id_is_a_text_whatever_it_was_sent_as(path: str, text: str | None) -> None:
    """Whole numbers become their digits, exactly; what can't be an id is passed over."""
    assert pick_text(ANSWER, path) == text


def test_an_id_of_the_wrong_kind_does_not_hide_the_next_path() -> None:
    """Where the first path leads to an object, the second is still tried."""
    assert pick_text({"id": {"a": 1}, "request_id": "r1"}, "id", "request_id") == "r1"


@QUICK
@given(ANY_JSON, PATHS)
def test_no_answer_breaks_the_reading_of_it(value: Any, path: str) -> None:
    """Whatever the shape of an answer, looking into it finds something or nothing."""
    found = pick(value, path)
    assert found != ""
    assert pick_text(value, path) in (None, found, str(found))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"NaN",
        b'{"a": NaN}',
        b"[Infinity, -Infinity]",
        b"{'a': 1}",
        b'{"a": 1',
        b'{"a": 1} trailing',
        b'{"a": 1,}',
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"<html>502 Bad Gateway</html>",
        '{"a": 1}'.encode("utf-16"),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_not_json_is_none(body: bytes) -> None:
    """NaN, broken UTF-8, lone surrogates, cut, padded or bottomless bodies are no JSON, and no error either."""
    assert parse_json(body) is None
    assert Response(200, {}, body).json is None


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"null", None),
        (b' {"a": 1}\n', {"a": 1}),
        (b"12345678901234567890123", 12345678901234567890123),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"a\\u0000b"', "a\0b"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'\xef\xbb\xbf{"id": "r1"}', {"id": "r1"}),
        (b"[" * 100 + b"]" * 100, json.loads("[" * 100 + "]" * 100)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_json_is_read_exactly(body: bytes, value: Any) -> None:
    """Whole numbers keep every digit, and a byte order mark in front of an answer doesn't cost a receipt."""
    assert parse_json(body) == value


@pytest.mark.parametrize("digits", [4_000, 5_000, 100_000])
def test_a_number_without_end_is_no_trap(digits: int) -> None:
    """A number of any length is either read exactly or no JSON, and never raises when it is shown as an id."""
    value = parse_json(b'{"id": ' + b"9" * digits + b"}")
    assert pick_text(value, "id") in (None, "9" * digits)


@QUICK
@given(ANY_JSON)
def test_what_we_write_we_can_read(value: Any) -> None:
    """A value survives being written and read; equal values have equal text."""
    text = dump_json(value)
    assert parse_json(text.encode()) == value
    assert "\n" not in text


def test_equal_values_have_equal_text() -> None:
    """The order of names makes no difference to what is stored and hashed."""
    assert (
        dump_json({"b": 1, "a": [1, "ä"]})
        == dump_json({"a": [1, "ä"], "b": 1})
        == '{"a":[1,"ä"],"b":1}'
    )


HOSTILE = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from(
            "\x00\x07\x1b\x7f\x85\x9b\n\r\t\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ufeff"
        ),
    ),
    max_size=60,
)


@QUICK
@given(HOSTILE, st.integers(1, 40))
@example("\x1b[2J\x1b]0;title\x07", 40)
@example("\u202egnp.exe", 40)
@example("a" * 41, 40)
def test_an_excerpt_is_safe_to_show(text: str, limit: int) -> None:
    """No control character, no direction mark, no line break, no lone surrogate, and never longer than asked for."""
    shown = excerpt(text, limit)
    assert len(shown) <= limit
    kinds = {unicodedata.category(char) for char in shown}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(char) for char in shown} & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI",
                                                                      "FSI", "PDI"}  # fmt: skip
    shown.encode()  # raises for what no terminal could be sent


def test_an_excerpt_keeps_what_can_be_read() -> None:
    """Ordinary text of any language stays; white space is one blank; a cut is marked."""
    assert excerpt("  Größe:\n\t寸法 😀  ") == "Größe: 寸法 😀"
    assert excerpt("abcdef", 4) == "abc…"
    assert Response(500, {}, b"\xff\x1b[31mred " + b"x" * 500).text.startswith(
        "\N{REPLACEMENT CHARACTER} [31mred xxx"
    )
