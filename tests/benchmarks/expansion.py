"""A manifest into a million rows, and the same manifest again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from runner.app import SLICE
from runner.manifest import load
from runner.planning import Checker
from runner.providers import presets
from runner.store import Batch, SqliteStore, StateFolder
from runner.wire import dump_json
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.filled import JOB, SPEC
from tests.benchmarks.side import measured
from tests.benchmarks.whole import MODEL, body

MANIFEST = """
version: 1
name: bench
provider: fal
model: fal-ai/kling-video/v2.5-turbo/pro/text-to-video
params: {duration: 5, aspect_ratio: 16:9, negative_prompt: "blur, distort, and low quality", cfg_scale: 0.5}
matrix:
  lens: [a, b, c, d, e, f, g, h, i, j]
  light: [k, l, m, n, o, p, q, r, s, t]
prompts:
  - from: rows.jsonl
    prompt: ${{ who }} walks at ${{ light }} light through a ${{ lens }} lens, 35mm film, soft light, slow dolly,
      shallow depth of field, a crowd in the background, banners in the wind
"""


async def ours(folder: str, jobs: int) -> dict[str, float]:
    """Read, expand, check and store it, as `runner run` does; once more; the second time is `again`."""
    root = Path(folder)
    (root / "bench.yaml").write_text(MANIFEST, "utf-8")
    with (root / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(jobs // 100):
            file.write(json.dumps({"who": f"A humble lord of the house {number}"}) + "\n")
    found: dict[str, float] = {}
    async with SqliteStore(StateFolder(root / "state"), time.time()) as store:
        with measured(found):
            assert await _store(store, root) == jobs
        again: dict[str, float] = {}
        with measured(again):
            assert await _store(store, root) == 0
    return {**found, "again": again["cpu"], "again_wall": again["wall"]}


async def _store(store: SqliteStore, root: Path) -> int:
    manifest = load(root / "bench.yaml", now=time.time())
    specs = Checker(manifest, presets()).specs()
    slices = iter(lambda: list(islice(specs, SLICE)), [])
    batch = Batch(manifest.name, str(manifest.path), manifest.digest, manifest.provider)
    _, added = await store.add(batch, slices, time.time())
    return added.new


def floor(folder: str, jobs: int) -> dict[str, float]:
    """`executemany` of tuples that are ready, into the same tables with the same indexes, 5,000 per commit."""
    state = StateFolder(Path(folder) / "state")
    asyncio.run(_create(state))
    connection = sqlite3.connect(state.database, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "INSERT INTO batch (id, name, manifest, provider, on_doubt, created_at, updated_at)"
        " VALUES (1, 'bench', 'bench.yaml', 'fal', 'hold', 0, 0)"
    )
    text = dump_json(body(0))
    found = {"wall": 0.0, "cpu": 0.0}
    rows = _tuples(jobs, text)
    while part := list(islice(rows, SLICE)):
        step: dict[str, float] = {}
        with measured(step):
            connection.execute("BEGIN")
            connection.executemany(SPEC, [spec for spec, _ in part])
            connection.executemany(JOB, [job for _, job in part])
            connection.execute("COMMIT")
        found = {name: found[name] + step[name] for name in found}
    connection.close()
    return found


def _tuples(jobs: int, text: str) -> Iterator[tuple[Any, Any]]:
    for number in range(1, jobs + 1):
        key = hashlib.blake2b(str(number).encode(), digest_size=16).digest()
        name = key.hex()[:8]
        spec = (number, key, name, number, MODEL, text, f"bench/{name}.${{{{ ext }}}}")
        yield spec, (number, "queued", 0, 0, 0, 0, None)


async def _create(state: StateFolder) -> None:
    async with SqliteStore(state, time.time()):
        pass


def expand(bench: Bench) -> list[Figure]:
    """Expansion to rows, its memory, and the unchanged manifest again; processor time, one round."""
    jobs = bench.size(1_000_000, 2_000)
    pair = bench.pair("expansion:ours", "expansion:floor", {"jobs": jobs}, rounds=1)
    seconds, again = pair.ours_median("cpu"), pair.ours_median("again")
    return [
        Figure("expand", f"{jobs:,} jobs, JSONL x matrix, checked, to rows: processor time", pair.ratio("cpu"), 6, 2.5,
               ours=f"{seconds:.1f} s", floor=f"{pair.floor_median('cpu'):.1f} s, executemany"),
        Figure("expand memory", "peak of the process", pair.ours_median("peak_mb"), 150, 80, unit="MB",
               floor=f"{pair.floor_median('peak_mb'):.0f} MB"),
        Figure("re-run", "the unchanged manifest again, against its expansion", again / seconds, 1, 0.5,
               ours=f"{again:.1f} s", floor=f"{seconds:.1f} s"),
    ]  # fmt: skip
