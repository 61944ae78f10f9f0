"""The state folder: private, proven, and never silently begun anew."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import StoreError, StoreFull
from runner.events import Accepted, Artifact, Finished, Intended, Remote
from runner.job import State, advanced
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.folder import translate
from runner.store.reader import reading
from tests.conftest import T0, make_spec

BATCH = Batch(name="film", manifest="film.yaml", digest="d", provider="winfull")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Each umask that people have."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
@pytest.mark.usefixtures("umask")
async def test_the_state_is_private_whatever_the_umask(folder: StateFolder) -> None:
    """Prompts, prices and addresses of clips are for the user's eyes: 0700 and 0600, the log of writes included."""
    async with SqliteStore(folder, T0) as store:
        await store.add(BATCH, [[make_spec(0)]], T0)
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in folder.root.iterdir()
            if path.is_file()
        }
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700
    assert {"runner.db", "runner.db-wal", "runner.db-shm", "runner.lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_folder_that_can_not_be_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """A state folder under a file is a mistake of the command line, told with what to type."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--state DIR"):
        StateFolder(tmp_path / "file" / "state").prepare()


def test_a_folder_in_place_of_the_database_is_refused(folder: StateFolder) -> None:
    """Whatever stands where the database should be is not removed."""
    folder.database.mkdir(parents=True)
    folder.prepare()
    with pytest.raises(StoreError, match="can't be used for state"):
        folder.begin()
    assert folder.database.is_dir()


def test_preparing_leaves_nothing_behind(folder: StateFolder) -> None:
    """The proof that the folder can be written is cleaned up, and preparing twice is fine."""
    folder.prepare()
    folder.prepare()
    assert list(folder.outputs.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("SQLITE_FULL", StoreFull, "Free some space"),
        ("SQLITE_IOERR_WRITE", StoreFull, "Free some space"),
        ("SQLITE_IOERR_FSYNC", StoreFull, "disk fails"),
        ("SQLITE_NOTADB", StoreError, "damaged"),
        ("SQLITE_CORRUPT", StoreError, "damaged"),
        ("SQLITE_BUSY", StoreError, "local disk"),
        ("SQLITE_IOERR_SHMOPEN", StoreError, "local disk"),
    ],
)
def test_an_error_of_the_database_says_what_to_do(
    tmp_path: Path, name: str, kind: type, says: str
) -> None:
    """Each failure of SQLite is one of ours, with the file and the next step."""
    error = sqlite3.OperationalError("it went wrong")
    error.sqlite_errorname = name
    translated = translate(error, tmp_path / "runner.db")
    assert type(translated) is kind
    assert says in str(translated)
    assert "runner.db" in str(translated)


async def populate(folder: StateFolder, count: int = 40) -> None:
    """A database with some of everything."""
    async with SqliteStore(folder, T0) as store:
        batch, _ = await store.add(BATCH, [[make_spec(i) for i in range(count)]], T0)
        for number, claim in enumerate(await store.claim_queued(batch.number, T0, count // 2)):
            intent = Intended(1, f"ref{number}", "digest", "winfull", T0 + 30, 350_000, "USD")
            await store.intend(claim.job, intent, 1, T0)
            job = advanced(claim.job, State.SUBMITTING, intent, T0, T0)
            accepted = Accepted(Remote(f"r{number}", {"status": "/s"}))
            state = await store.record(job, accepted, T0, T0)
            assert state is not None
            if number % 2:
                finished = Finished((Artifact("https://media.example/1.mp4"),), lifetime=60.0)
                await store.record(advanced(job, state, accepted, T0, T0), finished, T0, T0)


async def use(folder: StateFolder) -> None:
    """Open the store, take up everything, and look at everything."""
    async with SqliteStore(folder, T0) as store:
        batches = [batch.number for batch in await store.batches()]
        assert batches, "the database was begun anew"
        await store.counts(batches)
        await store.claim_open(batches, T0)
        await store.provider_state("winfull")
        for batch in batches:
            await store.claim_queued(batch, T0, 100)
    look(folder)


def look(folder: StateFolder) -> None:
    """Read everything that is shown to people."""
    with reading(folder) as reader:
        assert reader is not None, "the database was begun anew"
        batches = [batch.number for batch in reader.batches()]
        for job in reader.jobs(batches):
            reader.history(job.number)
            reader.attempts(job.number)
            reader.artifacts(job.number)
        reader.groups(batches)
        reader.spend(batches)
        reader.find("film/x")
        reader.span(batches[0])
        reader.pace(batches[0])


@pytest.mark.parametrize("seed", range(24))
async def test_a_damaged_database_is_told_and_never_begun_anew(
    folder: StateFolder, seed: int
) -> None:
    """Whichever bytes a disk turns, the state is used as it is, or refused with a word on what to do."""
    await populate(folder)
    chance, damaged = random.Random(seed), bytearray(folder.database.read_bytes())
    for _ in range(chance.choice([1, 3, 30, 300])):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    folder.database.write_bytes(damaged)
    for _ in range(2):
        with contextlib.suppress(StoreError):
            await use(folder)
    with contextlib.suppress(StoreError):
        look(folder)
    assert folder.database.stat().st_size >= len(damaged) // 2


@pytest.mark.parametrize("keep", [1, 50, 4096, 8191, 20_000])
async def test_a_truncated_database_is_refused(folder: StateFolder, keep: int) -> None:
    """Half a database is never taken for a new one."""
    await populate(folder)
    whole = folder.database.read_bytes()
    folder.database.write_bytes(whole[:keep])
    with pytest.raises(StoreError):
        await use(folder)
    assert folder.database.read_bytes()[:16] == whole[: min(keep, 16)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE job SET cause = 'no such cause'",
        "UPDATE job SET remote = '{' WHERE remote IS NOT NULL",
        "UPDATE job SET remote = '[]' WHERE remote IS NOT NULL",
        "UPDATE spec SET params = '{'",
        "UPDATE spec SET params = '[1]'",
        "UPDATE job SET remote = CAST(x'ff' AS TEXT)",
    ],
)
async def test_a_row_that_can_not_be_read_is_told(folder: StateFolder, statement: str) -> None:
    """What no check of the file finds is found when the row is read, and is an error with a name."""
    await populate(folder)
    connection = sqlite3.connect(folder.database, isolation_level=None)
    connection.execute(statement)
    connection.close()
    with pytest.raises(StoreError, match=r"damaged|local disk"):
        await use(folder)
