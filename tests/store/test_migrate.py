"""Bringing a database to the newest schema, and leaving alone what isn't ours."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from runner.errors import StoreError
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.migrate import APPLICATION_ID, migrations
from runner.store.reader import reading
from tests.conftest import T0, make_spec

BATCH = Batch(name="film", manifest="film.yaml", digest="d", provider="winfull")


def change(folder: StateFolder, *statements: str) -> None:
    """Do something to a database that nobody has open."""
    folder.root.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder.database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


async def opened(folder: StateFolder) -> None:
    """Open and close the store."""
    async with SqliteStore(folder, T0):
        pass


def version(path: Path) -> int:
    """The schema version of a database."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_migrations_are_numbered_without_a_gap() -> None:
    """One file per step, counted from 1."""
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


async def test_an_empty_folder_gets_the_newest_schema(folder: StateFolder) -> None:
    """From nothing to the newest version, and opening again changes nothing more and makes no copy."""
    await opened(folder)
    await opened(folder)
    assert version(folder.database) == migrations()[-1][0]
    assert sorted(path.name for path in folder.root.glob("*.db*")) == ["runner.db"]


async def test_a_newer_database_is_refused_untouched(folder: StateFolder) -> None:
    """A release doesn't touch what a later one wrote, neither to write nor to read."""
    await opened(folder)
    change(folder, "PRAGMA user_version = 999")
    before = folder.database.read_bytes()
    with pytest.raises(StoreError, match="newer release"):
        await opened(folder)
    with pytest.raises(StoreError, match="newer release"), reading(folder):
        pass
    assert folder.database.read_bytes() == before


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE notes (text)",),
        ("PRAGMA application_id = 42",),
        ("PRAGMA user_version = 1",),
        ("CREATE TABLE batch (id)", "PRAGMA user_version = 1", "PRAGMA application_id = 42"),
    ],
)
async def test_a_strangers_database_is_refused_untouched(
    folder: StateFolder, statements: tuple[str, ...]
) -> None:
    """A database of another program under our file's name is left as it is."""
    change(folder, *statements)
    with pytest.raises(StoreError, match="another program"):
        await opened(folder)
    with pytest.raises(StoreError, match="another program"), reading(folder):
        pass
    with closing(sqlite3.connect(folder.database)) as connection:
        tables = {
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    assert tables <= {"notes", "batch"}


async def test_an_older_database_is_copied_before_it_is_changed(folder: StateFolder) -> None:
    """The copy is whole, private, and named after the step that it was made before."""
    change(
        folder,
        "CREATE TABLE older (text)",
        "INSERT INTO older VALUES ('precious')",
        f"PRAGMA application_id = {APPLICATION_ID}",
        "PRAGMA user_version = -1",
    )
    await opened(folder)
    copy = folder.root / "runner.before-0001.db"
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT text FROM older").fetchall() == [("precious",)]
    assert version(copy) == -1
    assert version(folder.database) == migrations()[-1][0]
    if sys.platform != "win32":
        assert copy.stat().st_mode & 0o777 == 0o600


async def test_a_migration_that_fails_changes_nothing(folder: StateFolder) -> None:
    """A step that can't be taken is undone whole, and every row is still there."""
    async with SqliteStore(folder, T0) as store:
        await store.add(BATCH, [[make_spec(0)]], T0)
    change(folder, "PRAGMA user_version = -1")
    for _ in range(2):
        with pytest.raises(StoreError, match="already exists"):
            await opened(folder)
    assert version(folder.database) == -1
    change(folder, f"PRAGMA user_version = {migrations()[-1][0]}")
    async with SqliteStore(folder, T0) as store:
        assert len(await store.claim_queued(1, T0, 10)) == 1
