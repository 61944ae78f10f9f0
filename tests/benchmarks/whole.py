"""The whole way of a job, each step durable, against a loop that makes the same three requests and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import aiohttp

from runner.clock import Clock
from runner.engine import Engine, Options
from runner.events import Artifact, SavedFile
from runner.files import Files
from runner.http import Http
from runner.job import Spec, State, job_key
from runner.keys import Keys
from runner.limits import Limits
from runner.providers import Provider, presets
from runner.steps import Edges
from runner.store import Batch, SqliteStore, StateFolder
from tests.benchmarks.bench import Bench, SkippedError
from tests.benchmarks.figures import Figure
from tests.benchmarks.side import measured, written
from tests.benchmarks.slow import slow_disk

MODEL = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
PROMPT = (
    "A humble lord walks among his people at dusk, take {}, 35mm film, soft light, slow dolly, "
    "shallow depth of field, a crowd in the background, banners in the wind"
)
NEGATIVE = "blur, distort, and low quality"


def body(index: int) -> dict[str, Any]:
    """What is asked for, as usual: some 300 bytes."""
    return {
        "prompt": PROMPT.format(index), "duration": "5", "aspect_ratio": "16:9",
        "negative_prompt": NEGATIVE, "cfg_scale": 0.5,
    }  # fmt: skip


def specs(count: int) -> list[Spec]:
    """So many different jobs."""
    made = []
    for index in range(count):
        params = body(index)
        key = job_key("bench", MODEL, params, "", 0)
        made.append(
            Spec(key, "bench", key[:8], index, 0, MODEL, params, f"bench/{key[:8]}.${{{{ ext }}}}")
        )
    return made


def provider(url: str, in_flight: int, **limits: Any) -> Provider:
    """fal, at the server, told that its jobs take no time."""
    preset = presets()["fal"]
    return replace(
        preset, base_url=url, private=True, media_hosts=("127.0.0.1",),
        limits=Limits(in_flight=in_flight, **limits), fal=replace(preset.fal, min_poll=0.0, expected=0.001),
    )  # fmt: skip


class NoBytes:
    """Stands in for Files: says that a clip was saved and fetches nothing, because the floor fetches nothing either."""

    async def save(
        self, output: str, artifacts: Sequence[Artifact], **_: Any
    ) -> tuple[SavedFile, ...]:
        """Say that it was saved."""
        return (SavedFile(output, "0" * 64, artifacts[0].size or 0, "video/mp4"),)


async def engine(url: str, folder: str, jobs: int, in_flight: int) -> dict[str, float]:
    """Submit, poll, result and `done`, as `runner run` does them; downloads are left out."""
    clock = Clock()
    found: dict[str, float] = {}
    async with SqliteStore(StateFolder(Path(folder) / "state"), clock.now()) as store:
        batch = Batch("bench", "bench.yaml", "d", "fal")
        stored, _ = await store.add(batch, [specs(jobs)], clock.now())
        run = await store.begin_run(clock.now())
        async with Http(Keys({"FAL_KEY": "bench:0123456789abcdef"}), clock) as http:
            edges = Edges(http, cast("Files", NoBytes()), clock)
            runs = Engine(
                store, edges, {"fal": provider(url, in_flight)}, [stored],
                options=Options(), run=run, observer=lambda _job, _event: None,
            )  # fmt: skip
            before = written()
            with measured(found):
                await runs.run()
            found["written"] = written() - before
        counts = await store.counts([stored.number])
    done = sum(count for (_, _, state), count in counts.items() if state is State.DONE)
    assert done == jobs, counts
    return found


async def bare(url: str, folder: str, jobs: int, in_flight: int) -> dict[str, float]:
    """The same three requests a job with aiohttp as it comes, and no memory of them."""
    del folder
    found: dict[str, float] = {}
    numbers = iter(range(jobs))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for index in numbers:
                async with session.post(f"{url}/{MODEL}", json=body(index)) as answer:
                    receipt = await answer.json()
                async with session.get(receipt["status_url"]) as answer:
                    assert (await answer.json())["status"] == "COMPLETED"
                async with session.get(receipt["response_url"]) as answer:
                    assert (await answer.json())["video"]["url"]

        with measured(found):
            await asyncio.gather(*(work() for _ in range(in_flight)))
    return found


def throughput(bench: Bench) -> list[Figure]:
    """Jobs per second, processor time and bytes written of the whole state machine."""
    jobs = bench.size(10_000, 100)
    pair = bench.pair(
        "whole:engine", "whole:bare", {"url": bench.url, "jobs": jobs, "in_flight": 64}
    )
    size = bench.size(10_000, 100)
    kilobytes = pair.ours_median("written") / jobs / 1000

    def rate(wall: float) -> str:
        return f"{jobs / wall:,.0f} jobs/s"

    def cost(cpu: float) -> str:
        return f"{cpu / jobs * 1000:.3f} s"

    return [
        Figure(
            "throughput", f"{size:,} jobs, 64 in flight, synchronous=FULL, jobs/s", 1 / pair.ratio("wall"), 0.55, 0.80,
            high=True, ours=rate(pair.ours_median("wall")), floor=rate(pair.floor_median("wall")),
        ),
        Figure(
            "cpu", "processor time per 1,000 jobs, same run", pair.ratio("cpu"), 1.8, 1.2,
            ours=cost(pair.ours_median("cpu")), floor=cost(pair.floor_median("cpu")),
        ),
        Figure("bytes", "written to files per job, same run", kilobytes, 20, 4, unit="kB"),
    ]  # fmt: skip


def slow_fsync(bench: Bench) -> list[Figure]:
    """The same with a disk whose fsync takes 2 ms more."""
    library = slow_disk(bench.folder)
    if library is None:
        raise SkippedError("slow_fsync needs gcc and LD_PRELOAD")
    jobs = bench.size(10_000, 100)
    options = {"url": bench.url, "jobs": jobs, "in_flight": 256}
    pair = bench.pair("whole:engine", "whole:bare", options, {"LD_PRELOAD": str(library)})
    return [
        Figure(
            "slow_fsync", "throughput with every fsync 2 ms slower, 256 in flight", 1 / pair.ratio("wall"), 0.4, 0.8,
            high=True, ours=f"{jobs / pair.ours_median('wall'):,.0f} jobs/s",
            floor=f"{jobs / pair.floor_median('wall'):,.0f} jobs/s",
        )
    ]  # fmt: skip
