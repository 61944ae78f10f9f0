"""Faults hit what they are aimed at, as often as they say, and the ledger tells the truth."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import pytest

from runner.simulator import KINDS, Fault, Settings
from tests.simulator.asking import FAL_MODEL, KLING_MODEL, Client, Start

LOST = {
    "accepted-then-dropped": 0, "accepted-then-500": 500, "accepted-then-502": 502,
    "accepted-then-504": 504, "accepted-then-408": 408, "accepted-then-empty": 200,
    "accepted-then-html": 200, "accepted-then-truncated": 200, "accepted-then-no-id": 200,
}  # fmt: skip
REFUSED = {
    "drop-before-accept": 0, "too-many-once": 429, "too-many": 429, "server-error-on-submit": 503,
    "nginx-error": 502, "out-of-money": 403, "bad-key": 401, "no-channel": 503,
    "content-refused": 422, "redirect-301": 301, "redirect-302": 302, "redirect-307": 307,
    "redirect-308": 308,
}  # fmt: skip


@pytest.mark.parametrize(("name", "status"), LOST.items())
@pytest.mark.parametrize("system", ["fal", "kling-gateway"])
async def test_a_lost_answer_leaves_a_billed_task(
    start: Start, name: str, status: int, system: str
) -> None:
    """After each accepted-then fault the ledger has exactly one billed task without a usable answer."""
    client = await start(Fault(name, times=1))
    answer = await client.buy(system)
    assert answer.status == status
    assert client.sim.ledger[0].id.encode() not in answer.body or name.endswith("truncated")
    assert [task.billed(client.clock.now) for task in client.sim.ledger] == [True]
    if name.endswith("truncated"):
        with pytest.raises(json.JSONDecodeError):
            assert answer.json


@pytest.mark.parametrize(("name", "status"), REFUSED.items())
async def test_a_refusal_accepts_nothing(start: Start, name: str, status: int) -> None:
    """Each fault before acceptance leaves the ledger empty."""
    client = await start(name)
    assert (await client.buy()).status == status
    assert len(client.sim.ledger) == 0


async def test_stopping_lets_hanging_requests_go(start: Start) -> None:
    """A request that would hang for an hour ends when the simulator stops."""
    client = await start("accepted-then-hang")
    asking = asyncio.create_task(client.buy())
    async with asyncio.timeout(5):
        while not client.sim.log:
            await client.ask("any", "GET", "/_sim/faults")  # lets it arrive; isn't logged
        await client.sim.stop()
        assert (await asking).status == 0


async def test_hanging_ends_after_its_time(start: Start) -> None:
    """A request that hangs is let go after ARG seconds with the connection closed."""
    client = await start(Fault("hang", arg=0.01), Fault("accepted-then-hang", arg=0.01))
    assert (await client.buy()).status == 0
    assert len(client.sim.ledger) == 0
    client.sim.clear_faults()
    client.sim.add_fault(Fault("accepted-then-hang", arg=0.01))
    assert (await client.buy()).status == 0
    assert len(client.sim.ledger) == 1


async def test_a_slow_answer_is_the_right_one(start: Start) -> None:
    """The answer comes late but whole."""
    client = await start(Fault("slow-answer", arg=0.01))
    assert (await client.buy()).json["status"] == "IN_QUEUE"


async def test_a_redirect_points_at_another_host_name(start: Start) -> None:
    """The target keeps the path; whoever follows with a key is seen in the log."""
    client = await start(
        Fault("redirect-307", times=1), Fault("redirect-302", arg="http://x.example/")
    )
    target = (await client.buy()).headers["Location"]
    assert target.startswith("http://localhost:")
    assert target.endswith("/elsewhere" + FAL_MODEL)
    assert (await client.buy()).headers["Location"] == "http://x.example" + FAL_MODEL


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("server-error-on-poll", 503, b"Internal server error"),
        ("truncated-json", 200, b'{"status": "IN_QUEUE"'),
        ("empty-answer", 200, b""),
        ("html-answer", 200, b"<html>"),
        ("task-forgotten", 404, b'{"detail": "Request not found"}'),
    ],
)
async def test_a_poll_goes_wrong_and_the_task_goes_on(
    start: Start, name: str, status: int, body: bytes
) -> None:
    """The poll is spoilt once; the next one is fine."""
    client = await start(Fault(name, times=1))
    await client.buy()
    spoilt = await client.poll()
    assert (spoilt.status, body in spoilt.body) == (status, True)
    assert (await client.poll()).json["status"] == "IN_QUEUE"


async def test_retry_after_is_sent_or_not(start: Start) -> None:
    """The argument of too-many is the header; 0 sends none."""
    client = await start(Fault("too-many", arg=7, times=1), Fault("too-many", arg=0))
    assert (await client.buy()).headers["Retry-After"] == "7"
    assert "Retry-After" not in (await client.buy()).headers


async def test_a_task_can_run_forever(start: Start) -> None:
    """Polls keep saying IN_PROGRESS; the ledger shows no end."""
    client = await start("never-finishes")
    await client.buy()
    client.clock.now += 1e7
    assert (await client.poll()).json["status"] == "IN_PROGRESS"
    assert client.sim.ledger[0].as_dict(client.clock.now)["ends_at"] is None


async def test_a_result_can_name_no_file(start: Start) -> None:
    """The task succeeded, is billed, and has nothing to download."""
    client = await start("no-video")
    await client.buy()
    assert (await client.finish()).json == {"video": None}
    await client.buy("kling-gateway")
    assert (await client.finish("kling-gateway")).json["data"]["task_result"] == {"videos": []}
    assert client.sim.ledger.spent(client.clock.now) == pytest.approx(0.7)


async def test_a_minimal_file_has_a_url_only(start: Start) -> None:
    """Every other field of the file is null."""
    client = await start("minimal-file")
    await client.buy()
    file = (await client.finish()).json["video"]
    assert file.pop("url").endswith(".mp4")
    assert set(file.values()) == {None}


async def test_faults_are_aimed_by_system_and_path(start: Start) -> None:
    """A fault for one system and one path leaves the rest alone."""
    client = await start(Fault("nginx-error", system="winfull", path="/kling/*"))
    assert (await client.buy("winfull", KLING_MODEL)).status == 502
    assert (await client.buy("winfull")).status == 200
    assert (await client.buy("kling-gateway")).status == 200
    assert client.sim.faults[0]["fired"] == 1


async def hits(start: Start, seed: int) -> list[int]:
    """Which of 40 submits a fault with rate 0.3 hits."""
    client: Client = await start(Fault("nginx-error", rate=0.3), settings=Settings(seed=seed))
    return [number for number in range(40) if (await client.buy()).status == 502]


async def test_the_same_seed_repeats_a_run(start: Start) -> None:
    """Rates hit the same requests under the same seed, and others under another."""
    first = await hits(start, 1)
    assert 3 < len(first) < 25
    assert await hits(start, 1) == first
    assert await hits(start, 2) != first


@pytest.mark.parametrize(
    "text",
    ["nonsense", "hang,rate=2", "hang,times=-1", "hang,often", "hang,rate=x", "hang,colour=1"],
)
def test_a_bad_fault_is_refused_with_a_reason(text: str) -> None:
    """Unknown names, options and numbers raise ValueError that says what is wrong."""
    with pytest.raises(ValueError, match=r"fault|rate|understood"):
        Fault.parse(text)


def test_a_fault_is_read_from_text() -> None:
    """The command line's form carries all fields."""
    fault = Fault.parse("media-cut,rate=0.5,times=2,path=/media/*,system=fal,arg=0.9")
    assert fault == Fault("media-cut", "/media/*", "fal", 0.5, 2, "0.9")
    assert fault.number == 0.9
    assert Fault("hang").number == 3600


async def test_every_kind_of_fault_can_fire(start: Start) -> None:
    """Each name in the table is asked for somewhere: none is an empty promise."""
    silent = []
    for name, kind in KINDS.items():
        arg = 1e7 if name == "media-slow" else 0.01 if kind.arg in (3600, 2) else kind.arg
        client = await start(Fault(name, arg=arg))
        hook = client.sim.url + "/elsewhere"
        await client.buy("any", f"{FAL_MODEL}?fal_webhook={hook}")
        for _ in range(2):
            await client.buy("any", KLING_MODEL, external_task_id="j", callback_url=hook)
        for number in range(len(client.sim.ledger)):
            await client.poll("any", number)
            await client.poll("any", number, "")
            client.clock.now += 0.3
            await client.poll("any", number)
            await client.poll("any", number)
        client.clock.now += 5
        for task in client.sim.ledger:
            await client.poll("any", task.serial - 1, "")
            with contextlib.suppress(aiohttp.ClientPayloadError):
                await client.ask("any", "GET", f"{client.sim.url}/media/any/{task.id}.mp4")
        await client.buy("any")
        if client.sim.ledger:
            await client.cancel("any")
        await client.sim.deliver_webhooks()
        if not client.sim.faults[0]["fired"]:
            silent.append(name)
    assert silent == []
