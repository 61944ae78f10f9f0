"""The statements that move a job and settle its money, as functions of the writing connection.

Each is one whole write: it runs inside the flusher's transaction, in the database's thread.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from runner.causes import Cause
from runner.events import (
    Absent,
    Accepted,
    Cancelled,
    Delayed,
    Event,
    Finished,
    Intended,
    Refused,
    Rejected,
    Requeued,
    Saved,
    Unclear,
)
from runner.job import Job, State, transition
from runner.store.contract import Intent
from runner.store.rows import event_data, millis, remote_text


@dataclass(frozen=True, slots=True)
class _Money:
    """What an event says of the attempt behind it. `free`: verified as not billed, so the reservation is released."""

    outcome: str
    billed: int | None = None
    free: bool = False
    keep_number: bool = True


def intend(
    connection: sqlite3.Connection, job: Job, event: Intended, run: int, now: float
) -> Intent:
    """Make the right to send durable: state, fence, attempt and reservation."""
    price = event.price_micros or 0
    if not _reserve(connection, job.number, run, price):
        return Intent.OVER_BUDGET
    at = millis(now)
    moved = connection.execute(
        "UPDATE job SET state = 'submitting', cause = NULL, detail = NULL, due_at = ?, changed_at = ?,"
        " fence = fence + 1, attempt = ?, provider = ? WHERE id = ? AND state = 'queued' AND fence = ?",
        (millis(event.send_by), at, event.attempt, event.provider, job.number, job.fence),
    )
    if moved.rowcount != 1:
        _spend(connection, job.number, run, -price)
        return Intent.STALE
    connection.execute(
        "INSERT OR REPLACE INTO attempt (job, number, run, provider, client_ref, digest, price_micros, currency,"
        " intended_at, send_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (job.number, event.attempt, run, event.provider, event.client_ref, event.digest, event.price_micros,
         event.currency, at, millis(event.send_by)),
    )  # fmt: skip
    _history(connection, job.number, at, event, State.SUBMITTING)
    return Intent.DURABLE


def record(
    connection: sqlite3.Connection,
    job: Job,
    event: Event,
    now: float,
    due_at: float | None,
    watch: bool = False,
) -> State | None:
    """Move a job by an event, if it still is where the caller saw it; says where it is then."""
    remote_id = None
    if isinstance(event, Accepted):
        owner = _owner(connection, job, event)
        # An id that an earlier attempt of this job has stays with that one; the job follows it all the same.
        remote_id = event.remote.id if owner is None else None
        if owner not in (None, job.number):
            event, due_at = _taken(event), None
    state = transition(job.state, event)
    at = millis(now)
    money = _money(job, event)
    columns: dict[str, Any] = {"due_at": None if state.ended and not watch else millis(due_at)}
    columns |= _changed(job, event, state, at)
    if money is not None and not money.keep_number:
        columns["attempt"] = job.attempt - 1
    names = ", ".join(f"{name} = ?" for name in columns)
    moved = connection.execute(
        f"UPDATE job SET {names} WHERE id = ? AND state = ? AND fence = ?",
        (*columns.values(), job.number, job.state, job.fence),
    )
    if moved.rowcount != 1:
        return None
    if money is not None:
        _settle(connection, job, money, at, remote_id)
    _artifacts(connection, job, event, now)
    _history(connection, job.number, at, event, state)
    return state


def _changed(job: Job, event: Event, state: State, at: int | None) -> dict[str, Any]:
    """The columns that say where a job is, and why it waits there."""
    columns: dict[str, Any] = {"state": state, **_why(event)}
    if state is not job.state:
        columns["changed_at"] = at
    if isinstance(event, Accepted):
        columns["remote"] = remote_text(event.remote)
    return columns


def _taken(event: Accepted) -> Unclear:
    detail = (
        f"the provider answered with id {event.remote.id}, which already belongs to another job"
    )
    return Unclear(detail, check_after=None)


def _why(event: Event) -> dict[str, object]:
    """The columns that say why a job waits or failed; cleared when it moves on."""
    match event:
        case Refused(cause=cause, detail=detail) | Rejected(cause=cause, detail=detail):
            return {"cause": cause, "detail": detail or None}
        case Unclear(cause=cause, detail=detail) | Delayed(cause=cause, detail=detail):
            return {"cause": cause, "detail": detail or None}
        case Cancelled(detail=detail):
            return {"cause": Cause.CANCELLED, "detail": detail or None}
        case _:
            return {"cause": None, "detail": None}


def _money(job: Job, event: Event) -> _Money | None:
    match event:
        case Accepted():
            return _Money("accepted")
        case Refused():
            return _Money("refused", 0, free=True, keep_number=False)
        case Absent():
            return _Money("absent", 0, free=True, keep_number=False)
        case Rejected(billed=billed) if job.attempt and job.state is not State.QUEUED:
            known = None if billed is None else int(billed)
            return _Money("rejected", known, free=billed is False)
        case Unclear() if job.state is State.SUBMITTING:
            return _Money("lost")
        case Finished():
            return _Money("finished", 1)
        case Requeued(billed=billed) if job.state is State.IN_DOUBT:
            known = None if billed is None else int(billed)
            return _Money("lost", known, free=billed is False)
        case _:
            return None


def _settle(
    connection: sqlite3.Connection, job: Job, money: _Money, at: int | None, remote_id: str | None
) -> None:
    facts = (money.outcome, money.billed, at, remote_id, job.number, job.attempt)
    if not money.free and connection.execute(_OUTCOME + " AND billed IS NOT 0", facts).rowcount:
        return  # the usual way: what was reserved stays spent
    row = connection.execute(
        "SELECT run, price_micros, billed FROM attempt WHERE job = ? AND number = ?",
        (job.number, job.attempt),
    ).fetchone()
    if row is None:
        return
    run, price, before = row
    connection.execute(_OUTCOME, facts)
    if money.free and before != 0:
        _spend(connection, job.number, run, -(price or 0))
    elif before == 0 and not money.free:
        _spend(connection, job.number, run, price or 0)


_OUTCOME = (
    "UPDATE attempt SET outcome = ?, billed = coalesce(?, nullif(billed, 0)),"
    " answered_at = coalesce(answered_at, ?), remote_id = coalesce(?, remote_id) WHERE job = ? AND number = ?"
)


def _reserve(connection: sqlite3.Connection, number: int, run: int, price: int) -> bool:
    """Take the price out of the budgets of the batch and of the run, or out of neither."""
    if connection.execute(
        "SELECT 1 FROM run WHERE id = ? AND spent_micros + ? > budget_micros", (run, price)
    ).fetchone():
        return False
    of_batch = connection.execute(
        f"{_SPEND_OF_BATCH} AND (budget_micros IS NULL OR spent_micros + ? <= budget_micros)",
        (price, number, price),
    )
    if not of_batch.rowcount:
        return False
    connection.execute(_SPEND_OF_RUN, (price, run))
    return True


_SPEND_OF_BATCH = "UPDATE batch SET spent_micros = spent_micros + ? WHERE id = (SELECT batch FROM job WHERE id = ?)"
_SPEND_OF_RUN = "UPDATE run SET spent_micros = spent_micros + ? WHERE id = ?"


def _spend(connection: sqlite3.Connection, number: int, run: int | None, micros: int) -> None:
    if micros:
        connection.execute(_SPEND_OF_BATCH, (micros, number))
        connection.execute(_SPEND_OF_RUN, (micros, run))


def _owner(connection: sqlite3.Connection, job: Job, event: Accepted) -> int | None:
    """The job that the provider gave this id to before, if there is one."""
    row = connection.execute(
        "SELECT job FROM attempt WHERE provider = ? AND remote_id = ?",
        (job.provider, event.remote.id),
    ).fetchone()
    return None if row is None else int(row[0])


def _artifacts(connection: sqlite3.Connection, job: Job, event: Event, now: float) -> None:
    if isinstance(event, Finished):
        expires = None if event.lifetime is None else millis(now + event.lifetime)
        connection.execute("DELETE FROM artifact WHERE job = ?", (job.number,))
        connection.executemany(
            "INSERT INTO artifact (job, number, url, content_type, size, remote_id, duration, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    job.number,
                    number,
                    item.url,
                    item.content_type,
                    item.size,
                    item.remote_id,
                    item.duration,
                    expires,
                )
                for number, item in enumerate(event.artifacts)
            ],
        )
    elif isinstance(event, Saved):
        connection.executemany(
            "UPDATE artifact SET path = ?, sha256 = ?, saved_size = ?, media_type = ? WHERE job = ? AND number = ?",
            [
                (file.path, file.sha256, file.size, file.media_type, job.number, number)
                for number, file in enumerate(event.files)
            ],
        )


def _history(
    connection: sqlite3.Connection, number: int, at: int | None, event: Event, state: State
) -> None:
    connection.execute(
        "INSERT INTO event (job, at, name, state, data) VALUES (?, ?, ?, ?, ?)",
        (number, at, type(event).__name__, state, event_data(event)),
    )
