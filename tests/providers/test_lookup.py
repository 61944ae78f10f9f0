"""Finding out at Kling whether a submit without an answer was taken."""

from __future__ import annotations

import pytest

from runner.events import Absent, Accepted, Delayed, Unclear
from runner.providers import Kling, Order, presets
from runner.wire import Response
from tests.providers.talk import GATEWAY, NATIVE, answer, replay, talk

ID = "814237883686625347"
DIRECT = Kling(presets()["kling"])
FRONTED = Kling(presets()["quickrouter"])
ORDER = Order(NATIVE, {"prompt": "A boat", "duration": 5}, "job-000001")


@pytest.mark.parametrize("status", [408, 409, 500, 502, 504])
def test_lost_answers_are_looked_up_where_that_proves_something(status: int) -> None:
    """In doubt at Kling itself is looked up after a while; at a gateway it is held for a person."""
    lost = answer({"code": 5002, "message": "backlog"}, status)
    direct, _ = talk(DIRECT.submit(ORDER), lost)
    assert isinstance(direct, Unclear)
    assert direct.check_after == 30.0
    fronted, _ = talk(FRONTED.submit(ORDER), lost)
    assert isinstance(fronted, Unclear)
    assert fronted.check_after is None


def test_a_reference_that_is_taken_is_looked_up() -> None:
    """Kling refusing our reference as a duplicate means that an earlier send was taken."""
    taken = answer({"code": 1201, "message": "external_task_id already exists"}, 400)
    event, _ = talk(DIRECT.submit(ORDER), taken)
    assert isinstance(event, Unclear)
    assert event.check_after == 30.0


def test_look_up_adopts_what_was_taken() -> None:
    """The task that carries our reference is the job, and is polled from then on."""
    exchange = DIRECT.lookup(NATIVE, "job-000001")
    assert exchange is not None
    event, asked = talk(exchange, replay("kling", "C6"))
    assert (asked[0].method, asked[0].path) == ("GET", f"/{NATIVE}/job-000001")
    assert isinstance(event, Accepted)
    assert event.remote == DIRECT.remote(NATIVE, ID)


def test_look_up_finds_our_task_in_a_list() -> None:
    """A list answer is searched for our reference."""
    exchange = DIRECT.lookup(NATIVE, "job-000001")
    assert exchange is not None
    event, _ = talk(exchange, replay("kling", "C8"))
    assert isinstance(event, Accepted)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (replay("kling", "C9", 6), Absent),
        (answer({"code": 1201, "message": "task not found"}, 400), Absent),
        (answer({"code": 1201, "message": "bad page"}, 400), Delayed),
        (answer(b"not here", 404), Delayed),
        (replay("gateway_errors", "X6"), Delayed),
        (replay("kling", "C8", 1), Delayed),
        (answer({"code": 0, "data": {"task_id": "9", "task_info": {"external_task_id": "other"}}}), Delayed),
        (answer({"code": 5000, "message": "internal"}, 500), Delayed),
        (replay("kling", "C9", 0), Delayed),
        *[(replay("gateway_errors", "X7", case), Delayed) for case in range(5)],
    ],
)  # fmt: skip
def test_only_kling_itself_proves_that_nothing_was_bought(reply: Response, expected: type) -> None:
    """A job is only sent again when Kling says that it has no such task."""
    exchange = DIRECT.lookup(NATIVE, "job-000001")
    assert exchange is not None
    event, _ = talk(exchange, reply)
    assert isinstance(event, expected)
    if isinstance(event, Delayed):
        assert event.retry_after is not None
        assert event.retry_after >= 30


def test_gateways_are_not_looked_up() -> None:
    """A gateway that does not know our reference proves nothing."""
    assert FRONTED.lookup(GATEWAY, "job-000001") is None
