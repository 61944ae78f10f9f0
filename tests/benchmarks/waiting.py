"""Jobs that wait at the provider: what each costs in memory, and what a look at it costs."""

from __future__ import annotations

import asyncio
import gc
import heapq
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import aiohttp
from yarl import URL

from runner.clock import Clock
from runner.engine import Engine, Options
from runner.files import Files
from runner.http import Http
from runner.keys import Keys
from runner.providers import Provider
from runner.steps import Edges
from runner.store import SqliteStore, StateFolder
from runner.wire import Request, Response
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.filled import fill
from tests.benchmarks.server import APP
from tests.benchmarks.side import memory
from tests.benchmarks.whole import NoBytes, provider

IDLE = 5.0
"""Seconds of idleness that are measured."""


class Counting(Http):
    """Counts requests."""

    count = 0

    async def send(self, provider: Provider, request: Request) -> Response:
        """Count, then send."""
        self.count += 1
        return await super().send(provider, request)


async def ours(url: str, folder: str, jobs: int, due_in: float, seconds: float) -> dict[str, float]:
    """Take over so many jobs in the air and run for some seconds: idle, or polling all of them."""
    clock = Clock()
    waiting = provider(url, jobs)
    waiting = replace(waiting, fal=replace(waiting.fal, min_poll=1.0, expected=1e6))
    await asyncio.to_thread(fill, Path(folder), jobs, jobs, 0, due_in)
    async with (
        SqliteStore(StateFolder(Path(folder)), clock.now()) as store,
        Counting(Keys({"FAL_KEY": "bench:0123456789abcdef"}), clock) as http,
    ):
        gc.collect()
        before = memory()
        edges = Edges(http, cast("Files", NoBytes()), clock)
        runs = Engine(
            store, edges, {"fal": waiting}, await store.batches(),
            options=Options(), run=1, observer=lambda _job, _event: None,
        )  # fmt: skip
        task = asyncio.ensure_future(runs.run())
        while len(runs.board.flights) < jobs and not task.done():  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(0.05)
        assert not task.done(), task
        await asyncio.sleep(0.2)
        gc.collect()
        found = {"mb": memory() - before}
        used, count, wall = time.process_time(), http.count, time.perf_counter()
        await asyncio.sleep(seconds)
        found |= _spent(used, wall, http.count - count)
        runs.stop()
        runs.stop()
        await task
    return found


def _spent(used: float, wall: float, polls: int) -> dict[str, float]:
    cpu = time.process_time() - used
    return {
        "per_poll": cpu / max(polls, 1),
        "polls": polls,
        "share": cpu / (time.perf_counter() - wall),
    }


async def heap(url: str, folder: str, jobs: int, due_in: float, seconds: float) -> dict[str, float]:
    """The floor: a heap of due times, and a bare aiohttp GET for each that is due, 64 at a time."""
    del folder, due_in
    gc.collect()
    before = memory()
    due: list[tuple[float, int, str]] = [
        (time.time(), number, f"/{APP}/requests/wait-{number:08}/status") for number in range(jobs)
    ]
    heapq.heapify(due)
    found = {"mb": memory() - before}
    polls = 0
    used, wall = time.process_time(), time.perf_counter()
    async with aiohttp.ClientSession() as session:

        async def work() -> None:
            nonlocal polls
            while time.perf_counter() - wall < seconds:
                _, number, path = heapq.heappop(due)
                async with session.get(URL(url + path, encoded=True)) as answer:
                    word: Any = (await answer.json())["status"]
                assert word == "IN_PROGRESS"
                polls += 1
                heapq.heappush(due, (time.time() + 60, number, path))

        await asyncio.gather(*(work() for _ in range(64)))
    return found | _spent(used, wall, polls)


def in_flight(bench: Bench) -> list[Figure]:
    """Memory per job, processor time per poll, and what doing nothing costs."""
    jobs = bench.size(100_000, 300)
    seconds = float(bench.size(5, 1))
    both: dict[str, Any] = {"url": bench.url, "jobs": jobs, "due_in": 0.0, "seconds": seconds}
    pair = bench.pair("waiting:ours", "waiting:heap", both)
    idle = bench.side("waiting:ours", folder=bench.fresh(), **{**both, "due_in": 3600.0})
    per_job = idle["mb"] * 1000 / jobs
    return [
        Figure("in_flight memory", f"{jobs:,} jobs in the air, resident", per_job, 1.5, 0.6, unit="kB",
               floor=f"{pair.floor_median('mb') * 1000 / jobs:.2f} kB, a heap with paths"),
        Figure("in_flight poll", "processor time of a poll that changes nothing", pair.ratio("per_poll"), 2.0, 1.2,
               ours=f"{pair.ours_median('per_poll') * 1e6:.0f} µs",
               floor=f"{pair.floor_median('per_poll') * 1e6:.0f} µs"),
        Figure("in_flight idle", "of a core, nothing due", idle["share"] * 100, 0.5, unit="%"),
    ]  # fmt: skip
