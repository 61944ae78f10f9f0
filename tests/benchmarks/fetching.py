"""Clips of 1 MB onto the disk: hashed, synced, checked and renamed, against aiohttp writing what comes to a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from runner.clock import Clock
from runner.events import Artifact
from runner.files import Files
from runner.http import Http
from runner.keys import Keys
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.server import FILE_SIZE
from tests.benchmarks.side import measured
from tests.benchmarks.whole import provider

AT_ONCE = 8


async def ours(url: str, folder: str, files: int) -> dict[str, float]:
    """Fetch as the engine does, eight at a time, each with its sidecar."""
    clock = Clock()
    numbers = iter(range(files))
    found: dict[str, float] = {}
    seller = provider(url, 64)
    async with Http(Keys({"FAL_KEY": "bench:0123456789abcdef"}), clock) as http:
        saves = Files(Path(folder) / "outputs", clock, free_floor=0)

        async def work() -> None:
            for number in numbers:
                await saves.save(
                    f"bench/{number:05}.${{{{ ext }}}}", [Artifact(f"{url}/file/{number}.mp4", size=FILE_SIZE)],
                    key=f"{number:032x}", attempt=1, sidecar={"prompt": "a boat"},
                    open_url=lambda address, headers: http.download(seller, address, headers), cap=10**9,
                )  # fmt: skip

        with measured(found):
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return found


async def bare(url: str, folder: str, files: int) -> dict[str, float]:
    """Write what comes to a file: no hash, no sync, no rename."""
    numbers = iter(range(files))
    found: dict[str, float] = {}
    async with aiohttp.ClientSession() as session:

        async def work() -> None:
            for number in numbers:
                async with session.get(f"{url}/file/{number}.mp4") as answer:
                    with (Path(folder) / f"{number}.mp4").open("wb") as file:
                        async for piece in answer.content.iter_any():
                            file.write(piece)

        with measured(found):
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return found


def downloads(bench: Bench) -> list[Figure]:
    """Megabytes a second, and processor time."""
    files = bench.size(500, 10)
    pair = bench.pair("fetching:ours", "fetching:bare", {"url": bench.url, "files": files})
    size = files * FILE_SIZE / 1e6
    return [
        Figure("downloads", f"{files} files of 1 MB, 8 at a time, MB/s", 1 / pair.ratio("wall"), 0.5, 0.8, high=True,
               ours=f"{size / pair.ours_median('wall'):,.0f} MB/s",
               floor=f"{size / pair.floor_median('wall'):,.0f} MB/s"),
        Figure("downloads cpu", "processor time, same run", pair.ratio("cpu"),
               ours=f"{pair.ours_median('cpu') / size * 1000:.2f} s/GB",
               floor=f"{pair.floor_median('cpu') / size * 1000:.2f} s/GB"),
    ]  # fmt: skip
