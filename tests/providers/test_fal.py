"""The fal dialect, fed recorded answers."""

from __future__ import annotations

import base64

import pytest

from runner.causes import Cause
from runner.errors import UsageError
from runner.events import (
    Accepted,
    Cancelled,
    Delayed,
    Finished,
    Progressed,
    Refused,
    Rejected,
    Remote,
    Unclear,
)
from runner.providers import Fal, Order, dialect_for, presets
from runner.wire import Image
from tests.providers.talk import IMAGE, TEXT, answer, recorded, replay, talk

ID = "6d5f0000-411c-4c7a-9249-e297304c0001"
BASE = f"/fal-ai/kling-video/requests/{ID}"
PATHS = {"status": f"{BASE}/status", "result": BASE, "cancel": f"{BASE}/cancel"}
REMOTE = Remote(ID, PATHS)
WINFULL = Fal(presets()["winfull"])
ORDER = Order(TEXT, {"prompt": "A boat", "duration": 5}, "ref-1")


def test_submit_sends_one_paid_request_to_the_whole_path() -> None:
    """The paid request goes once, to the model's path, with the documented body."""
    order = Order(TEXT, recorded("fal")["A1"]["request"], "ref-1")
    event, asked = talk(WINFULL.submit(order), replay("fal", "A3"))
    assert [(one.method, one.path, one.paid) for one in asked] == [("POST", "/" + TEXT, True)]
    assert asked[0].body == recorded("fal")["A1"]["request"]
    assert event == Accepted(REMOTE, 5.0)


def test_duration_goes_out_as_text() -> None:
    """Fal wants a text for a length of time, however the manifest wrote it."""
    _, asked = talk(WINFULL.submit(ORDER), replay("fal", "A3"))
    assert asked[0].body == {"prompt": "A boat", "duration": "5"}


def test_pictures_go_out_as_data_uris() -> None:
    """A local picture becomes a data URI at any depth, and nothing else changes."""
    picture = Image(b"\x89PNG", "image/png")
    params = {"prompt": "x", "image_url": picture, "elements": [{"frontal_image_url": picture}]}
    _, asked = talk(WINFULL.submit(Order(IMAGE, params, "r")), replay("fal", "A3"))
    uri = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    assert asked[0].body == {
        "prompt": "x",
        "image_url": uri,
        "elements": [{"frontal_image_url": uri}],
    }


def test_placeholder_app_is_replaced_by_the_submitted_one() -> None:
    """A reseller that writes `xxxx` into its URLs is polled under the path that was submitted to."""
    uniapi = dialect_for(presets()["uniapi"], IMAGE)
    event, _ = talk(uniapi.submit(Order(IMAGE, {"prompt": "x"}, "r")), replay("uniapi", "B2"))
    base = "/fal-ai/kling-video/requests/725e0000-afbf-4e9d-9e33-314220bb0001"
    assert isinstance(event, Accepted)
    assert event.remote.paths == {
        "status": f"{base}/status",
        "result": base,
        "cancel": f"{base}/cancel",
    }


@pytest.mark.parametrize(
    ("name", "case", "expected"),
    [
        ("A4", 0, Progressed("queued")),
        ("A4", 1, Progressed("queued")),
        ("A5", 0, Progressed("running")),
        ("A5", 1, Progressed("running")),
    ],
)
def test_pending_status_is_read_from_the_body(name: str, case: int, expected: Progressed) -> None:
    """202 and a proxy's 200 mean the same: the body says how far it is."""
    event, asked = talk(WINFULL.poll(REMOTE), replay("fal", name, case))
    assert event == expected
    assert [one.path for one in asked] == [PATHS["status"]]


@pytest.mark.parametrize(("name", "size"), [("A8", 13096952), ("A9", None)])
def test_completed_fetches_the_result_in_the_same_look(name: str, size: int | None) -> None:
    """A completed job is finished with its file, its size where known, and seven days to fetch it."""
    event, asked = talk(WINFULL.poll(REMOTE), replay("fal", "A6"), replay("fal", name))
    assert [one.path for one in asked] == [PATHS["status"], PATHS["result"]]
    assert isinstance(event, Finished)
    assert event.artifacts[0].url == recorded("fal")[name][0]["body"]["video"]["url"]
    assert (event.artifacts[0].size, event.lifetime) == (size, 604800.0)


def test_completed_with_error_is_failed_and_free() -> None:
    """`COMPLETED` beside an error of the platform is a failure, which fal documents as not billed."""
    event, asked = talk(WINFULL.poll(REMOTE), replay("fal", "A7"))
    assert event == Rejected(Cause.PROVIDER_ERROR, "Runner disconnected", billed=False)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("name", "cause", "billed"),
    [
        ("A11", Cause.CONTENT_POLICY, None),
        ("A12", Cause.INVALID_INPUT, None),
        ("A13", Cause.PROVIDER_ERROR, False),
    ],
)
def test_error_of_the_result_is_the_failure_of_the_job(
    name: str, cause: Cause, billed: bool | None
) -> None:
    """A completed job whose result is an error has failed, for the reason that its type names."""
    event, _ = talk(WINFULL.poll(REMOTE), replay("fal", "A6"), replay("fal", name))
    assert isinstance(event, Rejected)
    assert (event.cause, event.billed) == (cause, billed)


@pytest.mark.parametrize("status", [404, 405])
def test_missing_status_route_falls_back_to_the_result(status: int) -> None:
    """Without a status route, the result says whether the job still runs or is done."""
    missing = answer({"detail": "Method Not Allowed"}, status)
    running, asked = talk(WINFULL.poll(REMOTE), missing, replay("fal", "A10"))
    assert running == Progressed("running")
    assert [one.path for one in asked] == [PATHS["status"], PATHS["result"]]
    queued, _ = talk(WINFULL.poll(REMOTE), missing, replay("fal", "A4", 1))
    assert queued == Progressed("queued")
    done, _ = talk(WINFULL.poll(REMOTE), missing, replay("fal", "A8"))
    assert isinstance(done, Finished)


def test_web_page_instead_of_a_status_falls_back_to_the_result() -> None:
    """A gateway that answers unknown paths with its console page is asked for the result instead."""
    event, _ = talk(WINFULL.poll(REMOTE), replay("gateway_errors", "X7", 3), replay("fal", "A8"))
    assert isinstance(event, Finished)


def test_result_is_looked_for_by_id_alone_at_last() -> None:
    """Where neither route is there, the route that some gateways have for bare ids is tried."""
    missing = replay("gateway_errors", "X6")
    event, asked = talk(WINFULL.poll(REMOTE), missing, missing, replay("fal", "A8"))
    assert asked[-1].path == f"/fal-ai/auto/requests/{ID}"
    assert isinstance(event, Finished)


def test_unknown_request_is_not_given_up() -> None:
    """`Request not found` is reported and left to the engine's grace: the job was paid for."""
    event, _ = talk(WINFULL.poll(REMOTE), replay("fal", "A16", 1))
    assert isinstance(event, Delayed)
    assert event.cause is Cause.LOST_REMOTE


def test_unknown_status_word_goes_on_and_is_noted() -> None:
    """A word that nobody here knows is neither an end nor a failure."""
    event, _ = talk(WINFULL.poll(REMOTE), answer({"status": "PONDERING", "request_id": ID}))
    assert event == Progressed("running", note="unknown status word 'PONDERING'")


@pytest.mark.parametrize(
    "result", [{"video": None}, {}, {"video": {"url": "file:///etc/passwd"}}, []]
)
def test_completed_without_a_file_is_asked_again(result: object) -> None:
    """A result that names no http address is not a result, and not a failure either."""
    event, _ = talk(WINFULL.poll(REMOTE), replay("fal", "A6"), answer(result))
    assert isinstance(event, Delayed)
    assert event.cause is Cause.PROVIDER_ERROR


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_bad_moment_of_the_result_route_is_no_failure(status: int) -> None:
    """A 5xx without fal's error type says nothing about the job."""
    event, _ = talk(WINFULL.poll(REMOTE), replay("fal", "A6"), answer(b"<html>bad gateway", status))
    assert isinstance(event, Delayed)


@pytest.mark.parametrize(
    ("status", "kind", "passing"), [(503, "runner_disconnected", True), (422, "one_of", False)]
)
def test_a_server_error_may_pass_and_a_verdict_does_not(
    status: int, kind: str, passing: bool
) -> None:
    """A typed 5xx of the result is marked as one to ask about again; the model's own refusal is not."""
    body = {"detail": [{"loc": ["body"], "msg": "no", "type": kind}], "error_type": kind}
    event, _ = talk(WINFULL.poll(REMOTE), replay("fal", "A6"), answer(body, status))
    assert isinstance(event, Rejected)
    assert event.passing is passing


def test_retryable_mark_is_passed_on() -> None:
    """A failed result that fal marks as worth sending again says so, and is not billed."""
    failed = answer({"detail": "out of luck"}, 503, x_fal_retryable="true")
    event, _ = talk(WINFULL.poll(REMOTE), replay("fal", "A6"), failed)
    assert isinstance(event, Rejected)
    assert event.billed is False
    assert "again may work" in event.detail


@pytest.mark.parametrize(
    ("case", "kind"), [(0, Cancelled), (1, Delayed), (2, Delayed)], ids=["taken", "late", "unknown"]
)
def test_cancel_tells_taken_from_too_late(case: int, kind: type) -> None:
    """Only a request that the provider took note of counts as cancelled."""
    exchange = WINFULL.cancel(REMOTE)
    assert exchange is not None
    event, asked = talk(exchange, replay("fal", "A15", case))
    assert isinstance(event, kind)
    assert (asked[0].method, asked[0].path) == ("PUT", PATHS["cancel"])


def test_sellers_without_cancel_are_not_asked() -> None:
    """Whether a seller can cancel is data."""
    assert Fal(presets()["uniapi"]).cancel(REMOTE) is None


def test_no_look_up_for_lost_answers() -> None:
    """Fal has no way to find a request whose id was lost."""
    assert WINFULL.lookup(TEXT, "ref") is None


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (replay("fal", "A16"), Refused),
        (replay("fal", "A12"), Rejected),
        (answer({"detail": "Exhausted balance"}, 402), Refused),
        (answer({"detail": "Application not found"}, 404), Rejected),
        (answer({"detail": "later"}, 429, retry_after="7"), Refused),
        *[(answer({"detail": "x"}, status), Unclear) for status in (408, 409, 500, 502, 503, 504)],
        *[(replay("gateway_errors", "X7", case), Unclear) for case in range(5)],
        (answer({"status": "IN_QUEUE"}), Unclear),
        (answer({"status": "IN_QUEUE", "request_id": None}), Unclear),
        (answer({"request_id": "x" * 201}), Unclear),
        (answer({"request_id": "two words"}), Unclear),
        (answer({"error": {"message": "no"}, "request_id": "trace"}), Unclear),
    ],
)
def test_submit_is_only_refused_by_a_documented_no(reply: object, expected: type) -> None:
    """What might have been taken is unclear, and held: only a plain refusal frees the job."""
    event, _ = talk(WINFULL.submit(ORDER), reply)  # type: ignore[arg-type]
    assert isinstance(event, expected)
    if isinstance(event, Unclear):
        assert event.check_after is None


def test_ids_that_are_numbers_are_kept_digit_by_digit() -> None:
    """An id beyond 2^53 written as a number loses no digit."""
    event, _ = talk(WINFULL.submit(ORDER), answer(b'{"request_id": 814237883686625347}'))
    assert isinstance(event, Accepted)
    assert event.remote.id == "814237883686625347"


def test_a_result_in_the_answer_to_the_submit_is_a_result() -> None:
    """A provider that makes the clip while the submit waits has finished it."""
    event, _ = talk(WINFULL.submit(ORDER), replay("fal", "A8"))
    assert isinstance(event, Finished)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """A redirect ends the submit for free with the host shown, and never ends a running job."""
    away = answer(b"", status, location="https://user:pw@evil.example/steal?key=1")
    event, asked = talk(WINFULL.submit(ORDER), away)
    assert isinstance(event, Rejected)
    assert (event.cause, event.billed, len(asked)) == (Cause.FOREIGN_URL, False, 1)
    assert "evil.example" in event.detail
    assert "pw" not in event.detail
    polled, _ = talk(WINFULL.poll(REMOTE), away)
    assert isinstance(polled, Delayed)
    assert polled.cause is Cause.FOREIGN_URL


def test_webhook_bodies_are_read_like_any_other() -> None:
    """What a webhook would have said is understood when a gateway answers a poll with it."""
    done, _ = talk(WINFULL.poll(REMOTE), replay("fal", "A17", 0))
    assert isinstance(done, Finished)
    failed, _ = talk(WINFULL.poll(REMOTE), replay("fal", "A17", 1))
    assert isinstance(failed, Rejected)


def test_addresses_from_an_id_alone() -> None:
    """A person who found an id can have it adopted; what can't be an id is refused."""
    assert WINFULL.remote(TEXT, ID) == REMOTE
    with pytest.raises(UsageError, match="not a request id"):
        WINFULL.remote(TEXT, "..")


def test_the_last_resort_is_only_believed_when_it_knows_the_job() -> None:
    """An error of the route for bare ids says nothing about a job that was paid for."""
    missing = replay("gateway_errors", "X6")
    event, _ = talk(WINFULL.poll(REMOTE), missing, missing, answer({"detail": "no such app"}, 422))
    assert isinstance(event, Delayed)
    assert event.cause is Cause.LOST_REMOTE


def test_a_status_route_refuses_a_job_only_with_a_known_type() -> None:
    """422 while asking for the status is the job's failure only where fal's type says so."""
    vague, _ = talk(WINFULL.poll(REMOTE), answer({"detail": "unprocessable"}, 422))
    assert isinstance(vague, Delayed)
    typed, _ = talk(WINFULL.poll(REMOTE), replay("fal", "A11"))
    assert isinstance(typed, Rejected)
