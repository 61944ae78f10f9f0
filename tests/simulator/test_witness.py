"""The official client of fal, unchanged, takes the simulator for fal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import fal_client
import fal_client.client
import httpx
import pytest

from runner.simulator import Fault, Latency, Settings, Simulator

MODEL = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
BODY = {"prompt": "a paper boat", "duration": "5"}


@pytest.fixture
async def sim(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    """A simulator in real time; the client's hard-wired https address is replaced from outside."""
    settings = Settings(
        queue=Latency.parse("0.15"), run=Latency.parse("0.25"), policy_word="dragon"
    )
    async with Simulator(settings) as server:
        address = server.base_url("fal") + "/"
        monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", address)
        yield server


@pytest.fixture
async def client() -> AsyncIterator[fal_client.AsyncClient]:
    """The client; it never closes its own connections, so the test does."""
    official = fal_client.AsyncClient(key="id:secret")
    yield official
    await (await official._client).aclose()


async def test_the_async_client_goes_all_the_way(
    sim: Simulator, client: fal_client.AsyncClient
) -> None:
    """Submit, status, events in order, result; one task in the ledger; the file is there."""
    handle = await client.submit(MODEL, arguments=BODY)
    assert await handle.status() == fal_client.Queued(position=0)
    events = [event async for event in handle.iter_events(with_logs=True, interval=0.02)]
    kinds = [type(event) for event in events]
    assert list(dict.fromkeys(kinds)) == [
        fal_client.Queued,
        fal_client.InProgress,
        fal_client.Completed,
    ]
    assert events[-1].error is None
    result = await handle.get()
    async with httpx.AsyncClient() as http:
        file = await http.get(result["video"]["url"])
    assert len(file.content) == result["video"]["file_size"]
    assert [task.id for task in sim.ledger] == [handle.request_id]
    assert {entry.scheme for entry in sim.log if entry.operation != "media"} == {"Key"}


async def test_the_sync_client_goes_all_the_way(sim: Simulator) -> None:
    """Submit and result in a thread; status and result by id, which the client makes paths for."""

    def drive() -> tuple[object, object, object]:
        client = fal_client.SyncClient(key="id:secret")
        handle = client.submit(MODEL, arguments=BODY)
        first = handle.get(interval=0.05)
        status = client.status(MODEL, handle.request_id, with_logs=True)
        second = client.result(MODEL, handle.request_id)
        client._client.close()
        return first, status, second

    first, status, second = await asyncio.to_thread(drive)
    assert first == second
    assert isinstance(status, fal_client.Completed)
    assert len(sim.ledger) == 1


async def test_the_client_cancels(sim: Simulator, client: fal_client.AsyncClient) -> None:
    """A queued task is cancelled, is not billed, and its result is an error."""
    handle = await client.submit(MODEL, arguments=BODY)
    await handle.cancel()
    assert sim.ledger[0].state(sim.now) == "cancelled"
    assert not sim.ledger[0].billed(sim.now)
    with pytest.raises(fal_client.FalClientHTTPError):
        await handle.get()


async def test_the_client_understands_failures(
    sim: Simulator, client: fal_client.AsyncClient
) -> None:
    """A platform failure shows in the status, a refused prompt in the result, a bad body at once."""
    with pytest.raises(fal_client.FalClientHTTPError, match="permitted"):
        await client.submit(MODEL, arguments={**BODY, "duration": "7"})
    refused = await client.submit(MODEL, arguments={"prompt": "a dragon"})
    sim.add_fault(Fault("completed-with-error"))
    broken = await client.submit(MODEL, arguments=BODY)
    async for event in broken.iter_events(interval=0.05):
        last = event
    assert (last.error, last.error_type) == ("Runner disconnected", "runner_disconnected")
    with pytest.raises(fal_client.FalClientHTTPError, match="content policy") as caught:
        await refused.get()
    assert caught.value.status_code == 422


async def test_the_client_pays_twice_when_an_answer_is_lost(
    sim: Simulator, client: fal_client.AsyncClient
) -> None:
    """Known of the client, and seen by the ledger: it repeats a submit whose answer was lost."""
    sim.add_fault(Fault("accepted-then-dropped", times=1))
    await client.submit(MODEL, arguments=BODY)
    assert len(sim.ledger) == 2
    assert sim.ledger[0].digest == sim.ledger[1].digest


async def test_the_client_loses_a_task_without_cancel_url(
    sim: Simulator, client: fal_client.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pointed at uniapi it raises for the missing cancel_url, after the task was accepted."""
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", sim.base_url("uniapi") + "/")
    with pytest.raises(KeyError, match="cancel_url"):
        await client.submit(MODEL, arguments=BODY)
    assert [task.billed(sim.now) for task in sim.ledger] == [True]
