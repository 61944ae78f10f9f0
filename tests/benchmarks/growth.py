"""Whether the statements of every turn take longer with a million rows than with a thousand."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from runner.events import Accepted, Intended, Remote
from runner.job import State
from runner.store import claims, ledger
from runner.store.contract import Intent
from runner.store.folder import StateFolder
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.filled import fill

REPEAT = 200


def times(folder: str, jobs: int) -> dict[str, float]:
    """Microseconds of each statement, the median of many."""
    fill(Path(folder), jobs, jobs // 100, jobs // 4)
    database = StateFolder(Path(folder)).database
    connection = sqlite3.connect(database, isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA cache_size = -16000")
    now = time.time()
    connection.execute("BEGIN IMMEDIATE")
    found = {
        "claim": _median(lambda _: claims.queued(connection, 1, now, 64)),
        "min(due)": _median(lambda _: claims.next_queued(connection, [1])),
        "recent submits": _median(
            lambda _: claims.recent_submits(connection, "fal", now + 3600, now + 7200)
        ),
    }
    waiting = claims.queued(connection, 1, now, REPEAT)

    def intend(at: int) -> None:
        intended = Intended(1, f"ref-{at}", "0" * 64, "fal", now + 30)
        assert ledger.intend(connection, waiting[at].job, intended, 1, now) is Intent.DURABLE

    def record(at: int) -> None:
        job = replace(waiting[at].job, state=State.SUBMITTING, fence=1, attempt=1)
        event = Accepted(Remote(f"new-{at}", {"status": "/s", "result": "/r"}))
        assert ledger.record(connection, job, event, now, now) is State.RUNNING

    count = min(REPEAT, len(waiting))
    found["intend"] = _median(intend, count)
    found["record"] = _median(record, count)
    connection.execute("ROLLBACK")
    connection.close()
    return found


def _median(work: Callable[[int], object], count: int = 50) -> float:
    spent = []
    for at in range(count):
        began = time.perf_counter()
        work(at)
        spent.append(time.perf_counter() - began)
    return median(spent) * 1e6


def growth(bench: Bench) -> list[Figure]:
    """The ratio of each statement's time, many rows over few."""
    few, many = 1_000, bench.size(1_000_000, 3_000)
    short = bench.side("growth:times", folder=bench.fresh(), jobs=few)
    long = bench.side("growth:times", folder=bench.fresh(), jobs=many)
    return [
        Figure(f"growth {name}", f"{few:,} → {many:,} rows", long[name] / short[name], 2, 1,
               ours=f"{long[name]:.0f} µs", floor=f"{short[name]:.0f} µs")
        for name in short
        if name != "peak_mb"
    ]  # fmt: skip
