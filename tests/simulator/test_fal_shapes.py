"""The fal side answers with the keys, types and statuses that were recorded."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from runner.simulator import Fault, Settings
from tests.simulator.asking import FAL_MODEL, Client, Start

URLS = ["response_url", "status_url", "cancel_url"]
SUBMIT = ["status", "request_id", *URLS, "logs", "metrics", "queue_position"]


@pytest.mark.parametrize("system", ["winfull", "quickrouter"])
async def test_resellers_leave_urls_of_fal_in_their_submit_answer(
    client: Client, system: str
) -> None:
    """Seeds 000 and 001: eight keys in order, URLs on queue.fal.run without the subpath."""
    answer = await client.buy(system)
    document = answer.json
    assert (answer.status, list(document)) == (200, SUBMIT)
    base = f"https://queue.fal.run/fal-ai/kling-video/requests/{document['request_id']}"
    assert [document[key] for key in URLS] == [base, f"{base}/status", f"{base}/cancel"]
    assert document["logs"] is None
    assert document["metrics"] == {}
    assert document["queue_position"] == 0


async def test_uniapi_has_a_placeholder_and_no_cancel_url(client: Client) -> None:
    """Seed 002: seven keys, the app is `xxxx`, and that path leads nowhere."""
    document = (await client.buy("uniapi")).json
    assert list(document) == [key for key in SUBMIT if key != "cancel_url"]
    path = document["status_url"].removeprefix("https://queue.fal.run")
    assert path == f"/fal-ai/xxxx/requests/{document['request_id']}/status"
    assert (await client.ask("uniapi", "GET", path)).status == 404
    assert (await client.poll("uniapi")).status == 200


async def test_a_lenient_placeholder_can_be_chosen(start: Start) -> None:
    """The `xxxx` path is served, or the real app name printed, when the settings say so."""
    lenient = await start(settings=Settings().with_system("uniapi", placeholder_works="true"))
    identity = (await lenient.buy("uniapi")).json["request_id"]
    assert (
        await lenient.ask("uniapi", "GET", f"/fal-ai/xxxx/requests/{identity}/status")
    ).status == 200
    named = await start(settings=Settings().with_system("uniapi", placeholder="none"))
    assert "/fal-ai/kling-video/requests/" in (await named.buy("uniapi")).json["status_url"]


async def test_status_tells_each_state_with_its_own_keys(client: Client) -> None:
    """IN_QUEUE has a position, IN_PROGRESS has logs, COMPLETED has logs and metrics; 202 until then."""
    await client.buy()
    task = client.sim.ledger[0]
    queued = await client.poll()
    client.clock.now = task.start_at
    running = await client.poll(what="/status?logs=1")
    silent = await client.poll(what="/status?logs=false")
    client.clock.now = task.end_at
    done = await client.poll()
    common = ["status", "request_id", *URLS]
    assert (queued.status, list(queued.json)) == (202, [*common, "queue_position"])
    assert (running.status, list(running.json)) == (202, [*common, "logs"])
    assert set(running.json["logs"][0]) == {"message", "level", "source", "timestamp"}
    assert silent.json["logs"] is None
    assert (done.status, list(done.json)) == (200, [*common, "logs", "metrics"])
    assert isinstance(done.json["metrics"]["inference_time"], float)
    words = [answer.json["status"] for answer in (queued, running, done)]
    assert words == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]


async def test_result_is_the_bare_model_output(client: Client) -> None:
    """The result is `{"video": File}` and its size is the size of the file that is served."""
    await client.buy()
    answer = await client.finish()
    file = answer.json["video"]
    assert list(answer.json) == ["video"]
    assert list(file) == ["url", "content_type", "file_name", "file_size"]
    served = await client.ask("fal", "GET", file["url"])
    assert (file["content_type"], file["file_size"]) == ("video/mp4", len(served.body))


@pytest.mark.parametrize(
    ("model", "body", "loc", "kind"),
    [
        (FAL_MODEL, {"duration": "7"}, ["body", "duration"], "value_error.const"),
        (FAL_MODEL, {"duration": 5}, ["body", "duration"], "value_error.const"),
        (FAL_MODEL, {"aspect_ratio": "4:3"}, ["body", "aspect_ratio"], "value_error.const"),
        (FAL_MODEL, {"prompt": ""}, ["body", "prompt"], "missing"),
        (FAL_MODEL, {"cfg_scale": 2}, ["body", "cfg_scale"], "less_than_equal"),
        (FAL_MODEL.replace("text", "image"), {}, ["body", "image_url"], "missing"),
        ("/fal-ai/kling-video/v2.6/pro/image-to-video", {"image_url": "x"},
         ["body", "start_image_url"], "missing"),
    ],
)  # fmt: skip
async def test_a_bad_body_is_422_and_nothing_is_accepted(
    client: Client, model: str, body: dict[str, object], loc: list[str], kind: str
) -> None:
    """Validation answers a list under `detail`, and the ledger stays empty."""
    answer = await client.buy("fal", model, **body)
    finding = answer.json["detail"][0]
    assert (answer.status, finding["loc"], finding["type"]) == (422, loc, kind)
    assert len(client.sim.ledger) == 0


async def test_an_unknown_field_is_ignored(client: Client) -> None:
    """A field that the model doesn't have, such as aspect_ratio on image-to-video, is let through."""
    model = FAL_MODEL.replace("text", "image")
    answer = await client.buy("fal", model, image_url="u", aspect_ratio="4:3", x=1)
    assert answer.status == 200


async def test_polling_the_full_path_is_405(client: Client) -> None:
    """Status, result and cancel know owner and alias only."""
    identity = (await client.buy()).json["request_id"]
    for method, tail in (("GET", "/status"), ("GET", ""), ("PUT", "/cancel")):
        answer = await client.ask("fal", method, f"{FAL_MODEL}/requests/{identity}{tail}")
        assert (answer.status, answer.json) == (405, {"detail": "Method Not Allowed"})


async def test_a_trailing_slash_is_served(client: Client) -> None:
    """An older client of fal asks with a slash at the end."""
    await client.buy()
    assert (await client.poll(what="/status/")).status == 202


async def test_cancel_says_what_became_of_it(client: Client) -> None:
    """202 for a queued task, 400 when it is over, 404 for an unknown one."""
    await client.buy()
    path = f"/fal-ai/kling-video/requests/{client.sim.ledger[0].id}/cancel"
    first = await client.ask("fal", "PUT", path)
    again = await client.ask("fal", "PUT", path)
    other = await client.ask("fal", "PUT", "/fal-ai/kling-video/requests/none/cancel")
    assert (first.status, first.json) == (202, {"status": "CANCELLATION_REQUESTED"})
    assert (again.status, again.json) == (400, {"status": "ALREADY_COMPLETED"})
    assert (other.status, other.json) == (404, {"status": "NOT_FOUND"})
    assert not client.sim.ledger[0].billed(client.clock.now)
    assert (await client.poll()).json["error_type"] == "client_cancelled"


async def test_unknown_ids_and_other_apps_are_404(client: Client) -> None:
    """An id is found only under the app it was submitted to, or `auto` at a reseller that has it."""
    identity = (await client.buy("winfull")).json["request_id"]
    client.clock.now += 10
    wanted = {"kling-video": 200, "flux": 404, "auto": 200}
    for app, status in wanted.items():
        answer = await client.ask("winfull", "GET", f"/fal-ai/{app}/requests/{identity}")
        assert answer.status == status
    assert (await client.ask("fal", "GET", f"/fal-ai/kling-video/requests/{identity}")).json == {
        "detail": "Request not found"
    }


async def test_content_policy_shows_only_in_the_result(start: Start) -> None:
    """A refused prompt is COMPLETED without an error; the result is 422 content_policy_violation."""
    client = await start(settings=Settings(policy_word="dragon"))
    await client.buy(prompt="a dragon")
    result = await client.finish()
    assert "error" not in (await client.poll()).json
    assert (result.status, result.headers["X-Fal-Error-Type"]) == (422, "content_policy_violation")
    assert result.headers["X-Fal-Retryable"] == "false"
    assert result.json["detail"][0]["loc"] == ["body", "prompt"]


async def test_fal_queues_what_exceeds_its_concurrency(start: Start) -> None:
    """Two slots, four tasks: nobody is refused, two run, positions count who is ahead."""
    client = await start(settings=Settings(concurrency=2))
    for _ in range(4):
        assert (await client.buy()).status == 200
    client.clock.now = client.sim.ledger[0].start_at
    answers = [(await client.poll(number=number)).json for number in range(4)]
    assert [item["status"] for item in answers] == ["IN_PROGRESS"] * 2 + ["IN_QUEUE"] * 2
    client.clock.now = client.sim.ledger[0].end_at
    assert (await client.poll(number=3)).json["status"] == "IN_PROGRESS"


async def test_cancelling_moves_the_queue_up(start: Start) -> None:
    """When a queued task is cancelled, the one behind it takes its turn."""
    client = await start(settings=Settings(concurrency=1))
    for _ in range(3):
        await client.buy()
    first, second, third = client.sim.ledger
    turn = second.start_at
    await client.ask("fal", "PUT", f"/fal-ai/kling-video/requests/{second.id}/cancel")
    assert (first.end_at, third.start_at) == (turn, turn)


async def test_the_stream_carries_status_objects(client: Client) -> None:
    """The event stream's data line is the status object."""
    await client.buy()
    answer = await client.poll(what="/status/stream")
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.body.startswith(b'data: {"status": "IN_QUEUE"')


async def test_the_host_in_urls_can_be_chosen(start: Start) -> None:
    """`fal` names itself by default, or queue.fal.run as the real one does."""
    own = await start()
    assert (await own.buy()).json["status_url"].startswith(own.sim.base_url("fal"))
    real = await start(settings=Settings().with_system("fal", url_host="https://queue.fal.run"))
    assert (await real.buy()).json["status_url"].startswith("https://queue.fal.run/fal-ai/")


async def test_a_platform_failure_names_its_type(start: Start) -> None:
    """A failed job is COMPLETED with error and error_type, and its result has the type's status."""
    client = await start(Fault("completed-with-error", arg="startup_timeout"))
    await client.buy()
    result = await client.finish()
    status = (await client.poll()).json
    assert (status["status"], status["error_type"]) == ("COMPLETED", "startup_timeout")
    assert (result.status, result.json["error_type"]) == (504, "startup_timeout")
    assert not client.sim.ledger[0].billed(client.clock.now)


async def test_a_result_can_be_an_error_of_the_platform(start: Start) -> None:
    """COMPLETED without an error, then a result of 500 to 504 with its type; the next answer is the file."""
    client = await start(Fault("result-error", times=1, arg="runner_incomplete_response"))
    await client.buy()
    broken = await client.finish()
    assert "error" not in (await client.poll()).json
    assert (broken.status, broken.headers["X-Fal-Error-Type"]) == (
        502,
        "runner_incomplete_response",
    )
    assert broken.json["error_type"] == "runner_incomplete_response"
    assert (await client.finish()).json["video"]["url"]


async def test_a_cancellation_can_come_to_nothing(start: Start) -> None:
    """What is taken note of may finish all the same, and is billed then."""
    client = await start(Fault("cancel-ignored"))
    await client.buy()
    assert (await client.cancel()).status == 202
    assert (await client.finish()).json["video"]["url"]
    assert client.sim.ledger[0].billed(client.clock.now)


async def test_an_answer_says_what_time_it_is_there(client: Client) -> None:
    """The `Date` of an answer is the simulator's time, not the machine's."""
    bought = await client.buy()
    assert parsedate_to_datetime(bought.headers["Date"]).timestamp() == int(client.clock.now)
