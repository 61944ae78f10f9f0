"""Reading without the lock: short, read-only, and never in the way of the runner that writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from runner.budget import Money
from runner.job import Job, State
from runner.store import claims, manifests
from runner.store.contract import Batch
from runner.store.folder import StateFolder, translate
from runner.store.migrate import check
from runner.store.moment import open_to_read
from runner.store.rows import JOB_COLUMNS, cause_from, job_from, millis, state_from

_FROM = "FROM job JOIN spec ON spec.id = job.id JOIN batch ON batch.id = job.batch"


RECENT_EVENTS = 2_000
RECENT_SECONDS = 900

# Failed and cancelled jobs have no due time either, but nothing is held there: they ended.
_HELD = "job.state NOT IN ('failed', 'cancelled') AND job.due_at IS NULL"


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that failed or wait for the same reason: how many, and one of them. `held`: no run looks at them."""

    batch: int
    state: State
    cause: str | None
    detail: str
    count: int
    example: str
    held: bool


@dataclass(frozen=True, slots=True)
class Spend:
    """What a batch has cost, in one currency: billed or reserved, and the part of it nobody can tell."""

    batch: int
    committed: Money
    in_doubt: Money
    unpriced: int


class Reader:
    """Questions to a store that may be in use. Each answer is of one moment."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def batches(self) -> list[Batch]:
        """Every batch."""
        return manifests.batches(self._connection)

    def counts(self, batches: Sequence[int]) -> dict[tuple[int, str, State], int]:
        """Jobs by batch, provider and state."""
        return claims.counts(self._connection, batches)

    def orphans(self, batch: int) -> int:
        """Jobs that left the manifest."""
        query = "SELECT count(*) FROM job WHERE batch = ? AND orphan = 1"
        return int(self._connection.execute(query, (batch,)).fetchone()[0])

    def known(self, keys: Sequence[str]) -> dict[str, State]:
        """Which of these job keys are stored, and where their jobs are."""
        marks = ",".join("?" * len(keys))
        rows = self._connection.execute(
            f"SELECT spec.key, job.state FROM spec JOIN job ON job.id = spec.id WHERE spec.key IN ({marks})",
            [bytes.fromhex(key) for key in keys],
        )
        return {bytes(key).hex(): state_from(state) for key, state in rows.fetchall()}

    def names(self, batch: int) -> set[str]:
        """The ids of a batch's jobs."""
        rows = self._connection.execute("SELECT name FROM spec WHERE batch = ?", (batch,))
        return {name for (name,) in rows.fetchall()}

    def size(self, batch: int) -> int:
        """All jobs of a batch, orphaned ones too."""
        return int(
            self._connection.execute(
                "SELECT count(*) FROM job WHERE batch = ?", (batch,)
            ).fetchone()[0]
        )

    def groups(self, batches: Sequence[int], overdue: float = 0.0) -> list[Group]:
        """Jobs that failed, are in doubt, are held or wait for a reason, by cause; most first.

        A job in doubt that should have been looked up before `overdue` (Unix seconds) counts as held, too.
        """
        among = ",".join(str(int(batch)) for batch in batches)
        rows = self._connection.execute(
            "SELECT job.batch, job.state, job.cause, job.detail, count(*), min(spec.name),"
            f" {_HELD} OR (job.state = 'in_doubt' AND job.due_at < ?) AS held"
            f" FROM job JOIN spec ON spec.id = job.id WHERE job.cause IS NOT NULL AND job.batch IN ({among})"
            " AND (job.orphan = 0 OR job.state NOT IN ('queued', 'failed', 'cancelled'))"
            " GROUP BY 1, 2, 3, 4, 7 ORDER BY count(*) DESC",
            (millis(overdue),),
        )
        return [
            Group(
                batch,
                state_from(state),
                cause_from(cause),
                detail or "",
                count,
                example,
                bool(held),
            )
            for batch, state, cause, detail, count, example, held in rows.fetchall()
        ]

    def spend(self, batches: Sequence[int]) -> list[Spend]:
        """What batches have cost so far."""
        among = ",".join(str(int(batch)) for batch in batches)
        rows = self._connection.execute(
            "SELECT job.batch, coalesce(attempt.currency, 'USD'),"
            " sum(coalesce(attempt.price_micros, 0)),"
            " sum(CASE WHEN job.state = 'in_doubt' THEN coalesce(attempt.price_micros, 0) ELSE 0 END),"
            " sum(attempt.price_micros IS NULL)"
            f" FROM attempt JOIN job ON job.id = attempt.job WHERE job.batch IN ({among})"
            " AND attempt.billed IS NOT 0 GROUP BY 1, 2"
        )
        return [
            Spend(batch, Money(total, currency), Money(doubt, currency), unpriced)
            for batch, currency, total, doubt, unpriced in rows.fetchall()
        ]

    def jobs(
        self,
        batches: Sequence[int],
        states: Sequence[State] = (),
        cause: str | None = None,
        limit: int = -1,
    ) -> Iterator[Job]:
        """Jobs in the order of their manifests."""
        among = ",".join(str(int(batch)) for batch in batches)
        terms, values = [f"job.batch IN ({among})"], list[Any]()
        if states:
            terms.append(f"job.state IN ({','.join('?' * len(states))})")
            values.extend(states)
        if cause:
            terms.append("job.cause = ?")
            values.append(cause)
        rows = self._connection.execute(
            f"SELECT {JOB_COLUMNS} {_FROM} WHERE {' AND '.join(terms)} ORDER BY job.id LIMIT ?",
            (*values, limit),
        )
        for row in rows.fetchall():
            yield job_from(row)

    def find(self, name: str) -> list[Job]:
        """Jobs that `name` can mean: an id, `batch/id`, a key or the beginning of one, a remote id."""
        batch, _, identity = name.rpartition("/")
        rows = self._connection.execute(
            f"SELECT {JOB_COLUMNS} {_FROM} WHERE (spec.name = ?1 AND (?2 = '' OR batch.name = ?2))"
            " OR (length(?3) >= 8 AND substr(lower(hex(spec.key)), 1, length(?3)) = ?3)"
            " OR job.id IN (SELECT attempt.job FROM attempt WHERE attempt.remote_id = ?4)"
            " ORDER BY job.orphan, job.id LIMIT 20",
            (identity, batch, name.lower(), name),
        )
        return [job_from(row) for row in rows.fetchall()]

    def history(self, number: int) -> list[tuple[float, str, str, str]]:
        """What was learned of a job: time, event, state, data as JSON."""
        rows = self._connection.execute(
            "SELECT at, name, state, data FROM event WHERE job = ? ORDER BY id", (number,)
        )
        return [(at / 1000, name, state, data or "") for at, name, state, data in rows.fetchall()]

    def attempts(self, number: int) -> list[dict[str, Any]]:
        """What was paid, or may have been, for a job."""
        cursor = self._connection.execute(
            "SELECT number, provider, client_ref, digest, price_micros, currency, intended_at, answered_at, outcome,"
            " remote_id, billed FROM attempt WHERE job = ? ORDER BY number",
            (number,),
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def artifacts(self, number: int) -> list[dict[str, Any]]:
        """What the provider made, and where it was saved."""
        cursor = self._connection.execute(
            "SELECT url, size, duration, expires_at, path, sha256, saved_size, media_type FROM artifact"
            " WHERE job = ? ORDER BY number",
            (number,),
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def in_doubt(self, batches: Sequence[int]) -> list[Job]:
        """Jobs that a person can settle: in doubt, or held because the provider lost them."""
        among = ",".join(str(int(batch)) for batch in batches)
        rows = self._connection.execute(
            f"SELECT {JOB_COLUMNS} {_FROM} WHERE job.batch IN ({among}) AND (job.state = 'in_doubt'"
            " OR (job.state = 'running' AND job.cause = 'lost_remote' AND job.due_at IS NULL))"
            " ORDER BY job.id"
        )
        return [job_from(row) for row in rows.fetchall()]

    def adrift(self, before: float) -> int:
        """Jobs whose runner ended while their request was in the air, `before` (Unix seconds) or earlier."""
        query = "SELECT count(*) FROM job WHERE state = 'submitting' AND due_at < ?"
        return int(self._connection.execute(query, (millis(before),)).fetchone()[0])

    def owner(self, provider: str, remote_id: str) -> tuple[int, int] | None:
        """The number of the job, and of its attempt, that a provider's id belongs to."""
        row = self._connection.execute(
            "SELECT job, number FROM attempt WHERE provider = ? AND remote_id = ?",
            (provider, remote_id),
        ).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def orphaned(self, numbers: Sequence[int]) -> set[int]:
        """Which of these jobs left the manifest: no run sends them."""
        among = ",".join(str(int(number)) for number in numbers)
        rows = self._connection.execute(f"SELECT id FROM job WHERE orphan = 1 AND id IN ({among})")
        return {number for (number,) in rows.fetchall()}

    def span(self, batch: int) -> tuple[float, float] | None:
        """When the first job of a batch was sent, and when one last changed its state; None before the first."""
        # The rows are in the order of time, so this reads only until it meets the batch. CROSS keeps that order.
        first = self._connection.execute(
            "SELECT attempt.intended_at FROM attempt CROSS JOIN job ON job.id = attempt.job"
            " WHERE job.batch = ? ORDER BY attempt.id LIMIT 1",
            (batch,),
        ).fetchone()
        last = self._connection.execute(
            "SELECT max(changed_at) FROM job WHERE batch = ? AND state <> 'queued'", (batch,)
        ).fetchone()[0]
        if first is None or last is None:
            return None
        return first[0] / 1000, max(first[0], last) / 1000

    def pace(self, batch: int) -> float | None:
        """Jobs of a batch that ended per second, by the latest events; None where too few did."""
        count, first, last = self._connection.execute(
            "WITH recent AS (SELECT job, at, name FROM event ORDER BY id DESC LIMIT ?),"
            " ended AS (SELECT recent.at FROM recent JOIN job ON job.id = recent.job"
            "  WHERE job.batch = ? AND recent.name IN ('Saved', 'Rejected'))"
            " SELECT count(*), min(at), max(at) FROM ended"
            " WHERE at > (SELECT max(at) FROM ended) - ?",
            (RECENT_EVENTS, batch, RECENT_SECONDS * 1000),
        ).fetchone()
        if count < 2 or last <= first:
            return None
        return float((count - 1) * 1000 / (last - first))


@contextmanager
def reading(folder: StateFolder) -> Iterator[Reader | None]:
    """Open a store for reading; None where there is none yet.

    Raises:
        StoreError: it can't be read.
    """
    if folder.is_empty():
        yield None
        return
    connection = None
    try:
        connection = open_to_read(folder)
        yield Reader(connection) if check(connection, folder.database) else None
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise translate(error, folder.database) from None
    finally:
        if connection is not None:
            connection.close()
