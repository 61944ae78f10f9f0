"""The Kling side answers with the envelopes, codes and statuses that were recorded."""

from __future__ import annotations

from typing import Any

import pytest

from runner.simulator import Fault, Settings
from tests.simulator.asking import KLING_MODEL, Client, Start

GATEWAY = "kling-gateway"


async def test_native_create_and_query(client: Client) -> None:
    """Code 0, a nested task, milliseconds, ids as strings too long for a float."""
    made = (await client.buy(GATEWAY, external_task_id="job-1")).json
    assert list(made) == ["code", "message", "request_id", "data"]
    assert (made["code"], made["message"]) == (0, "SUCCEED")
    data = made["data"]
    assert list(data) == ["task_id", "task_status", "task_info", "created_at", "updated_at"]
    assert (data["task_status"], data["task_info"]) == ("submitted", {"external_task_id": "job-1"})
    assert data["created_at"] == 1_762_157_958_000
    assert data["task_id"].isdigit()
    assert int(data["task_id"]) > 2**53
    running = (await client.poll(GATEWAY)).json["data"]
    assert running["task_status_msg"] == ""
    done = (await client.finish(GATEWAY)).json["data"]
    assert done["task_status"] == "succeed"
    assert list(done["task_result"]["videos"][0]) == ["id", "url", "watermark_url", "duration"]
    assert done["final_unit_deduction"] == "1"


async def test_a_task_is_found_by_its_external_id_and_only_in_its_collection(
    client: Client,
) -> None:
    """The query path is tied to the create path; both ids work."""
    await client.buy(GATEWAY, external_task_id="job-1")
    assert (await client.ask(GATEWAY, "GET", f"{KLING_MODEL}/job-1")).json["code"] == 0
    other = await client.ask(GATEWAY, "GET", "/kling/v1/videos/image2video/job-1")
    assert (other.status, other.json["code"]) == (404, 1203)


async def test_a_stock_gateway_knows_no_external_id(client: Client) -> None:
    """It says 400 task_not_exist, and takes the same external id twice."""
    for _ in range(2):
        assert (await client.buy("quickrouter", KLING_MODEL, external_task_id="j")).status == 200
    answer = await client.ask("quickrouter", "GET", f"{KLING_MODEL}/j")
    assert (answer.status, answer.json["code"]) == (400, "task_not_exist")
    assert len(client.sim.ledger) == 2


@pytest.mark.parametrize(
    ("shape", "keys", "where"),
    [
        ("K1", ["code", "message", "request_id", "data"], ("data", "task_id")),
        ("K2", ["code", "message", "task_id", "request_id", "data"], ("task_id",)),
        ("K3", ["id", "task_id", "object", "model", "status", "progress", "created_at"], ("id",)),
        ("K4", ["id", "task_id", "object", "model", "status", "progress", "created_at"], ("id",)),
        ("K5", ["object", "code", "message", "request_id", "task_id", "task_status", "task_info",
                "created_at", "updated_at"], ("task_id",)),
        ("K6", ["task_id", "status", "created_at"], ("task_id",)),
        ("K7", ["code", "message", "data"], ("data",)),
    ],
)  # fmt: skip
async def test_every_submit_shape(
    start: Start, shape: str, keys: list[str], where: tuple[str, ...]
) -> None:
    """Each envelope has its recorded keys and holds the id where it was recorded."""
    client = await start(settings=Settings().with_system(GATEWAY, submit=shape))
    document: Any = (await client.buy(GATEWAY)).json
    assert list(document) == keys
    for key in where:
        document = document[key]
    assert document == client.sim.ledger[0].id


async def test_flat_submit_is_quickrouters(client: Client) -> None:
    """Seed 004: code is the text success, the object a chat completion, the id looks like a ULID."""
    document = (await client.buy("quickrouter", KLING_MODEL, mode="std")).json
    assert (document["code"], document["object"]) == ("success", "chat.completion")
    assert len(document["task_id"]) == 26
    assert not document["task_id"].isdigit()


@pytest.mark.parametrize(
    ("shape", "status", "url", "words"),
    [
        ("F1", "data.task_status", "data.task_result.videos.0.url", "processing succeed failed"),
        ("F2", "data.status", "data.result_url", "IN_PROGRESS SUCCESS FAILURE"),
        ("F2-legacy", "data.status", "data.fail_reason", "IN_PROGRESS SUCCESS FAILURE"),
        ("F2-nested", "data.status", "data.data.data.task_result.videos.0.url",
         "IN_PROGRESS SUCCESS FAILURE"),
        ("F3", "status", "metadata.url", "in_progress completed failed"),
        ("F4", "data.status", "data.url", "processing succeeded failed"),
        ("F5", "status", "url", "in_progress completed failed"),
        ("F6", "status", "task_result.videos.0.url", "in_progress completed failed"),
        ("F7", "data.status", "data.output.video_url", "processing completed failed"),
    ],
)  # fmt: skip
async def test_every_fetch_shape(
    start: Start, shape: str, status: str, url: str, words: str
) -> None:
    """Each envelope says running, done and failed in its own words and has the URL at its place."""

    def at(document: Any, path: str) -> Any:
        for key in path.split("."):
            document = document[int(key) if isinstance(document, list) else key]
        return document

    client = await start(
        Fault("task-failed", path="*image2video", arg="no luck"),
        settings=Settings().with_system(GATEWAY, fetch=shape),
    )
    await client.buy(GATEWAY)
    client.clock.now = client.sim.ledger[0].start_at
    running = (await client.poll(GATEWAY)).json
    done = (await client.finish(GATEWAY)).json
    await client.buy(GATEWAY, "/kling/v1/videos/image2video", image="https://example.com/a.png")
    failed = await client.finish(GATEWAY)
    assert [at(item, status) for item in (running, done, failed.json)] == words.split()
    file = await client.ask(GATEWAY, "GET", at(done, url))
    assert file.body[4:8] == b"ftyp"
    assert "no luck" in failed.body.decode()


async def test_a_failed_task_is_http_200_and_code_0(start: Start) -> None:
    """Content policy at Kling: status failed with a message, not billed."""
    client = await start(settings=Settings(policy_word="dragon"))
    await client.buy(GATEWAY, prompt="a dragon")
    answer = await client.finish(GATEWAY)
    data = answer.json["data"]
    assert (answer.status, answer.json["code"], data["task_status"]) == (200, 0, "failed")
    assert data["task_status_msg"] == "Failure to pass the risk control system"
    assert not client.sim.ledger[0].billed(client.clock.now)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"duration": "7"}, "duration value '7' is invalid"),
        ({"mode": "high"}, "mode value 'high' is invalid"),
        ({"prompt": ""}, "prompt is required"),
        ({"prompt": "x" * 2501}, "prompt is longer than 2500 characters"),
        ({"aspect_ratio": "4:3"}, "aspect_ratio value '4:3' is invalid"),
    ],
)
async def test_a_bad_parameter_is_400_with_1201(
    client: Client, body: dict[str, Any], message: str
) -> None:
    """Kling's validation names the value, and nothing is accepted."""
    answer = await client.buy(GATEWAY, **body)
    assert (answer.status, answer.json["code"], answer.json["message"]) == (400, 1201, message)
    assert len(client.sim.ledger) == 0


async def test_an_integer_duration_fares_differently_by_seller(client: Client) -> None:
    """Kling's own type is a string; a pass-through reseller takes 5; stock code fails with a 5xx."""
    assert (await client.buy("any", KLING_MODEL, duration=5)).json["code"] == 1201
    assert (await client.buy(GATEWAY, duration=5)).json["code"] == 0
    stock = await client.buy("quickrouter", KLING_MODEL, duration=5)
    assert (stock.status, stock.json["code"]) == (500, "build_request_failed")


async def test_image2video_wants_an_image_without_a_data_prefix(client: Client) -> None:
    """Bare base64 or a URL; a data URI is refused."""
    path = "/kling/v1/videos/image2video"
    missing = await client.buy(GATEWAY, path)
    prefixed = await client.buy(GATEWAY, path, image="data:image/png;base64,AAAA")
    bare = await client.buy(GATEWAY, path, image="AAAA", prompt="")
    assert [missing.json["code"], prefixed.json["code"], bare.json["code"]] == [1201, 1201, 0]


async def test_the_ledger_keeps_pictures_short(client: Client) -> None:
    """A base64 picture is cut in ledger and log; the digest is of the whole body."""
    await client.buy(GATEWAY, "/kling/v1/videos/image2video", image="A" * 50_000)
    task, entry = client.sim.ledger[0], client.sim.log[0]
    assert len(task.body["image"]) < 100
    assert entry.body == task.body
    assert len(task.digest) == 64


async def test_the_collection_is_listed_newest_first(client: Client) -> None:
    """A page is an array of the same objects; beyond the end it is empty."""
    for number in range(3):
        await client.buy("any", KLING_MODEL, external_task_id=f"job-{number}")
    page = (await client.ask("any", "GET", f"{KLING_MODEL}?pageNum=1&pageSize=2")).json["data"]
    assert [row["task_info"]["external_task_id"] for row in page] == ["job-2", "job-1"]
    empty = await client.ask("any", "GET", f"{KLING_MODEL}?pageNum=9&pageSize=500")
    assert empty.json["data"] == []
    assert (await client.ask("any", "GET", f"{KLING_MODEL}?pageNum=0")).json["code"] == 1201


async def test_a_gateway_answers_unknown_routes_and_missing_prompts_in_its_own_words(
    client: Client,
) -> None:
    """404 invalid_request_error for a route, 400 invalid_request for a prompt."""
    route = await client.ask("uniapi", "GET", "/kling/v1/nothing/x/requests")
    assert (route.status, route.json["error"]["type"]) == (404, "invalid_request_error")
    prompt = await client.buy("quickrouter", KLING_MODEL, prompt="")
    assert prompt.json == {"code": "invalid_request", "message": "prompt is required", "data": None}
