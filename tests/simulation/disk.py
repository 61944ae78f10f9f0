"""The disk of a night: full, or failing in the middle of a transaction.

- `disk-full`: SQLite itself finds that the database may not grow; syncing any other file fails.
- `disk-error`: a statement, or the commit, fails. After a commit that failed nobody knows whether it is durable: half
  of these are.
"""

from __future__ import annotations

import errno
import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import aiosqlite

from tests.simulation.network import Network

_SHARE = 0.1
"""Of the transactions within a window of errors."""


class Disk:
    """What one life's database is on. `heard_at` is when the program was told of a failure, in real seconds."""

    def __init__(self, network: Network, life: int) -> None:
        self.heard_at: float | None = None
        self._net = network
        self._dice = random.Random(f"disk errors {network.plan.seed} {life}")
        self._failed = False

    def fate(self) -> str:
        """Draw what becomes of a transaction: empty, `statement`, `commit` or `answer`."""
        if not self._net.in_window("disk-error") or self._dice.random() > _SHARE:
            return ""
        return self._dice.choice(["statement", "commit", "answer"])

    def now(self) -> bool:
        """Whether it is this statement that fails, where one of the transaction is to."""
        return self._dice.random() < 0.5

    def failed(self, what: str) -> None:
        """A transaction failed; the program will hear of it when the answer of the database's thread arrives."""
        self._failed = True
        self._net.counts[f"disk: {what}"] += 1

    def told(self) -> None:
        """The program hears from the database's thread."""
        if self._failed and self.heard_at is None:
            self.heard_at = self._net.sky.truth
            self._net.trace.write("disk: the store has failed")

    @contextmanager
    def under(self) -> Iterator[None]:
        """While this is open, databases are on this disk, and files are."""
        connect = partial(aiosqlite.connect, factory=partial(_Connection, disk=self))
        fsync = os.fsync

        def sync(handle: int) -> None:
            if self._net.in_window("disk-full"):
                self._net.counts["disk: full"] += 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(handle)

        with mock.patch("aiosqlite.connect", connect), mock.patch("os.fsync", sync):
            yield


class _Connection(sqlite3.Connection):
    """The store's connection, with a disk that may fail in the middle of a transaction."""

    def __init__(self, *args: Any, disk: Disk, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._disk = disk
        self._fate = ""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Run a statement; within a transaction that is to fail, at the statement that is drawn."""
        if sql == "BEGIN IMMEDIATE":
            self._fate = self._disk.fate()
        elif sql == "COMMIT":
            return self._commit()
        elif sql != "ROLLBACK" and self._fate == "statement" and self._disk.now():
            raise self._error("a statement fails")
        return self._watched(sql, *values)

    def _commit(self) -> sqlite3.Cursor:
        if self._fate == "commit":
            raise self._error("a commit fails")
        cursor = self._watched("COMMIT")
        if self._fate == "answer":
            raise self._error("a commit is durable, and fails all the same")
        return cursor

    def _watched(self, sql: str, *values: Any) -> sqlite3.Cursor:
        try:
            return super().execute(sql, *values)
        except sqlite3.DatabaseError as error:
            if sql != "ROLLBACK" and not isinstance(error, sqlite3.IntegrityError):
                self._disk.failed(str(error))
            raise

    def _error(self, what: str) -> sqlite3.OperationalError:
        self._disk.failed(what)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        return error


def fill(connection: sqlite3.Connection) -> None:
    """From now on the database may not grow: SQLite itself says that the disk is full."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


def empty(connection: sqlite3.Connection) -> None:
    """The database may grow again."""
    connection.execute("PRAGMA max_page_count = 1073741823")
