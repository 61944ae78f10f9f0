"""What a run does before it knows all that an earlier one left in the air."""

from __future__ import annotations

import asyncio
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from runner.engine import Stopped
from runner.engine.board import Board
from runner.engine.takeover import take_over, take_stock, take_up
from runner.errors import UsageError
from runner.events import Accepted, Intended
from runner.job import Job, State, advanced
from runner.limits import Limits
from runner.polling import Latencies
from runner.providers import presets
from runner.providers.routes import routes
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.contract import OPEN_PAGE
from tests.conftest import T0, TestClock
from tests.engine.night import FAL_MODEL, Night, provider_at, simulator, specs

PROVIDER = presets()["fal"]


async def left_in_the_air(
    store: SqliteStore, running: int, queued: int = 0, submitting: int = 0, filler: str = ""
) -> Batch:
    """A batch as a killed run leaves it."""
    jobs = specs(FAL_MODEL, running + submitting + queued, negative_prompt=filler)
    batch, _ = await store.add(Batch("film", "film.yaml", "d", "fal"), [jobs], T0)
    claims = await store.claim_queued(batch.number, T0, running + submitting)
    await asyncio.gather(*(send(store, claim.job, claim.job.number <= running) for claim in claims))
    return batch


async def send(store: SqliteStore, job: Job, answered: bool) -> None:
    """Submit a job, and record an answer if there was one."""
    number = job.number
    intent = Intended(1, f"{job.spec.key}-1", "digest", "fal", T0 + 30)
    await store.intend(job, intent, 1, T0)
    if answered:
        job = advanced(job, State.SUBMITTING, intent, T0, T0)
        remote = routes("fal-ai/kling-video", f"0000-{number:06}")
        await store.record(job, Accepted(remote), T0, T0)


async def board_of(store: SqliteStore, batch: Batch) -> Board:
    """The board of a new run, without the jobs in the air."""
    board = Board({}, Latencies())
    await take_over(board, store, [batch], {"fal": PROVIDER}, T0)
    return board


async def test_the_first_jobs_are_there_before_the_last_are_read(
    store: SqliteStore, clock: TestClock
) -> None:
    """Taking over reads jobs in pages, and the run goes on with each of them."""
    batch = await left_in_the_air(store, OPEN_PAGE * 2 + 1)
    board, wake = await board_of(store, batch), asyncio.Event()
    seen = []
    taking = asyncio.create_task(take_up(board, store, [batch], clock, wake))
    while len(board.flights) <= OPEN_PAGE * 2:
        await wake.wait()
        wake.clear()
        seen.append((len(board.flights), len(board.wakeups)))
    await taking
    assert seen == [(OPEN_PAGE * page + extra,) * 2 for page, extra in ((1, 0), (2, 0), (2, 1))]


async def test_a_job_in_the_air_is_small(store: SqliteStore, clock: TestClock) -> None:
    """However long its request is, a job in the air takes less than a kilobyte; taking up holds one page of them."""
    batch = await left_in_the_air(store, OPEN_PAGE * 3, filler="x" * 2_000)
    board, wake = await board_of(store, batch), asyncio.Event()
    tracemalloc.start()
    try:
        await take_up(board, store, [batch], clock, wake)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(board.flights) == OPEN_PAGE * 3
    assert kept < OPEN_PAGE * 3 * 1_000
    assert peak - kept < OPEN_PAGE * 8_000


async def test_jobs_are_counted_while_the_run_goes_on(store: SqliteStore, clock: TestClock) -> None:
    """The counts are empty until they are known, and then right, with what was found in doubt meanwhile."""
    batch = await left_in_the_air(store, running=2, queued=3, submitting=1)
    board = await board_of(store, batch)
    stock = asyncio.create_task(take_stock(board, store, [batch]))
    taking = asyncio.create_task(take_up(board, store, [batch], clock, asyncio.Event()))
    assert board.tally == {}
    await asyncio.gather(stock, taking)
    counts = await store.counts([batch.number])
    assert counts[(batch.number, "fal", State.IN_DOUBT)] == 1
    assert +board.tally == counts


async def test_a_provider_that_is_gone_is_named_before_anything_is_asked(
    store: SqliteStore,
) -> None:
    """Jobs in the air at a provider that nobody declares any more end the run at once."""
    batch = await left_in_the_air(store, 1)
    elsewhere = replace(batch, provider="kling")
    with pytest.raises(UsageError, match="in the air at fal"):
        await take_over(
            Board({}, Latencies()), store, [elsewhere], {"kling": presets()["kling"]}, T0
        )


async def test_a_run_whose_time_is_over_ends_at_once(tmp_path: Path) -> None:
    """What would have been taken over, and counted, stays where it is."""
    async with simulator() as sim:
        async with SqliteStore(StateFolder(tmp_path), T0) as store:
            await left_in_the_air(store, running=1, queued=1)
        night = Night(tmp_path, provider_at(sim, "fal"), specs(FAL_MODEL, 2, negative_prompt=""))
        night.options = replace(night.options, until=0.0)
        assert (await night.run()).stopped is Stopped.TIME
        assert not sim.log


async def test_nothing_is_sent_before_all_in_the_air_is_known(tmp_path: Path) -> None:
    """A run that may have one job more in flight than its first page sends none, where the next page fills it up."""
    async with simulator() as sim:
        provider = provider_at(sim, "fal", limits=Limits(in_flight=OPEN_PAGE + 1))
        async with SqliteStore(StateFolder(tmp_path), T0) as store:
            await left_in_the_air(store, running=OPEN_PAGE + 1, queued=5)
        night = Night(tmp_path, provider, specs(FAL_MODEL, OPEN_PAGE + 6, negative_prompt=""))
        running = asyncio.create_task(night.run())
        await night.until(lambda: len(sim.log) > OPEN_PAGE)
        assert night.engine is not None
        night.engine.stop()
        await running
        assert {entry.method for entry in sim.log} == {"GET"}
