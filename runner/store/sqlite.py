"""The store's contract on SQLite."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

import aiosqlite

from runner.budget import Money
from runner.errors import StoreError
from runner.events import Event, Intended
from runner.job import Job, Spec, State
from runner.store import claims, ledger, manifests
from runner.store.contract import OPEN_PAGE, Added, Batch, Claimed, Intent, ProviderState
from runner.store.flusher import Flusher
from runner.store.folder import StateFolder, translate
from runner.store.lock import RunnerLock
from runner.store.log import check_log
from runner.store.migrate import migrate
from runner.store.moment import Moment
from runner.store.rows import millis
from runner.wire import dump_json

# WAL with FULL: with NORMAL a power cut loses every receipt since the last checkpoint, and a lost receipt is a second
# payment. Only this connection writes and checkpoints, which also keeps clear of the WAL-reset fault of SQLite.
_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA cache_size = -16000",
    "PRAGMA temp_store = MEMORY",
)
CHECKED_WHOLE = 100_000_000
"""Bytes of a database that is checked at every start. A larger one takes seconds; its damage shows where it is read."""


class SqliteStore:
    """`runner.store.Store` on one SQLite file, under the folder's lock. Use it as an async context manager."""

    def __init__(self, folder: StateFolder, now: float) -> None:
        self._folder = folder
        self._now = now
        self._tasks = asyncio.TaskGroup()

    def __repr__(self) -> str:
        """State in one line."""
        return f"<SqliteStore {self._folder.database} {getattr(self, '_flusher', None)!r}>"

    async def __aenter__(self) -> Self:
        """Take the lock, bring the schema up to date, start the flusher.

        Raises:
            StoreLocked: another runner holds the folder.
            StoreError: the folder or the database can't be used.
        """
        self._folder.prepare()
        self._lock = RunnerLock(self._folder.lock, self._now)
        database = self._folder.database
        try:
            self._folder.begin()
            check_log(database)
            self._connection = await aiosqlite.connect(
                database, isolation_level=None, cached_statements=256
            )
        except (sqlite3.Error, StoreError) as error:
            self._lock.release()
            if isinstance(error, StoreError):
                raise
            raise translate(error, database) from None
        self._flusher = Flusher(self._connection, database)
        try:
            await self._flusher.alone(self._set_up)
        except BaseException as error:
            await self._connection.close()
            self._lock.release()
            if isinstance(error, sqlite3.Error | UnicodeDecodeError):
                raise translate(error, database) from None
            raise
        await self._tasks.__aenter__()
        self._tasks.create_task(self._flusher.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commit what is pending, checkpoint, and let the next runner in."""
        try:
            self._flusher.close()
            await self._tasks.__aexit__(None, None, None)
            await self._connection.close()
        finally:
            self._lock.release()

    def _set_up(self, connection: sqlite3.Connection) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(
                f"{self._folder.database} can't keep a write-ahead log here (it stays in mode {mode}). "
                "Keep the state on a local disk: --state DIR"
            )
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        migrate(connection, self._folder.database)
        if self._folder.database.stat().st_size > CHECKED_WHOLE:
            return
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreError(
                f"{self._folder.database} is damaged: {verdict}. Restore it from a copy"
            )

    # -- what is asked for ---------------------------------------------------------------------------------------

    async def add(
        self, batch: Batch, specs: Iterable[Sequence[Spec]], now: float
    ) -> tuple[Batch, Added]:
        """See `Store.add`."""
        write = self._flusher.write
        digests = {each.name: each.digest for each in await self.batches()}
        stock = await write(partial(manifests.begin, batch=batch, now=now))
        batch = replace(batch, number=stock.batch)
        new = 0
        try:
            for part in specs:
                new += await write(
                    partial(manifests.put, batch=batch, stock=stock, specs=part, now=now)
                )
        except Exception:
            digest = digests.get(batch.name, "")
            await write(partial(manifests.undo, stock=stock, digest=digest))
            raise
        orphaned = await write(partial(manifests.finish, batch=batch, stock=stock, now=now))
        return batch, Added(new=new, kept=stock.kept, orphaned=orphaned)

    async def batches(self) -> list[Batch]:
        """See `Store.batches`."""
        return await self._flusher.write(manifests.batches)

    async def unfinished(self) -> list[Batch]:
        """See `Store.unfinished`."""
        numbers = await self._flusher.write(claims.unfinished)
        return [batch for batch in await self.batches() if batch.number in numbers]

    async def begin_run(self, now: float, budget: Money | None = None) -> int:
        """See `Store.begin_run`."""
        values = (millis(now), os.getpid(), socket.gethostname(), *_budget(budget))
        return await self._flusher.write(
            lambda c: int(
                c.execute(
                    "INSERT INTO run (started_at, pid, host, budget_micros, currency) VALUES (?, ?, ?, ?, ?)",
                    values,
                ).lastrowid
                or 0
            )
        )

    async def end_run(self, run: int, now: float, exit_code: int) -> None:
        """See `Store.end_run`."""
        await self._flusher.write(
            lambda c: (
                c.execute(
                    "UPDATE run SET ended_at = ?, exit_code = ? WHERE id = ?",
                    (millis(now), exit_code, run),
                ).rowcount
            )
        )

    # -- jobs ----------------------------------------------------------------------------------------------------

    async def carriers(self, batches: Sequence[int]) -> set[str]:
        """See `Store.carriers`."""
        return await self._flusher.write(lambda c: claims.carriers(c, batches))

    async def claim_open(
        self, batches: Sequence[int], now: float, after: int = 0, limit: int = OPEN_PAGE
    ) -> list[Claimed]:
        """See `Store.claim_open`."""
        return await self._flusher.write(lambda c: claims.open_jobs(c, batches, now, after, limit))

    async def claim_queued(self, batch: int, now: float, limit: int) -> list[Claimed]:
        """See `Store.claim_queued`."""
        return await self._flusher.write(lambda c: claims.queued(c, batch, now, limit))

    async def intend(self, job: Job, intended: Intended, run: int, now: float) -> Intent:
        """See `Store.intend`."""
        return await self._flusher.write(lambda c: ledger.intend(c, job, intended, run, now))

    async def record(
        self, job: Job, event: Event, now: float, due_at: float | None, *, watch: bool = False
    ) -> State | None:
        """See `Store.record`."""
        return await self._flusher.write(lambda c: ledger.record(c, job, event, now, due_at, watch))

    async def load(self, number: int) -> Claimed | None:
        """See `Store.load`."""
        return await self._flusher.write(lambda c: claims.load(c, number))

    async def next_queued(self, batches: Sequence[int]) -> float | None:
        """See `Store.next_queued`."""
        return await self._flusher.write(lambda c: claims.next_queued(c, batches))

    async def counts(self, batches: Sequence[int]) -> dict[tuple[int, str, State], int]:
        """See `Store.counts`."""
        moment = Moment(self._folder)  # before the first await, so that it is that of the call
        return await asyncio.to_thread(moment.counts, batches)

    # -- providers -----------------------------------------------------------------------------------------------

    async def recent_submits(self, provider: str, since: float, now: float) -> list[float]:
        """See `Store.recent_submits`."""
        return await self._flusher.write(lambda c: claims.recent_submits(c, provider, since, now))

    async def provider_state(self, provider: str) -> ProviderState:
        """See `Store.provider_state`."""
        return await self._flusher.write(lambda c: claims.provider_state(c, provider))

    async def save_provider_state(self, provider: str, state: ProviderState) -> None:
        """See `Store.save_provider_state`."""
        values = (
            provider,
            millis(state.paused_until),
            state.cause,
            state.detail,
            state.in_flight,
            dump_json(list(state.probes)),
        )
        await self._flusher.write(
            lambda c: (
                c.execute(
                    "INSERT OR REPLACE INTO provider VALUES (?, ?, ?, ?, ?, ?)", values
                ).rowcount
            )
        )

    async def latencies(self) -> dict[str, tuple[float, float, float]]:
        """See `Store.latencies`."""
        rows = await self._flusher.write(lambda c: c.execute("SELECT * FROM latency").fetchall())
        return {name: (weight, mean, spread) for name, weight, mean, spread in rows}

    async def save_latencies(self, learned: Mapping[str, tuple[float, float, float]]) -> None:
        """See `Store.save_latencies`."""
        rows = [(name, *moments) for name, moments in learned.items()]
        await self._flusher.write(
            lambda c: (
                c.executemany("INSERT OR REPLACE INTO latency VALUES (?, ?, ?, ?)", rows).rowcount
            )
        )


def _budget(budget: Money | None) -> tuple[int | None, str | None]:
    return (None, None) if budget is None else (budget.micros, budget.currency)
