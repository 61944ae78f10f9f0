"""Every documented error, as the answer to a submit and to a poll."""

from __future__ import annotations

import pytest

from runner.causes import Cause
from runner.events import Delayed, Refused, Rejected, Unclear
from runner.providers import Dialect, Fal, Kling, Order, presets
from runner.wire import Response
from tests.providers.talk import GATEWAY, NATIVE, TEXT, answer, replay, talk

KLING = Kling(presets()["quickrouter"])
FAL = Fal(presets()["quickrouter"])
BOTH: list[tuple[Dialect, str]] = [(FAL, TEXT), (KLING, GATEWAY)]

# HTTP status, code, what a submit makes of it, cause, for the whole provider, because of the crowd
NATIVE_CODES = [
    (401, 1000, Refused, Cause.BAD_KEY, True, False),
    (401, 1001, Refused, Cause.BAD_KEY, True, False),
    (401, 1002, Refused, Cause.BAD_KEY, True, False),
    (401, 1003, Refused, Cause.BAD_KEY, True, False),
    (401, 1004, Refused, Cause.BAD_KEY, True, False),
    (429, 1100, Refused, Cause.NOT_PERMITTED, True, False),
    (429, 1101, Refused, Cause.OUT_OF_MONEY, True, False),
    (429, 1102, Refused, Cause.OUT_OF_MONEY, True, False),
    (403, 1103, Rejected, Cause.NOT_PERMITTED, None, None),
    (400, 1200, Rejected, Cause.INVALID_INPUT, None, None),
    (400, 1201, Rejected, Cause.INVALID_INPUT, None, None),
    (404, 1202, Rejected, Cause.INVALID_INPUT, None, None),
    (404, 1203, Rejected, Cause.INVALID_INPUT, None, None),
    (400, 1300, Rejected, Cause.CONTENT_POLICY, None, None),
    (400, 1301, Rejected, Cause.CONTENT_POLICY, None, None),
    (429, 1302, Refused, Cause.RATE_LIMITED, True, False),
    (429, 1303, Refused, Cause.RATE_LIMITED, True, True),
    (429, 1304, Refused, Cause.NOT_PERMITTED, True, False),
    (500, 5000, Unclear, Cause.ANSWER_LOST, None, None),
    (503, 5001, Refused, Cause.RATE_LIMITED, True, False),
    (504, 5002, Unclear, Cause.ANSWER_LOST, None, None),
]


@pytest.mark.parametrize(("status", "code", "kind", "cause", "wide", "crowded"), NATIVE_CODES)
def test_kling_codes(
    status: int, code: int, kind: type, cause: Cause, wide: bool | None, crowded: bool | None
) -> None:
    """Each of Kling's codes means what its documentation says, whatever HTTP status comes with it."""
    reply = answer({"code": code, "message": "m", "request_id": "trace"}, status)
    event, _ = talk(KLING.submit(Order(NATIVE, {"prompt": "x"}, "r")), reply)
    assert isinstance(event, kind)
    assert getattr(event, "cause", None) is cause
    if isinstance(event, Refused):
        assert (event.provider_wide, event.crowded) == (wide, crowded)
    if isinstance(event, Rejected):
        assert event.billed is False


@pytest.mark.parametrize("code", [1102, 1303])
def test_a_flattened_refusal_is_still_one(code: int) -> None:
    """A gateway that turns 429 into 200 leaves the code, and nothing was taken."""
    reply = answer({"code": code, "message": "m", "request_id": "trace", "data": None})
    event, _ = talk(KLING.submit(Order(NATIVE, {"prompt": "x"}, "r")), reply)
    assert isinstance(event, Refused)


def test_a_code_beside_data_proves_nothing() -> None:
    """Some vendors write 1000 for "fine": with something in `data` it might have been taken."""
    reply = answer({"code": 1000, "data": {"job": "x"}})
    event, _ = talk(KLING.submit(Order(NATIVE, {"prompt": "x"}, "r")), reply)
    assert isinstance(event, Unclear)


GATEWAY_ERRORS = [
    ("X1", 0, Refused, Cause.BAD_KEY, True, False),
    ("X2", 0, Refused, Cause.OUT_OF_MONEY, True, False),
    ("X2", 1, Refused, Cause.OUT_OF_MONEY, True, False),
    ("X3", 0, Refused, Cause.RATE_LIMITED, True, True),
    ("X3", 1, Refused, Cause.RATE_LIMITED, True, False),
    ("X4", 0, Refused, Cause.RATE_LIMITED, False, False),
    ("X5", 0, Rejected, Cause.INVALID_INPUT, None, None),
    ("X5", 2, Rejected, Cause.INVALID_INPUT, None, None),
    ("X5", 3, Unclear, Cause.ANSWER_LOST, None, None),
    ("X6", 0, Rejected, Cause.INVALID_INPUT, None, None),
]


@pytest.mark.parametrize(("dialect", "model"), BOTH, ids=["fal", "kling"])
@pytest.mark.parametrize(("name", "case", "kind", "cause", "wide", "crowded"), GATEWAY_ERRORS)
def test_gateway_errors(
    dialect: Dialect,
    model: str,
    name: str,
    case: int,
    kind: type,
    cause: Cause,
    wide: bool | None,
    crowded: bool | None,
) -> None:
    """A gateway's own errors mean the same on every path it sells."""
    reply = replay("gateway_errors", name, case)
    event, _ = talk(dialect.submit(Order(model, {"prompt": "x"}, "r")), reply)
    assert isinstance(event, kind)
    assert getattr(event, "cause", None) is cause
    if isinstance(event, Refused):
        assert (event.provider_wide, event.crowded) == (wide, crowded)


TEXTS = [
    (403, {"error": {"message": "token has no access to model x"}}, Refused, Cause.NOT_PERMITTED),
    (403, {"error": {"message": "IP not allowed"}}, Refused, Cause.NOT_PERMITTED),
    (403, {"detail": "Authentication is required"}, Refused, Cause.BAD_KEY),
    (403, {"detail": "User is locked. Exhausted balance."}, Refused, Cause.OUT_OF_MONEY),
    (402, {}, Refused, Cause.OUT_OF_MONEY),
    (429, {"error": {"message": "insufficient quota"}}, Refused, Cause.OUT_OF_MONEY),
    (400, {"code": "task_failed", "message": "parallel task over resource pack limit"}, Refused,
     Cause.RATE_LIMITED),
    (400, {"code": "task_failed", "message": "content safety policy"}, Rejected,
     Cause.CONTENT_POLICY),
    (400, {"code": "fail_to_fetch_task", "message": '{"code":1102,"message":"empty"}'}, Refused,
     Cause.OUT_OF_MONEY),
    (500, {"code": "fail_to_fetch_task", "message": "upstream said {broken"}, Unclear,
     Cause.ANSWER_LOST),
    (500, {"code": "build_request_failed", "message": "json"}, Rejected, Cause.INVALID_INPUT),
    (500, {"code": "read_response_body_failed", "message": "eof"}, Unclear, Cause.ANSWER_LOST),
    (501, {"code": "api_not_implemented", "message": "no"}, Rejected, Cause.INVALID_INPUT),
    (404, {"error": {"code": "model_not_found", "message": "no model"}}, Rejected,
     Cause.INVALID_INPUT),
    (413, b"too large", Rejected, Cause.INVALID_INPUT),
    (422, {"detail": [{"type": "content_policy_violation", "msg": "no"}]}, Rejected,
     Cause.CONTENT_POLICY),
    (422, {"detail": [{"type": "image_too_small", "msg": "no"}]}, Rejected, Cause.INVALID_INPUT),
    (422, {"detail": "moderation refused it"}, Rejected, Cause.CONTENT_POLICY),
    (422, {"detail": [{"type": "downstream_service_error", "msg": "no"}]}, Refused,
     Cause.PROVIDER_ERROR),
    (303, b"", Unclear, Cause.ANSWER_LOST),
    (520, b"", Unclear, Cause.ANSWER_LOST),
    (100, b"", Unclear, Cause.ANSWER_LOST),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "model"), BOTH, ids=["fal", "kling"])
@pytest.mark.parametrize(("status", "body", "kind", "cause"), TEXTS)
def test_errors_by_text_type_and_status(
    dialect: Dialect, model: str, status: int, body: object, kind: type, cause: Cause
) -> None:
    """Where a code says nothing, the text, fal's type and the status decide, in this order."""
    event, _ = talk(dialect.submit(Order(model, {"prompt": "x"}, "r")), answer(body, status))
    assert isinstance(event, kind)
    assert getattr(event, "cause", None) is cause


def test_fal_says_first_whether_it_may_be_sent_again() -> None:
    """The retryable header outranks the type of an error."""
    body = {"detail": [{"type": "file_download_error", "msg": "no"}]}
    order = Order(TEXT, {"prompt": "x"}, "r")
    again, _ = talk(FAL.submit(order), answer(body, 422, x_fal_retryable="true"))
    assert isinstance(again, Refused)
    never, _ = talk(FAL.submit(order), answer(body, 422, x_fal_retryable="false"))
    assert isinstance(never, Rejected)


def test_the_providers_pause_is_kept() -> None:
    """Retry-After reaches the engine from a refusal and from a poll."""
    busy = answer({"code": 1302, "message": "slow"}, 429, retry_after="11")
    event, _ = talk(KLING.submit(Order(NATIVE, {"prompt": "x"}, "r")), busy)
    assert isinstance(event, Refused)
    assert event.retry_after == 11.0
    polled, _ = talk(KLING.poll(KLING.remote(NATIVE, "1")), busy)
    assert polled == Delayed(Cause.RATE_LIMITED, "HTTP 429, code 1302: slow", 11.0)


def test_what_is_shown_can_not_steer_a_terminal() -> None:
    """Escape sequences and direction marks in an error text don't reach the screen."""
    nasty = answer({"code": 1201, "message": "\x1b[2J\u202egnihton\r\nHTTP 200"}, 400)
    event, _ = talk(KLING.submit(Order(NATIVE, {"prompt": "x"}, "r")), nasty)
    assert isinstance(event, Rejected)
    assert event.detail.isprintable()
    assert "\u202e" not in event.detail


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_keys_trouble_delays_a_poll(status: int) -> None:
    """A job that was paid for waits until the key works again."""
    for dialect, model in BOTH:
        event, _ = talk(dialect.poll(dialect.remote(model, "1")), Response(status))
        assert isinstance(event, Delayed)
