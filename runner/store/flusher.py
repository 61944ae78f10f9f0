"""The one writing connection, and the task that commits in groups.

Whatever queued up during the last commit is the next transaction: a durable commit costs the same for one write as for
a hundred. A caller hands over a whole write as a function of the connection and awaits its future. Cancelling the
caller cancels only that future, which nobody asks before writing: it never cancels, halves or reorders a write.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from runner.errors import StoreError
from runner.store.folder import translate

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
TURNS = 4
"""Turns of the event loop before a group is closed: what was just committed wakes those who write next, so twice as
many share a transaction. Turns and not milliseconds, because a loop with nothing to do takes no time for them."""


class Flusher:
    """Owns the writing connection. After a failed commit it refuses everything: nothing is sent on a broken store."""

    def __init__(self, connection: aiosqlite.Connection, database: Path) -> None:
        self._connection = connection
        self._database = database
        self._pending: list[tuple[Work, asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self.broken: StoreError | None = None

    def __repr__(self) -> str:
        """State in one line."""
        return f"<Flusher pending={len(self._pending)} broken={self.broken is not None}>"

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the next transaction; returns when that is durable.

        Raises:
            StoreError: the store can't be written any more.
        """
        if self.broken is not None:
            raise self.broken
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending.append((work, future))
        self._wake.set()
        return await future

    async def alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` outside any transaction, before `run` is started (pragmas, migrations)."""
        # aiosqlite has no public way to run one function in its thread, and three hops per statement are what makes a
        # commit per transition slow. Guarded by the version range in pyproject.toml and a test.
        run_in_thread: Callable[..., Awaitable[T]] = self._connection._execute  # noqa: SLF001
        return await run_in_thread(work, self._connection._conn)  # noqa: SLF001

    async def run(self) -> None:
        """Commit groups until closed."""
        while self._pending or not self._closing:
            await self._wake.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self._wake.clear()
            group, self._pending = self._pending, []
            if group:
                await self._commit(group)
        self.broken = self.broken or StoreError(
            f"{self._database} is closed: this write came too late"
        )

    def close(self) -> None:
        """Commit what is pending, then end `run`."""
        self._closing = True
        self._wake.set()

    async def _commit(self, group: list[tuple[Work, asyncio.Future[Any]]]) -> None:
        if self.broken is not None:
            outcomes: list[Any] = [self.broken] * len(group)
        else:
            works = [work for work, _ in group]
            outcomes = await self.alone(lambda connection: _run_group(connection, works))
        for (_, future), outcome in zip(group, outcomes, strict=True):
            fatal = isinstance(
                outcome, sqlite3.DatabaseError | UnicodeDecodeError
            ) and not isinstance(outcome, sqlite3.IntegrityError)
            if fatal and self.broken is None:
                self.broken = translate(outcome, self._database)
            if future.done():
                continue
            if fatal and self.broken is not None:
                _fail(future, self.broken)
            elif isinstance(outcome, BaseException):
                _fail(future, outcome)
            else:
                future.set_result(outcome)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    future.set_exception(error)
    future.exception()  # looked at: a caller that is cancelled at this moment won't


def _run_group(connection: sqlite3.Connection, works: list[Work]) -> list[Any]:
    """Run all works in one transaction; if one of them fails, each in its own, so that it fails alone."""
    try:
        return _transaction(connection, works)
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.IntegrityError):
            return [error] * len(works)
        if len(works) == 1:
            return [error]
    except Exception as error:  # noqa: BLE001 - handed to the caller whose work raised it
        if len(works) == 1:
            return [error]
    return [outcome for work in works for outcome in _run_group(connection, [work])]


def _transaction(connection: sqlite3.Connection, works: list[Work]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        outcomes = [work(connection) for work in works]
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already (disk full)
            connection.execute("ROLLBACK")
        raise
    return outcomes
