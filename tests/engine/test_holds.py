"""What a run leaves behind for the next one about a provider, and what a person decides about jobs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from runner.causes import Cause
from runner.events import Accepted, Cancelled, Refused, Rejected
from runner.job import State
from runner.simulator import Fault
from runner.simulator.settings import Latency
from runner.store import SqliteStore, StateFolder
from tests.engine.night import FAL_MODEL, QUICK, FastClock, Night, provider_at, simulator, specs

KLING = "v1/videos/text2video"


async def test_a_held_provider_is_probed_three_times_an_hour(tmp_path: Path) -> None:
    """After a hold each run asks once; after three times within the hour it does not ask at all."""
    async with simulator(faults=[Fault("out-of-money")]) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs(KLING, 10))
        asked = []
        for _ in range(5):
            before = len(sim.log)
            ending = await night.run()
            assert ending.held == {"kling": Cause.OUT_OF_MONEY}
            asked.append(len(sim.log) - before)
        assert asked == [2, 1, 1, 1, 0]


async def test_a_topped_up_account_goes_on_with_the_first_probe(tmp_path: Path) -> None:
    """Once the provider takes a job again, the hold is forgotten and the rest is made."""
    async with simulator(faults=[Fault("out-of-money")]) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs(KLING, 5))
        await night.run()
        sim.clear_faults()
        ending = await night.run()
        assert ending.held == {}
        assert await night.states() == {State.DONE: 5}
        assert len(night.events(Refused)) == 2


async def test_a_job_that_is_refused_alone_does_not_hold_up_the_run(tmp_path: Path) -> None:
    """A model that no channel serves is tried a few times, then fails for free, and the run ends."""
    async with simulator(faults=[Fault("no-channel")]) as sim:
        night = Night(
            tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 1), clock=FastClock(400.0)
        )
        ending = await night.run()
        states = await night.states()
        assert ending.held or states == {State.FAILED: 1}
        assert all(event.billed is False for _, event in night.events(Rejected))


async def test_a_cancelled_job_that_completes_is_kept(tmp_path: Path) -> None:
    """What the provider made although we gave it up is fetched by a later run."""
    slow = replace(QUICK, run=Latency("fixed", 30.0))
    async with simulator(slow) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs(KLING, 1))
        running = asyncio.create_task(night.run())
        await night.until(lambda: bool(night.events(Accepted)))
        assert night.engine is not None
        night.engine.stop()
        await running
        async with SqliteStore(StateFolder(tmp_path), night.clock.now()) as store:
            (claim,) = await store.claim_open([1], night.clock.now())
            event = Cancelled("kling can't cancel")
            now = night.clock.now()
            assert await store.record(claim.job, event, now, now, watch=True) is State.CANCELLED
        async with asyncio.timeout(20):
            while await night.states() != {State.DONE: 1}:
                await night.run()
        assert len(sim.ledger) == 1


async def test_an_empty_account_does_not_stop_what_is_paid_for(tmp_path: Path) -> None:
    """With the provider held for money, clips that were bought before are still polled and fetched."""
    slow = replace(QUICK, run=Latency("fixed", 20.0), concurrency=4)
    async with simulator(slow) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs(KLING, 10))
        running = asyncio.create_task(night.run())
        await night.until(lambda: len(night.events(Accepted)) >= 3)
        sim.add_fault(Fault("out-of-money"))
        ending = await running
        assert ending.held == {"kling": Cause.OUT_OF_MONEY}
        states = await night.states()
        assert states[State.DONE] == len(sim.ledger) >= 3
        assert states[State.DONE] + states[State.QUEUED] == 10
