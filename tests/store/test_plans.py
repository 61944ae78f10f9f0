"""How the statements that run all night find their rows: by an index, however many jobs there are."""

from __future__ import annotations

import re
import sqlite3

import pytest

from runner.causes import Cause
from runner.events import Accepted, Artifact, Finished, Intended, Refused, Remote, Saved, SavedFile
from runner.job import State, advanced
from runner.store import Batch, SqliteStore, claims
from tests.conftest import T0, make_spec

BATCH = Batch(name="film", manifest="film.yaml", digest="d", provider="winfull")
GROWING = ("job", "spec", "attempt", "event", "artifact")


async def plans(store: SqliteStore, statements: list[str]) -> dict[str, list[str]]:
    """SQLite's plan of each statement, where it has one."""

    def explain(connection: sqlite3.Connection) -> dict[str, list[str]]:
        found = {}
        for statement in statements:
            if statement.split(" ", 1)[0] in ("SELECT", "UPDATE", "INSERT", "DELETE"):
                rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                found[statement] = [detail for *_, detail in rows]
        return found

    return await store._flusher.alone(explain)


async def hot_statements(store: SqliteStore) -> list[str]:
    """Everything that is executed while jobs are claimed, sent, taken, refused, finished and saved."""
    statements: list[str] = []
    batch, _ = await store.add(BATCH, [[make_spec(i) for i in range(20)]], T0)
    await store._flusher.alone(lambda c: c.set_trace_callback(statements.append))
    first, second, *_ = await store.claim_queued(batch.number, T0, 10)
    await store.next_queued([batch.number])
    for claim, then in ((first, Accepted(Remote("r1"))), (second, Refused(Cause.RATE_LIMITED))):
        intent = Intended(1, claim.job.spec.key, "digest", "winfull", T0 + 30, 350_000, "USD")
        await store.intend(claim.job, intent, 1, T0)
        job = advanced(claim.job, State.SUBMITTING, intent, T0, T0)
        state = await store.record(job, then, T0, T0)
        assert state is not None
        if isinstance(then, Accepted):
            job = advanced(job, state, then, T0, T0)
            finished = Finished((Artifact("https://media.example/1"),), lifetime=60.0)
            await store.record(job, finished, T0, T0)
            (ready,) = await store.claim_open([batch.number], T0)
            await store.record(ready.job, Saved((SavedFile("a", "b", 1, "video/mp4"),)), T0, T0)
            await store.load(job.number)
    await store.provider_state("winfull")
    await store._flusher.alone(lambda c: c.set_trace_callback(None))
    return statements


async def test_no_hot_statement_scans_a_growing_table(store: SqliteStore) -> None:
    """A night of a hundred thousand jobs costs per job what a night of ten does."""
    found = await plans(store, await hot_statements(store))
    assert len(found) > 15
    growing = re.compile(rf"^SCAN ({'|'.join(GROWING)})\b")
    scans = {
        statement: plan
        for statement, plan in found.items()
        if any(growing.match(step) for step in plan)
    }
    assert scans == {}
    assert not any("TEMP B-TREE" in step for plan in found.values() for step in plan)


@pytest.mark.parametrize(
    ("part", "index"),
    [
        ("ORDER BY job.due_at", "job_queued"),
        ("SELECT min(job.due_at)", "job_queued"),
        ("SELECT job.id FROM job WHERE job.state IN", "job_open"),
        ("SELECT job.id FROM job WHERE job.state = 'cancelled'", "job_late"),
        ("SELECT job FROM attempt WHERE provider", "attempt_remote"),
    ],
)
async def test_each_question_has_its_index(store: SqliteStore, part: str, index: str) -> None:
    """What is queued, what is open, and whose id this is are answered by the index made for it."""
    found = await plans(store, await hot_statements(store))
    matching = [plan for each, plan in found.items() if part in each]
    assert matching
    assert all(any(f"INDEX {index}" in step for step in plan) for plan in matching)


async def test_only_the_last_window_of_attempts_is_read(store: SqliteStore) -> None:
    """What was sent lately is found at the end of the attempts, however many came before."""

    def fill(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO attempt (job, number, provider, client_ref, digest, intended_at, send_by)"
            " VALUES (?, 1, 'winfull', '', '', ?, 0)",
            [(n, (T0 + n) * 1000) for n in range(20_000)],
        )

    def steps(connection: sqlite3.Connection) -> tuple[int, int]:
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        connection.set_progress_handler(count, 10)
        found = claims.recent_submits(connection, "winfull", T0 + 19_990, T0 + 20_000)
        connection.set_progress_handler(None, 10)
        return len(found), counted

    await store._flusher.write(fill)
    found, counted = await store._flusher.alone(steps)
    assert found == 10
    assert counted < 100


async def test_unfinished_batches_are_found_without_counting(store: SqliteStore) -> None:
    """Which batches have work left is answered by the partial indexes, and by nothing when all is done."""
    batch, _ = await store.add(BATCH, [[make_spec(0)]], T0)
    statements: list[str] = []

    def asked(connection: sqlite3.Connection) -> set[int]:
        connection.set_trace_callback(statements.append)
        try:
            return claims.unfinished(connection)
        finally:
            connection.set_trace_callback(None)

    assert await store._flusher.write(asked) == {batch.number}
    found = await plans(store, [each for each in statements if "FROM job" in each])
    assert found
    assert all(" SCAN " not in f" {step} " for steps in found.values() for step in steps)
