"""The Kling dialect, fed recorded answers of Kling and of gateways."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from runner.causes import Cause
from runner.errors import UsageError
from runner.events import (
    Accepted,
    Artifact,
    Delayed,
    Finished,
    Progressed,
    Refused,
    Rejected,
    Remote,
)
from runner.providers import Kling, Order, presets
from runner.wire import Image, Response
from tests.providers.talk import GATEWAY, NATIVE, answer, recorded, replay, talk

ID = "814237883686625347"
DIRECT = Kling(presets()["kling"])
FRONTED = Kling(presets()["quickrouter"])
REMOTE = Remote(ID, {"query": f"/{NATIVE}/{ID}"})
ORDER = Order(NATIVE, {"prompt": "A boat", "duration": 5}, "job-000001")
EXPIRED = replay("kling", "C9", 3)


def test_submit_carries_our_reference() -> None:
    """Where a look-up depends on our reference, it goes along and no other one does."""
    order = replace(ORDER, params={"prompt": "A boat", "duration": 5, "external_task_id": "mine"})
    event, asked = talk(DIRECT.submit(order), replay("kling", "C4"))
    assert asked[0].body == {"prompt": "A boat", "duration": "5", "external_task_id": "job-000001"}
    assert (asked[0].method, asked[0].path, asked[0].paid) == (
        "POST",
        "/v1/videos/text2video",
        True,
    )
    assert event == Accepted(REMOTE, 5.0)


def test_a_gateway_gets_the_users_own_reference() -> None:
    """Where nobody looks up by it, what the user wrote stays."""
    body = recorded("gateway")["E1"]["request"]
    _, asked = talk(FRONTED.submit(Order(GATEWAY, body, "ours")), replay("gateway", "E2"))
    assert asked[0].body == body


def test_pictures_go_out_as_bare_base64() -> None:
    """Kling refuses a `data:` prefix."""
    params = {"image": Image(b"\xff\xd8", "image/jpeg"), "image_tail": "https://x.example/end.png"}
    order = Order("v1/videos/image2video", params, "r")
    _, asked = talk(FRONTED.submit(order), replay("kling", "C4"))
    assert asked[0].body == {
        "image": base64.b64encode(b"\xff\xd8").decode(),
        "image_tail": "https://x.example/end.png",
    }


@pytest.mark.parametrize(
    ("reply", "remote_id"),
    [
        (replay("kling", "C4"), ID),
        (replay("kling", "D2"), ID),
        (replay("gateway", "E3"), "814237883686625349"),
        (replay("gateway", "E4", 1), "814237883686625349"),
        (replay("gateway", "E4", 0), "task_0123456789abcdefghijklmnopqrstuv"),
        (replay("gateway", "E2"), "01J9M6GK9YF7PNBGPQ0XEFJVM"),
        (answer({"task_id": "abc", "status": "pending", "created_at": 1}), "abc"),
        (answer({"task_id": "abc"}), "abc"),
        (answer({"code": "success", "message": "", "data": "task-7"}), "task-7"),
        (answer({"code": 200, "data": {"task_id": 814237883686625347}}), ID),
        (answer({"code": 200, "msg": "success", "data": {"taskId": "k1"}}), "k1"),
        (answer({"code": 0, "data": {"id": "new", "status": "submitted"}}), "new"),
        (answer({"code": "weird", "data": {"task_id": "taken"}}), "taken"),
    ],
    ids=["K1", "K1b", "K2", "K3", "K4", "K5", "K6", "K6b", "K7", "int", "kie", "id", "odd code"],
)
def test_every_known_shape_of_a_receipt(reply: Response, remote_id: str) -> None:
    """The id is found in all seven generations of answers, and asked for under the path that made it."""
    event, _ = talk(FRONTED.submit(Order(GATEWAY, {"prompt": "x"}, "r")), reply)
    assert isinstance(event, Accepted)
    assert event.remote == Remote(remote_id, {"query": f"/{GATEWAY}/{remote_id}"})


URL2 = "https://v16-kling-fdl.klingai.com/bs2/upload-kling-api/0000/text2video/0002.mp4"


@pytest.mark.parametrize(
    ("reply", "artifact"),
    [
        (
            replay("kling", "C6"),
            Artifact(
                "https://v16-kling-fdl.klingai.com/bs2/upload-kling-api/0000/text2video/0001.mp4",
                remote_id="814237883707596800",
                duration=5.1,
            ),
        ),
        (
            replay("kling", "D3"),
            Artifact("https://cdn.klingai.com/bs2/upload-kling-api/0000/image/0001.png"),
        ),
        (replay("gateway", "E6"), Artifact(URL2, remote_id="814237883707596801", duration=5.1)),
        (replay("gateway", "E7"), Artifact(URL2, remote_id="814237883707596801", duration=5.1)),
        (replay("gateway", "E9", 0), Artifact(URL2)),
        (
            replay("gateway", "E10", 0),
            Artifact("https://media.example.com/task-artifacts/866168216002236456.m4v"),
        ),
        (replay("gateway", "E11"), Artifact("https://example.com/video.mp4")),
        (
            answer({"id": "1", "status": "succeed", "task_result": {"videos": [{"url": URL2}]}}),
            Artifact(URL2),
        ),
        (
            answer({"code": 200, "data": {"status": "completed", "output": {"video_url": URL2}}}),
            Artifact(URL2),
        ),
        (answer({"code": "success", "data": {"status": "SUCCESS", "fail_reason": URL2}}), Artifact(URL2)),
    ],
    ids=["F1", "F1 images", "F2 legacy", "F2", "F3", "F4", "F5", "F6", "F7", "F2 bare"],
)  # fmt: skip
def test_every_known_shape_of_a_finished_task(reply: Response, artifact: Artifact) -> None:
    """The file is found wherever a front puts it, with its id and length where they are told."""
    event, _ = talk(DIRECT.poll(REMOTE), reply)
    assert isinstance(event, Finished)
    assert event.artifacts == (artifact,)
    assert event.lifetime == 30 * 86400


def test_units_are_kept() -> None:
    """What Kling says it deducted is part of what was learned."""
    event, _ = talk(DIRECT.poll(REMOTE), replay("kling", "C6"))
    assert isinstance(event, Finished)
    assert event.units == "1"


@pytest.mark.parametrize(
    ("reply", "phase"),
    [
        (replay("kling", "C4"), "queued"),
        (replay("kling", "C5"), "running"),
        (replay("gateway", "E5"), "running"),
        (replay("gateway", "E4"), "queued"),
        (answer({"code": "success", "data": {"status": "NOT_START"}}), "queued"),
        (answer({"data": {"task_status": "processing"}}, 500), "running"),
    ],
)
def test_pending_tasks(reply: Response, phase: str) -> None:
    """Whatever the envelope and the HTTP status, a task that is being made is being made."""
    assert talk(DIRECT.poll(REMOTE), reply)[0] == Progressed(phase)


@pytest.mark.parametrize("word", ["UNKNOWN", "pondering", "état"])
def test_unknown_words_go_on_and_are_noted(word: str) -> None:
    """A word that nobody here knows is neither an end nor a failure."""
    event, _ = talk(DIRECT.poll(REMOTE), answer({"code": 0, "data": {"task_status": word}}))
    assert event == Progressed("running", note=f"unknown status word {word!r}")


@pytest.mark.parametrize(
    ("reply", "cause", "billed"),
    [
        (replay("kling", "C7"), Cause.CONTENT_POLICY, None),
        (replay("gateway", "E8", 0), Cause.CONTENT_POLICY, False),
        (replay("gateway", "E8", 1), Cause.PROVIDER_ERROR, False),
        (replay("gateway", "E9", 1), Cause.CONTENT_POLICY, False),
        (replay("gateway", "E10", 1), Cause.CONTENT_POLICY, None),
        (answer({"code": 0, "data": {"task_status": "failed"}}), Cause.PROVIDER_ERROR, None),
        (answer({"task_id": "x", "status": "cancelled"}), Cause.CANCELLED, None),
        (answer({"task_id": "x", "status": "expired"}), Cause.EXPIRED, None),
    ],
)
def test_failed_tasks(reply: Response, cause: Cause, billed: bool | None) -> None:
    """A failure has a cause, and is called free only where refunds are known."""
    event, _ = talk(DIRECT.poll(REMOTE), reply)
    assert isinstance(event, Rejected)
    assert (event.cause, event.billed) == (cause, billed)


def test_a_sweepers_failure_does_not_blame_the_upstream() -> None:
    """When a gateway gave up waiting, the message says that the clip may exist."""
    event, _ = talk(FRONTED.poll(REMOTE), replay("gateway", "E8", 1))
    assert isinstance(event, Rejected)
    assert "gave up waiting" in event.detail


@pytest.mark.parametrize(
    "reply",
    [
        answer({"status": "error", "message": "system busy"}),
        answer({"status": "error", "id": "x", "message": "system busy"}, 500),
        answer({"code": "success", "data": {"status": "SUCCESS", "fail_reason": ""}}),
        answer({"code": 0, "data": {"task_status": "succeed", "task_result": {"videos": []}}}),
        answer({"code": 0, "data": {"task_status": "succeed",
                "task_result": {"videos": [{"url": "javascript:alert(1)"}]}}}),
        answer({"code": 0, "data": []}),
        answer(b"[" * 100_000),
        *[replay("gateway_errors", "X7", case) for case in range(5)],
        *[replay("kling", "C9", case) for case in (0, 1, 2, 3, 4, 6, 7)],
        *[replay("gateway_errors", name) for name in ("X1", "X2", "X3", "X4", "X5", "X6")],
    ],
)  # fmt: skip
def test_no_error_of_a_poll_gives_a_paid_task_up(reply: Response) -> None:
    """Only a task that is named and failed has failed; all else is asked again."""
    event, _ = talk(FRONTED.poll(REMOTE), reply)
    assert isinstance(event, Delayed)


@pytest.mark.parametrize(
    "reply", [replay("gateway_errors", "X5", 1), replay("gateway_errors", "X6"), replay("kling", "C9", 6)]
)  # fmt: skip
def test_an_unknown_task_is_called_lost(reply: Response) -> None:
    """400 task_not_exist, 404 and 1203 are the words for a task that is not known."""
    event, _ = talk(FRONTED.poll(REMOTE), reply)
    assert isinstance(event, Delayed)
    assert event.cause is Cause.LOST_REMOTE


def test_an_expired_token_is_renewed_once_for_a_paid_request_too() -> None:
    """A refused token proves that the request was not taken, so it goes again with a new one."""
    event, asked = talk(DIRECT.submit(ORDER), EXPIRED, replay("kling", "C4"))
    assert [(one.paid, one.fresh_token) for one in asked] == [(True, False), (True, True)]
    assert isinstance(event, Accepted)
    refused, asked = talk(DIRECT.submit(ORDER), EXPIRED)
    assert isinstance(refused, Refused)
    assert (refused.cause, refused.provider_wide, len(asked)) == (Cause.BAD_KEY, True, 2)
    polled, asked = talk(DIRECT.poll(REMOTE), EXPIRED, replay("kling", "C5"))
    assert (polled, len(asked)) == (Progressed("running"), 2)


@pytest.mark.parametrize("status", [200, 401])
def test_an_answer_with_a_task_is_never_taken_for_a_refused_token(status: int) -> None:
    """An id means that the job was taken, whatever code stands beside it: nothing is sent a second time."""
    body = {"code": 1004, "message": "ok", "data": {"task_id": "abc", "task_status": "submitted"}}
    event, asked = talk(DIRECT.submit(ORDER), answer(body, status))
    assert isinstance(event, Accepted)
    assert (event.remote.id, len(asked)) == ("abc", 1)


def test_a_token_is_renewed_for_the_time_that_kling_says_it_is() -> None:
    """With the refusal comes Kling's own time, and the new token is asked for with it."""
    dated = replace(EXPIRED, headers={"date": "Fri, 15 Jan 2027 08:00:00 GMT"})
    _, asked = talk(DIRECT.submit(ORDER), dated)
    assert [one.server_now for one in asked] == [None, 1_800_000_000.0]
    _, asked = talk(DIRECT.submit(ORDER), EXPIRED)
    assert asked[1].server_now is None


@pytest.mark.parametrize("code", [1003, 1004])
def test_a_token_that_stays_refused_points_at_the_clock(code: int) -> None:
    """Not valid yet, or not any more, twice in a row: the message asks whether this machine's clock is right."""
    refused, _ = talk(DIRECT.submit(ORDER), answer({"code": code, "message": "no"}, 401))
    assert isinstance(refused, Refused)
    assert "clock" in refused.detail


def test_a_fixed_key_is_not_renewed() -> None:
    """Without minted tokens, the same key would only be refused again."""
    _, asked = talk(FRONTED.submit(ORDER), EXPIRED)
    assert len(asked) == 1


def test_kling_can_not_cancel() -> None:
    """There is no route for it."""
    assert DIRECT.cancel(REMOTE) is None


def test_addresses_from_an_id_alone() -> None:
    """A person who found an id can have it adopted; what can't be an id is refused."""
    assert DIRECT.remote(NATIVE, ID) == REMOTE
    assert DIRECT.remote(NATIVE, "a/b?c").paths == {"query": f"/{NATIVE}/a%2Fb%3Fc"}
    with pytest.raises(UsageError, match="not a task id"):
        DIRECT.remote(NATIVE, "two words")


def test_callbacks_are_read_like_any_other_answer() -> None:
    """Both documented forms of a callback name the same file."""
    bare, _ = talk(DIRECT.poll(REMOTE), replay("kling", "C10", 0))
    wrapped, _ = talk(DIRECT.poll(REMOTE), replay("kling", "C10", 1))
    assert isinstance(bare, Finished)
    assert bare == wrapped
