"""Connections that only read, and one moment of the database for a question that takes its time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from runner.errors import StoreError
from runner.job import State
from runner.store import claims
from runner.store.folder import StateFolder, translate


def open_to_read(folder: StateFolder, *, check_same_thread: bool = True) -> sqlite3.Connection:
    """Open a database that is there, without the lock.

    Raises:
        StoreError: it is on a read-only disk and was not closed.
        sqlite3.Error: it can't be read.
    """
    uri = folder.database.absolute().as_uri()

    def connect(how: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{uri}?{how}", uri=True, isolation_level=None, check_same_thread=check_same_thread
        )

    connection = connect("mode=ro")
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(
            "PRAGMA temp_store = MEMORY"
        )  # the folder for temporary files may be full
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if getattr(error, "sqlite_errorname", "") != "SQLITE_CANTOPEN":
            raise
        # A read-only disk: WAL can't be set up there, but the file alone can be read if nobody writes.
        if folder.database.with_name("runner.db-wal").exists():
            raise StoreError(
                f"{folder.database} can't be read: too many files are open, or it is on a read-only disk and was not"
                " closed cleanly"
            ) from None
        connection = connect("immutable=1")
    return connection


class Moment:
    """The database as it stands now, for one question in another thread that takes its time.

    Raises:
        StoreError: it can't be read.
    """

    def __init__(self, folder: StateFolder) -> None:
        self._database = folder.database
        try:
            self._connection = open_to_read(folder, check_same_thread=False)
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT 1 FROM batch").fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise translate(error, self._database) from None

    def counts(self, batches: Sequence[int]) -> dict[tuple[int, str, State], int]:
        """Jobs by batch, provider and state."""
        try:
            return claims.counts(self._connection, batches)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise translate(error, self._database) from None
        finally:
            self._connection.close()
