"""Answers that are no answers: pages of proxies, empty bodies, JSON that was cut, bent or puffed up on its way."""

from __future__ import annotations

import json
import random

import pytest

from runner.causes import Cause
from runner.events import Accepted, Delayed, Finished, Progressed, Refused, Rejected, Unclear
from runner.job import State, transition
from runner.providers import Dialect, Fal, Kling, Order, presets
from runner.wire import Response
from tests.providers.talk import NATIVE, TEXT, recorded, talk

DIALECTS: list[tuple[Dialect, str]] = [
    (Fal(presets()["simulator"]), TEXT),
    (Kling(presets()["simulator"]), NATIVE),
]
BOTH = pytest.mark.parametrize(("dialect", "model"), DIALECTS, ids=["fal", "kling"])
PAGES = {
    "empty": b"",
    "login page": b"<!doctype html><html><title>Sign in</title><form>" + b"<p>password</p>" * 500,
    "nginx": b"<html>\r\n<head><title>Bad Gateway</title></head>\r\n<hr><center>nginx</center></html>",
    "text": b"upstream connect error or disconnect/reset before headers",
    "escapes": b"\x1b]0;owned\x07\x1b[2J\xe2\x80\xae" + b"gnp.exe" * 200,
    "binary": bytes(range(256)) * 20,
    "other JSON": b'{"hello": "world"}',
    "list": b"[]",
}
LATER = {401: Cause.BAD_KEY, 429: Cause.RATE_LIMITED}


@BOTH
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("status", [200, 401, 429, 500, 502, 503, 504])
def test_a_page_is_judged_by_its_status(
    dialect: Dialect, model: str, page: str, status: int
) -> None:
    """Without a word of the API the status decides: later, or nobody can tell; the page is quoted in short."""
    reply = Response(status, {"content-type": "text/html"}, PAGES[page])
    bought, _ = talk(dialect.submit(Order(model, {"prompt": "x"}, "ref-1")), reply)
    asked, _ = talk(dialect.poll(dialect.remote(model, "id-1")), reply)
    assert isinstance(asked, Delayed)
    if status in LATER:
        assert isinstance(bought, Refused)
        assert bought.cause is asked.cause is LATER[status]
    else:
        assert isinstance(bought, Unclear)
        assert asked.cause is Cause.PROVIDER_ERROR
        assert asked.provider_wide is (status >= 500)
    for detail in (bought.detail, asked.detail):
        assert len(detail) <= 300 + 120  # a page's excerpt, and our own words around it
        assert detail.isprintable()


# -- recorded answers, bent ------------------------------------------------------------------------------------------

RECORDED = [
    case
    for file in ("fal", "uniapi", "kling", "gateway", "gateway_errors")
    for cases in recorded(file).values()
    for case in (cases if isinstance(cases, list) else [])
    if "body" in case
]
ODD = [
    "null",
    '""',
    "0",
    "[]",
    "{}",
    "true",
    "-1e999",
    "NaN",
    '"\\ud800"',
    "123456789012345678901234567890",
]


def bent(body: object, dice: random.Random) -> bytes:
    """A recorded body as it never was: cut, doubled, of another type here or there, padded, nested, re-encoded."""
    text = json.dumps(body)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(text) + 1)
        match dice.randrange(8):
            case 0:
                text = text[:at]
            case 1:
                text = (
                    text[:at] + dice.choice(["\x00", "\x1b", '"', "{", "]", ",", "\\"]) + text[at:]
                )
            case 2:
                text = text[: at // 2] + text[at:]
            case 3:  # a value becomes another
                parts = text.split(": ")
                spot = dice.randrange(len(parts))
                head, comma, tail = parts[spot].partition(",")
                parts[spot] = dice.choice(ODD) + comma + tail if comma else head
                text = ": ".join(parts)
            case 4:  # each name twice
                text = "{" + text[1:-1] + ", " + text[1:-1] + "}" if text[:1] == "{" else text
            case 5:
                text = "[" * dice.choice([1, 10, 10, 10, 10, 10, 10, 10, 10, 100_000]) + text
            case 6:
                text = text.replace(dice.choice(["id", "status", "data", "video", "url"]), "x", 1)
            case _:
                text = text + " " * 5_000
    data = text.encode("utf-8", "surrogatepass")
    return dice.choice([data, b"\xef\xbb\xbf" + data, text.encode("utf-16"), data[: len(data) - 1]])


def check(dialect: Dialect, model: str, seed: int) -> None:
    """Bend one answer and give it to a submit and to a poll."""
    dice = random.Random(seed)
    case = dice.choice(RECORDED)
    reply = Response(case["status"], case.get("headers", {}), bent(case["body"], dice))
    bought, _ = talk(dialect.submit(Order(model, {"prompt": "x"}, "ref-1")), reply)
    transition(State.SUBMITTING, bought)
    assert isinstance(bought, Accepted | Finished | Refused | Rejected | Unclear)
    if isinstance(bought, Refused | Rejected) and 200 <= reply.status < 300:
        assert reply.json is not None, "what can't be read is no refusal"
    asked, _ = talk(dialect.poll(dialect.remote(model, "id-1")), reply)
    transition(State.RUNNING, asked)
    assert isinstance(asked, Progressed | Finished | Rejected | Delayed)
    if reply.json is None:
        assert not isinstance(asked, Finished | Rejected) or reply.status == 422


@BOTH
@pytest.mark.parametrize("count", [1_000, pytest.param(50_000, marks=pytest.mark.soak)])
def test_a_bent_answer_breaks_nothing(dialect: Dialect, model: str, count: int) -> None:
    """An answer that was damaged on its way is read or not; what can't be read refuses, ends and finishes nothing."""
    for seed in range(count):
        check(dialect, model, seed)
