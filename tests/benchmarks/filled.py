"""A state folder with a long history, made directly in SQL: what a store looks like after weeks."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from runner.providers.routes import routes
from runner.store import SqliteStore, StateFolder
from runner.store.rows import remote_text
from runner.wire import dump_json
from tests.benchmarks.server import APP
from tests.benchmarks.whole import MODEL, body

SPEC = (
    "INSERT INTO spec (id, key, batch, name, position, repeat, model, params, output)"
    " VALUES (?, ?, 1, ?, ?, 0, ?, ?, ?)"
)
JOB = (
    "INSERT INTO job (id, batch, provider, state, due_at, changed_at, fence, attempt, remote)"
    " VALUES (?, 1, 'fal', ?, ?, ?, ?, ?, ?)"
)
ATTEMPT = (
    "INSERT INTO attempt (job, number, run, provider, client_ref, digest, intended_at, send_by, answered_at, outcome,"
    " remote_id, billed) VALUES (?, 1, 1, 'fal', ?, ?, ?, ?, ?, ?, ?, ?)"
)
DAY = 86_400_000


def fill(folder: Path, jobs: int, running: int, queued: int, due_in: float = 0.0) -> None:
    """Make a store of `jobs` jobs: `running` in the air, `queued` to be sent, the others done, one attempt each.

    Those in the air were submitted just now and are looked at `due_in` seconds from now. There are no history rows.
    """
    state = StateFolder(folder)
    asyncio.run(_create(state))
    now = int(time.time() * 1000)
    connection = sqlite3.connect(state.database, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.execute(
        "INSERT INTO batch (id, name, manifest, digest, provider, on_doubt, created_at, updated_at)"
        " VALUES (1, 'bench', 'bench.yaml', 'd', 'fal', 'hold', ?, ?)", (now, now),
    )  # fmt: skip
    rows = _rows(jobs, running, queued, now, now + int(due_in * 1000))
    while part := list(islice(rows, 20_000)):
        connection.executemany(SPEC, [spec for spec, _, _ in part])
        connection.executemany(JOB, [job for _, job, _ in part])
        connection.executemany(ATTEMPT, [attempt for _, _, attempt in part if attempt])
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def _create(state: StateFolder) -> None:
    async with SqliteStore(state, time.time()):
        pass


def _rows(
    jobs: int, running: int, queued: int, now: int, due: int
) -> Iterator[tuple[Any, Any, Any]]:
    """Done ones first, as it is after a while."""
    for number in range(1, jobs + 1):
        key = hashlib.blake2b(str(number).encode(), digest_size=16).digest()
        name = key.hex()[:8]
        spec = (
            number,
            key,
            name,
            number,
            MODEL,
            dump_json(body(number)),
            f"bench/{name}.${{{{ ext }}}}",
        )
        if number > jobs - queued:
            yield spec, (number, "queued", 0, now, 0, 0, None), None
            continue
        air = number > jobs - queued - running
        at = now if air else now - DAY + number // 1000
        remote_id = f"wait-{number:08}"
        state, when = ("running", due) if air else ("done", None)
        job = (number, state, when, at, 1, 1, remote_text(routes(APP, remote_id)))
        attempt = (number, f"{key.hex()}-1", "0" * 64, at, at + 30_000, at, "accepted" if air else "finished",
                   remote_id, None if air else 1)  # fmt: skip
        yield spec, job, attempt


def fill_in(folder: str, jobs: int, running: int, queued: int) -> dict[str, float]:
    """The same as one side of a comparison."""
    fill(Path(folder), jobs, running, queued)
    return {}
