"""Both dialects against the simulator, which was written from the same facts and shares no code with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest

from runner.causes import Cause
from runner.events import (
    Absent,
    Accepted,
    Cancelled,
    Delayed,
    Finished,
    Progressed,
    Refused,
    Rejected,
    Unclear,
)
from runner.simulator import Fault, Settings, Simulator
from tests.providers.buyer import Buyer
from tests.providers.talk import GATEWAY, IMAGE, NATIVE, TEXT
from tests.simulator.asking import Client, SetClock, Start

SYSTEMS = [
    ("winfull", TEXT),
    ("winfull", GATEWAY),
    ("quickrouter", TEXT),
    ("quickrouter", GATEWAY),
    ("uniapi", IMAGE),
    ("kling-gateway", GATEWAY),
    ("fal", TEXT),
    ("kling", NATIVE),
]
SUBMITS = ("K1", "K2", "K3", "K4", "K5", "K6", "K7")
FETCHES = ("F1", "F2", "F2-legacy", "F2-nested", "F3", "F4", "F5", "F6", "F7")


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start simulators on free ports with a clock that is set by hand; all are stopped at the end."""
    clock = SetClock()
    async with AsyncExitStack() as stack:
        timeout = aiohttp.ClientTimeout(total=10)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))

        async def begin(*faults: Fault | str, settings: Settings | None = None) -> Client:
            made = [Fault(item) if isinstance(item, str) else item for item in faults]
            chosen = replace(settings or Settings(), secret_key="s" * 32)
            sim = await stack.enter_async_context(Simulator(chosen, made, clock=clock))
            return Client(sim, http, clock)

        yield begin


@pytest.mark.parametrize(("system", "model"), SYSTEMS)
async def test_every_system_is_bought_from(start: Start, system: str, model: str) -> None:
    """On each system a job is taken, seen on its way, and finished with its file."""
    buyer = Buyer(await start(), system, model)
    accepted = await buyer.bought()
    assert accepted.remote.id == buyer.client.sim.ledger[-1].id
    assert isinstance(await buyer.poll(accepted), Progressed)
    buyer.end()
    done = await buyer.poll(accepted)
    assert isinstance(done, Finished)
    assert done.artifacts[0].url.startswith("http")
    assert len(buyer.client.sim.ledger) == 1


@pytest.mark.parametrize("submit", SUBMITS)
@pytest.mark.parametrize("fetch", FETCHES)
async def test_every_pair_of_shapes(start: Start, submit: str, fetch: str) -> None:
    """Whatever generation of gateway answers, the job is taken, finished, and its failure told apart."""
    settings = Settings().with_system("kling-gateway", submit=submit, fetch=fetch)
    client = await start(settings=settings)
    buyer = Buyer(client, "kling-gateway", GATEWAY)
    accepted = await buyer.bought()
    assert isinstance(await buyer.poll(accepted), Progressed)
    buyer.end()
    assert isinstance(await buyer.poll(accepted), Finished)
    client.sim.add_fault(Fault("task-failed"))
    second = await buyer.bought()
    buyer.end()
    failed = await buyer.poll(second)
    assert isinstance(failed, Rejected)
    assert failed.cause is Cause.PROVIDER_ERROR


BOTH = [
    ("winfull", TEXT),
    ("fal", TEXT),
    ("uniapi", IMAGE),
    ("kling", NATIVE),
    ("quickrouter", GATEWAY),
]
ACCEPTED = [
    "accepted-then-500",
    "accepted-then-502",
    "accepted-then-504",
    "accepted-then-408",
    "accepted-then-empty",
    "accepted-then-html",
    "accepted-then-truncated",
    "accepted-then-no-id",
]


@pytest.mark.parametrize(("system", "model"), BOTH)
@pytest.mark.parametrize("fault", ACCEPTED)
async def test_taken_without_a_receipt_is_in_doubt(
    start: Start, system: str, model: str, fault: str
) -> None:
    """Whatever useless answer follows a paid job, it is never taken for a refusal."""
    buyer = Buyer(await start(fault), system, model)
    event = await buyer.buy()
    assert isinstance(event, Unclear)
    assert len(buyer.client.sim.ledger) == 1


@pytest.mark.parametrize("fault", ACCEPTED)
async def test_kling_is_asked_what_became_of_it(start: Start, fault: str) -> None:
    """A lost receipt is found by our reference, and a reference that was never sent is not."""
    buyer = Buyer(await start(fault), "kling", NATIVE)
    await buyer.buy("ref-7")
    found = await buyer.carry(buyer.dialect.lookup(NATIVE, "ref-7"))
    assert isinstance(found, Accepted)
    assert found.remote.id == buyer.client.sim.ledger[-1].id
    missing = await buyer.carry(buyer.dialect.lookup(NATIVE, "ref-8"))
    assert isinstance(missing, Absent)


REFUSALS = [
    ("too-many", Refused, Cause.RATE_LIMITED),
    ("out-of-money", Refused, Cause.OUT_OF_MONEY),
    ("bad-key", Refused, Cause.BAD_KEY),
    ("content-refused", Rejected, Cause.CONTENT_POLICY),
    ("redirect-307", Rejected, Cause.FOREIGN_URL),
    ("redirect-301", Rejected, Cause.FOREIGN_URL),
]


@pytest.mark.parametrize(("system", "model"), BOTH)
@pytest.mark.parametrize(("fault", "kind", "cause"), REFUSALS)
async def test_refusals_free_the_job(
    start: Start, system: str, model: str, fault: str, kind: type, cause: Cause
) -> None:
    """A plain refusal is understood on every system, and nothing was taken."""
    buyer = Buyer(await start(fault), system, model)
    event = await buyer.buy()
    assert isinstance(event, kind)
    assert getattr(event, "cause", None) is cause
    assert len(buyer.client.sim.ledger) == 0


@pytest.mark.parametrize(("system", "model"), [("kling", NATIVE), ("quickrouter", GATEWAY)])
async def test_a_refusal_over_concurrency_is_crowded(start: Start, system: str, model: str) -> None:
    """Kling's 1303, and what a gateway makes of it, say that too many jobs are in flight."""
    buyer = Buyer(await start("over-concurrency"), system, model)
    await buyer.bought()
    event = await buyer.buy("ref-2")
    assert isinstance(event, Refused)
    assert event.crowded


async def test_an_expired_token_costs_one_more_request(start: Start) -> None:
    """A submit with an expired token is taken once, with the second token."""
    buyer = Buyer(await start("token-expires"), "kling", NATIVE)
    await buyer.bought()
    buyer.client.clock.now += 61
    before = buyer.token
    assert isinstance(await buyer.buy("ref-2"), Accepted)
    assert len(buyer.client.sim.ledger) == 2
    assert buyer.token != before


POLLS = [
    ("server-error-on-poll", Delayed),
    ("nginx-error", Delayed),
    ("unknown-status", Progressed),
    ("status-regresses", Progressed),
    ("task-forgotten", Delayed),
    ("truncated-json", Delayed),
    ("empty-answer", Delayed),
    ("redirect-302", Delayed),
    ("bad-key", Delayed),
    ("too-many", Delayed),
]


@pytest.mark.parametrize(("system", "model"), BOTH)
@pytest.mark.parametrize(("fault", "kind"), POLLS)
async def test_a_running_job_survives_every_answer(
    start: Start, system: str, model: str, fault: str, kind: type
) -> None:
    """No trouble while polling ends a job, and once it is over the clip is there."""
    buyer = Buyer(await start(), system, model)
    accepted = await buyer.bought()
    buyer.client.sim.add_fault(Fault(fault))
    event = await buyer.poll(accepted)
    assert isinstance(event, kind | Progressed)
    buyer.client.sim.clear_faults()
    buyer.end()
    assert isinstance(await buyer.poll(accepted), Finished)


@pytest.mark.parametrize(
    ("fault", "finished"),
    [
        ("status-route-missing", True),
        ("always-200", True),
        ("minimal-file", True),
        ("foreign-urls", True),
        ("integer-ids", True),
        ("no-video", False),
    ],
)
@pytest.mark.parametrize(("system", "model"), BOTH)
async def test_oddities_of_healthy_jobs(
    start: Start, system: str, model: str, fault: str, finished: bool
) -> None:
    """Missing routes, foreign URLs, bare numbers as ids and absent fields don't keep a clip from us."""
    buyer = Buyer(await start(fault), system, model)
    accepted = await buyer.bought()
    assert isinstance(await buyer.poll(accepted), Progressed)
    buyer.end()
    event = await buyer.poll(accepted)
    assert isinstance(event, Finished if finished else Delayed)


@pytest.mark.parametrize("fault", ["completed-with-error", "result-refused"])
async def test_completed_is_not_always_done(start: Start, fault: str) -> None:
    """Fal's two ways to complete without a clip are failures."""
    buyer = Buyer(await start(fault), "fal", TEXT)
    accepted = await buyer.bought()
    buyer.end()
    assert isinstance(await buyer.poll(accepted), Rejected)


async def test_a_sweepers_failure(start: Start) -> None:
    """A gateway that gave up refunds, and says nothing about Kling."""
    buyer = Buyer(await start("sweeper-failure"), "quickrouter", GATEWAY)
    accepted = await buyer.bought()
    buyer.end()
    event = await buyer.poll(accepted)
    assert isinstance(event, Rejected)
    assert event.billed is False


async def test_cancel(start: Start) -> None:
    """A queued request is cancelled; a completed one is too late."""
    buyer = Buyer(await start(), "fal", TEXT)
    accepted = await buyer.bought()
    assert isinstance(await buyer.carry(buyer.dialect.cancel(accepted.remote)), Cancelled)
    second = await buyer.bought()
    buyer.end()
    event = await buyer.carry(buyer.dialect.cancel(second.remote))
    assert isinstance(event, Delayed)
