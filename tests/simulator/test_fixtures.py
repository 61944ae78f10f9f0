"""Every recorded answer is given with its HTTP status, its keys and its types."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from runner.simulator import Fault, RateLimit, Settings
from runner.simulator.webhooks import document
from tests.simulator.asking import FAL_MODEL, KLING_MODEL, Answer, Client, Start

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDED: dict[str, Any] = {
    name: entry
    for path in sorted(FIXTURES.glob("*.json"))
    for name, entry in json.loads(path.read_text(encoding="utf-8")).items()
}
GATEWAY, IMAGE = "kling-gateway", "/kling/v1/videos/image2video"


def differences(recorded: Any, given: Any, path: str = "") -> list[str]:
    """Keys of the record that the answer lacks, and values of another type; null matches anything."""
    if recorded is None or given is None:
        return []
    if type(recorded) is not type(given):
        return [f"{path}: {type(given).__name__} instead of {type(recorded).__name__}"]
    if isinstance(recorded, dict):
        missing = [f"{path}.{key}: missing" for key in recorded if key not in given]
        found = [(key, value) for key, value in recorded.items() if key in given]
        return missing + [
            line for k, v in found for line in differences(v, given[k], f"{path}.{k}")
        ]
    if isinstance(recorded, list) and recorded and given:
        return differences(recorded[0], given[0], f"{path}[]")
    return []


def check(name: str, case: int, answer: Answer) -> None:
    """Compare an answer with one case of a record: status, keys at the top, shape, headers."""
    recorded = RECORDED[name][case]
    assert answer.status == recorded["status"]
    assert set(answer.json) == set(recorded["body"])
    assert differences(recorded["body"], answer.json) == []
    for header, value in recorded.get("headers", {}).items():
        assert answer.headers[header] == value


Scene = Callable[[Client], Awaitable[Answer]]


def begun(client: Client) -> None:
    """Let time pass until the last task runs."""
    client.clock.now = client.sim.ledger[-1].start_at


async def fal_state(client: Client, when: str, what: str = "/status?logs=1") -> Answer:
    """Buy at fal and ask for the status when the task is queued, running or done."""
    await client.buy()
    if when == "running":
        begun(client)
    if when == "done":
        await client.finish()
    return await client.poll(what=what)


FAL: list[tuple[str, int, list[Fault], Scene]] = [
    ("A3", 0, [], lambda c: c.buy("winfull")),
    ("A4", 0, [], lambda c: fal_state(c, "queued")),
    ("A5", 0, [], lambda c: fal_state(c, "running")),
    ("A6", 0, [], lambda c: fal_state(c, "done")),
    ("A7", 0, [Fault("completed-with-error")], lambda c: fal_state(c, "done")),
    ("A8", 0, [], lambda c: fal_state(c, "done", "")),
    ("A9", 0, [Fault("minimal-file")], lambda c: fal_state(c, "done", "")),
    ("A10", 0, [], lambda c: fal_state(c, "queued", "")),
    ("A11", 0, [Fault("result-refused", arg="content_policy_violation")],
     lambda c: fal_state(c, "done", "")),
    ("A12", 0, [], lambda c: c.buy(duration="7")),
    ("A13", 0, [Fault("completed-with-error", arg="request_timeout")],
     lambda c: fal_state(c, "done", "")),
    ("A14", 0, [], lambda c: c.ask("fal", "GET", f"{FAL_MODEL}/requests/1/status")),
    ("A15", 2, [], lambda c: c.ask("fal", "PUT", "/fal-ai/kling-video/requests/1/cancel")),
    ("A16", 0, [Fault("bad-key")], lambda c: c.buy()),
    ("A16", 1, [], lambda c: c.ask("fal", "GET", "/fal-ai/kling-video/requests/1")),
    ("B2", 0, [], lambda c: c.buy("uniapi")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "case", "faults", "scene"), FAL)
async def test_fal(start: Start, name: str, case: int, faults: list[Fault], scene: Scene) -> None:
    """Fal's and its resellers' answers have the recorded shape."""
    check(name, case, await scene(await start(*faults)))


async def kling_state(client: Client, when: str, system: str = GATEWAY) -> Answer:
    """Buy at a Kling seller and query when the task is made, running or done."""
    made = await client.buy(system, KLING_MODEL, external_task_id="job-1")
    if when == "made":
        return made
    if when == "done":
        return await client.finish(system)
    begun(client)
    return await client.poll(system)


async def twice(client: Client, system: str = GATEWAY) -> Answer:
    """Buy twice and return the second answer."""
    await client.buy(system, KLING_MODEL)
    return await client.buy(system, KLING_MODEL)


KLING: list[tuple[str, int, list[Fault], Scene]] = [
    ("C4", 0, [], lambda c: kling_state(c, "made")),
    ("C5", 0, [], lambda c: kling_state(c, "running")),
    ("C6", 0, [], lambda c: kling_state(c, "done")),
    ("C7", 0, [Fault("task-failed")], lambda c: kling_state(c, "done")),
    ("C9", 0, [Fault("over-concurrency")], twice),
    ("C9", 1, [Fault("too-many")], lambda c: c.buy("any", KLING_MODEL)),
    ("C9", 2, [Fault("out-of-money")], lambda c: c.buy("any", KLING_MODEL)),
    ("C9", 4, [], lambda c: c.buy(GATEWAY, duration="7")),
    ("C9", 5, [Fault("content-refused")], lambda c: c.buy(GATEWAY)),
    ("C9", 6, [], lambda c: c.ask(GATEWAY, "GET", f"{KLING_MODEL}/1")),
    ("C9", 7, [Fault("server-error-on-submit")], lambda c: c.buy("any", KLING_MODEL)),
    ("D2", 0, [], lambda c: c.buy(GATEWAY)),
    ("E2", 0, [], lambda c: c.buy("quickrouter", KLING_MODEL)),
    ("E5", 0, [], lambda c: kling_state(c, "running", "quickrouter")),
    ("E7", 0, [], lambda c: kling_state(c, "done", "quickrouter")),
    ("E8", 0, [Fault("task-failed")], lambda c: kling_state(c, "done", "quickrouter")),
    ("E8", 1, [Fault("sweeper-failure")], lambda c: kling_state(c, "done", "quickrouter")),
    ("X1", 0, [Fault("bad-key")], lambda c: c.buy("winfull")),
    ("X2", 0, [Fault("out-of-money")], lambda c: c.buy("winfull")),
    ("X3", 0, [Fault("over-concurrency")], lambda c: twice(c, "quickrouter")),
    ("X3", 1, [Fault("too-many")], lambda c: c.buy("winfull")),
    ("X4", 0, [Fault("no-channel")], lambda c: c.buy("winfull")),
    ("X5", 0, [], lambda c: c.buy("quickrouter", KLING_MODEL, prompt="")),
    ("X5", 1, [], lambda c: c.ask("quickrouter", "GET", f"{KLING_MODEL}/1")),
    ("X5", 2, [], lambda c: c.buy("quickrouter", KLING_MODEL, duration="7")),
    ("X5", 3, [Fault("accepted-then-500")], lambda c: c.buy("quickrouter", KLING_MODEL)),
    ("X6", 0, [], lambda c: c.ask("winfull", "GET", "/fal-ai/xxxx/requests")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "case", "faults", "scene"), KLING)
async def test_kling_and_gateways(
    start: Start, name: str, case: int, faults: list[Fault], scene: Scene
) -> None:
    """Kling's and the gateways' answers have the recorded shape."""
    check(name, case, await scene(await start(*faults)))


@pytest.mark.parametrize(
    ("name", "case", "submit", "fetch", "when", "faults"),
    [
        ("E3", 0, "K2", "F1", "made", []), ("E4", 0, "K4", "F1", "made", []),
        ("E6", 0, "K1", "F2-legacy", "done", []), ("E9", 0, "K1", "F3", "done", []),
        ("E9", 1, "K1", "F3", "done", ["task-failed"]), ("E10", 0, "K1", "F4", "done", []),
        ("E10", 1, "K1", "F4", "done", ["task-failed"]), ("E11", 0, "K1", "F5", "done", []),
    ],
)  # fmt: skip
async def test_other_generations_of_gateways(
    start: Start, name: str, case: int, submit: str, fetch: str, when: str, faults: list[str]
) -> None:
    """Shapes that a setting chooses are the recorded ones."""
    settings = Settings().with_system(GATEWAY, submit=submit, fetch=fetch)
    check(name, case, await kling_state(await start(*faults, settings=settings), when))


async def test_lists_cancels_and_expired_tokens(start: Start) -> None:
    """C8 full and empty, A15 taken and too late, C9's 1004, in one go."""
    client = await start(settings=Settings(secret_key="s" * 64, rate_limit=RateLimit(99, 1)))
    claims = {"iss": "sim-access", "exp": int(client.clock.now)}
    key = f"Bearer {jwt.encode(claims, 's' * 64)}"
    check(
        "C9", 3, await client.ask("kling", "POST", "/v1/videos/text2video", {}, Authorization=key)
    )
    check("C8", 1, await client.ask("any", "GET", KLING_MODEL))
    await kling_state(client, "done", "any")
    check("C8", 0, await client.ask("any", "GET", KLING_MODEL))
    identity = (await client.buy()).json["request_id"]
    for case in (0, 1):
        path = f"/fal-ai/kling-video/requests/{identity}/cancel"
        check("A15", case, await client.ask("fal", "PUT", path))


async def test_deliveries(start: Start) -> None:
    """A17 fine and failed, C10 bare."""
    client = await start(Fault("result-refused", path="*/bad", arg="file_download_error"))
    await client.buy("fal")
    await client.buy("fal", "/fal-ai/bad")
    await client.buy(GATEWAY, external_task_id="j")
    client.clock.now += 60
    world = client.sim._world
    for task, name, case in zip(client.sim.ledger, ("A17", "A17", "C10"), (0, 1, 0), strict=True):
        body = json.dumps(document(world, task, client.clock.now)).encode()
        recorded = RECORDED[name][case]["body"]
        assert differences(recorded, json.loads(body)) == []


@pytest.mark.parametrize("seed", ["000", "001", "002", "003", "004", "004-short"])
async def test_the_seed_requests_are_accepted(client: Client, seed: str) -> None:
    """What each reseller's page shows as an example is accepted as it stands."""
    recorded = RECORDED[seed]
    system, path = recorded["provider"], "/" + recorded["model"]
    answer = await client.ask(system, "POST", path, recorded["request"])
    assert answer.status == 200
    assert client.sim.ledger[0].body == recorded["request"]


@pytest.mark.parametrize(
    ("name", "system", "path"),
    [
        ("A1", "winfull", FAL_MODEL), ("A2", "quickrouter", FAL_MODEL.replace("text", "image")),
        ("B1", "uniapi", "/fal-ai/kling-video/v2.1/standard/image-to-video"),
        ("C1", "any", KLING_MODEL), ("C2", "any", IMAGE), ("C3", "any", KLING_MODEL),
        ("D1", GATEWAY, KLING_MODEL), ("E1", "quickrouter", KLING_MODEL),
    ],
)  # fmt: skip
async def test_the_recorded_requests_are_accepted(
    client: Client, name: str, system: str, path: str
) -> None:
    """Legal bodies pass the validation of the system they were recorded for."""
    assert (await client.ask(system, "POST", path, RECORDED[name]["request"])).status == 200
