"""The statements that find the work that is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runner.budget import Money
from runner.errors import StoreError
from runner.events import Unclear
from runner.job import Job, State
from runner.store import ledger
from runner.store.contract import Claimed, ProviderState
from runner.store.rows import (
    JOB_COLUMNS,
    artifact_from,
    job_from,
    millis,
    seconds,
    state_from,
)
from runner.wire import parse_json

# The WHERE terms repeat those of the partial indexes to the letter: SQLite uses them only then.
_OPEN = "job.state IN ('submitting', 'running', 'ready', 'in_doubt')"
_LATE = "job.state = 'cancelled' AND job.due_at IS NOT NULL"
_QUEUED = "job.state = 'queued' AND job.orphan = 0"
_JOINS = "FROM job JOIN spec ON spec.id = job.id JOIN batch ON batch.id = job.batch"
_WHOLE = (
    f"SELECT {JOB_COLUMNS}, attempt.intended_at, attempt.client_ref, attempt.price_micros, attempt.currency,"
    f" attempt.outcome {_JOINS}"
    " LEFT JOIN attempt ON attempt.job = job.id AND attempt.number = job.attempt"
)


def open_jobs(
    connection: sqlite3.Connection, batches: Sequence[int], now: float, after: int, limit: int
) -> list[Claimed]:
    """Raise the fence of a page of the jobs in the air and return them; those in `submitting` become in doubt.

    Cancelled jobs that may still complete at the provider are among them.
    """
    numbers = [
        number
        for batch in batches
        for which in (_OPEN, _LATE)
        for (number,) in connection.execute(
            f"SELECT job.id FROM job WHERE {which} AND job.batch = ? AND job.id > ?"
            " ORDER BY job.id LIMIT ?",
            (batch, after, limit),
        )
    ]
    return [_taken_up(connection, number, now) for number in sorted(numbers)[:limit]]


def _taken_up(connection: sqlite3.Connection, number: int, now: float) -> Claimed:
    connection.execute("UPDATE job SET fence = fence + 1 WHERE id = ?", (number,))
    row = connection.execute(f"{_WHOLE} WHERE job.id = ?", (number,)).fetchone()
    if row is None:
        raise StoreError(
            f"job {number} is damaged: rows are missing. Restore runner.db from a copy"
        )
    claim = _claimed(row)
    if claim.job.state is State.SUBMITTING:
        return replace(claim, job=_doubt(connection, claim.job, now), doubted=True)
    return _with_artifacts(connection, claim) if claim.job.state is State.READY else claim


def carriers(connection: sqlite3.Connection, batches: Sequence[int]) -> set[str]:
    """The providers that have jobs in the air."""
    return {
        provider
        for which in (_OPEN, _LATE)
        for (provider,) in connection.execute(
            f"SELECT DISTINCT job.provider FROM job WHERE {which} AND job.batch IN {_among(batches)}"
        )
    }


def load(connection: sqlite3.Connection, number: int) -> Claimed | None:
    """One job, whole."""
    row = connection.execute(f"{_WHOLE} WHERE job.id = ?", (number,)).fetchone()
    return None if row is None else _with_artifacts(connection, _claimed(row))


def _claimed(row: tuple[Any, ...]) -> Claimed:
    *job, intended_at, client_ref, micros, currency, outcome = row
    return Claimed(
        job_from(tuple(job)),
        batch=row[1],
        submitted_at=seconds(intended_at),
        client_ref=client_ref or "",
        price=None if micros is None else Money(micros, currency),
        made=outcome == "finished",
    )


def _doubt(connection: sqlite3.Connection, job: Job, now: float) -> Job:
    event = Unclear("the runner ended while the request was in the air")
    state = ledger.record(connection, job, event, now, now)
    assert state is not None
    return replace(
        job, state=state, cause=event.cause, detail=event.detail, due_at=now, changed_at=now
    )


def _with_artifacts(connection: sqlite3.Connection, claim: Claimed) -> Claimed:
    rows = connection.execute(
        "SELECT url, content_type, size, remote_id, duration, expires_at FROM artifact WHERE job = ? ORDER BY number",
        (claim.job.number,),
    ).fetchall()
    expiry = min((row[5] for row in rows if row[5] is not None), default=None)
    return replace(
        claim, artifacts=tuple(artifact_from(row[:5]) for row in rows), expires_at=seconds(expiry)
    )


def queued(connection: sqlite3.Connection, batch: int, now: float, limit: int) -> list[Claimed]:
    """The first queued jobs of a batch that are due."""
    rows = connection.execute(
        f"SELECT {JOB_COLUMNS} {_JOINS} WHERE {_QUEUED} AND job.batch = ? AND job.due_at <= ?"
        " ORDER BY job.due_at, job.id LIMIT ?",
        (batch, millis(now), limit),
    ).fetchall()
    return [Claimed(job_from(row), batch) for row in rows]


def next_queued(connection: sqlite3.Connection, batches: Sequence[int]) -> float | None:
    """The earliest due time of what is queued."""
    times = [
        connection.execute(
            f"SELECT min(job.due_at) FROM job WHERE {_QUEUED} AND job.batch = ?", (batch,)
        ).fetchone()[0]
        for batch in batches
    ]
    return seconds(min((at for at in times if at is not None), default=None))


def counts(
    connection: sqlite3.Connection, batches: Sequence[int]
) -> dict[tuple[int, str, State], int]:
    """Jobs by batch, provider and state."""
    rows = connection.execute(
        "SELECT batch, provider, state, count(*) FROM job WHERE batch IN"
        f" {_among(batches)} AND (orphan = 0 OR state NOT IN ('queued', 'failed', 'cancelled')) GROUP BY 1, 2, 3"
    ).fetchall()
    return {(batch, provider, state_from(state)): count for batch, provider, state, count in rows}


def unfinished(connection: sqlite3.Connection) -> set[int]:
    """Numbers of the batches with work left; cancelled jobs that may still complete are worth a look, too."""
    return {
        batch
        for (batch,) in connection.execute("SELECT id FROM batch").fetchall()
        for term in (_OPEN, _QUEUED, _LATE)
        if connection.execute(
            f"SELECT 1 FROM job WHERE {term} AND job.batch = ? LIMIT 1", (batch,)
        ).fetchone()
    }


def recent_submits(
    connection: sqlite3.Connection, provider: str, since: float, now: float
) -> list[float]:
    """Times of the attempts since then: when each was answered, or now if it was not.

    The provider saw a request before its answer came, so a permit that is held from then on is never back too early.
    Rows are in the order of time, so the newest are read first.
    """
    found: list[float] = []
    cursor = connection.execute(
        "SELECT provider, intended_at, coalesce(answered_at, ?) FROM attempt ORDER BY id DESC",
        (millis(now),),
    )
    for name, intended_at, at in cursor:
        if intended_at < since * 1000:
            break
        if name == provider:
            found.append(at / 1000)
    cursor.close()
    return sorted(found)


def provider_state(connection: sqlite3.Connection, provider: str) -> ProviderState:
    """What earlier runs learned."""
    row = connection.execute(
        "SELECT paused_until, cause, detail, in_flight, probes FROM provider WHERE name = ?",
        (provider,),
    ).fetchone()
    if row is None:
        return ProviderState()
    paused_until, cause, detail, in_flight, probes = row
    return ProviderState(
        paused_until=seconds(paused_until),
        cause=cause,
        detail=detail or "",
        in_flight=in_flight,
        probes=tuple(parse_json(probes.encode()) or ()),
    )


def _among(batches: Sequence[int]) -> str:
    return "(" + ",".join(str(int(batch)) for batch in batches) + ")"
