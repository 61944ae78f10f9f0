"""The write-ahead log that a killed run leaves: read whole, or refused; and how large it gets."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runner.errors import StoreError
from runner.events import Accepted, Intended, Progressed, Remote
from runner.job import State, advanced
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.log import check_log
from tests.conftest import T0, make_spec

BATCH = Batch(name="film", manifest="film.yaml", digest="d", provider="winfull")
JOBS = 24


async def killed(root: Path) -> StateFolder:
    """What a run leaves that is killed: every intent in a transaction of its own, and all of them in the log."""
    here, left = StateFolder(root / "here"), StateFolder(root / "left")
    async with SqliteStore(here, T0) as store:
        batch, _ = await store.add(BATCH, [[make_spec(i) for i in range(JOBS)]], T0)
        for number, claim in enumerate(await store.claim_queued(batch.number, T0, JOBS)):
            intent = Intended(1, f"ref{number}", "digest", "winfull", T0 + 30)
            await store.intend(claim.job, intent, 1, T0)
        left.root.mkdir(mode=0o700)
        for path in (here.database, log_of(here)):
            shutil.copy(path, left.root)
    return left


def log_of(folder: StateFolder) -> Path:
    """The write-ahead log."""
    return folder.database.with_name("runner.db-wal")


async def intents(folder: StateFolder) -> int:
    """How many jobs the next run finds in the air."""
    async with SqliteStore(folder, T0) as store:
        return len(await store.claim_open([batch.number for batch in await store.batches()], T0))


async def flip(left: StateFolder, root: Path, times: int, seed: int) -> int:
    """Flip a bit of the log, so often, each time in a copy; says how often it was refused."""
    dice, whole, refused = random.Random(seed), log_of(left).read_bytes(), 0
    for number in range(times):
        damaged = bytearray(whole)
        place = dice.randrange(len(damaged)) if number % 3 else 24 * (number // 3) % 1024
        damaged[place] ^= 1 << dice.randrange(8)
        folder = StateFolder(root / "copy")
        shutil.copytree(left.root, folder.root)
        log_of(folder).write_bytes(damaged)
        try:
            found = await intents(folder)
        except StoreError:
            refused += 1
            assert log_of(folder).read_bytes() == damaged, f"byte {place}: the log is gone"
        else:
            assert found >= JOBS - 2, (
                f"byte {place}: {JOBS - found} intents are lost, and nobody says so"
            )
        shutil.rmtree(folder.root)
    return refused


async def test_a_killed_run_s_log_is_read_whole(tmp_path: Path) -> None:
    """Nothing is wrong with the log: every intent is found, and the log begins anew."""
    left = await killed(tmp_path)
    assert log_of(left).stat().st_size > 0
    assert await intents(left) == JOBS


async def test_flipped_bytes_of_the_log(tmp_path: Path) -> None:
    """Whatever bit of the log is flipped: it is refused and kept, or no more than the last two writes are cut off."""
    refused = await flip(await killed(tmp_path), tmp_path, 120, seed=1)
    assert refused > 80


@pytest.mark.soak
async def test_many_flipped_bytes_of_the_log(tmp_path: Path) -> None:
    """The same three thousand times."""
    print(await flip(await killed(tmp_path), tmp_path, 3000, seed=2))


async def test_a_log_that_was_cut_off_amid_a_write_is_no_damage(tmp_path: Path) -> None:
    """A process that ended while it wrote leaves half a transaction, which nobody was told of: it does not count."""
    left = await killed(tmp_path)
    whole = log_of(left).read_bytes()
    for less in (1, 24, 2000, 4096, 5000):
        log_of(left).write_bytes(whole[:-less])
        check_log(left.database)
    assert await intents(left) >= JOBS - 2


async def test_a_log_of_another_database_is_not_believed(tmp_path: Path) -> None:
    """A log of somebody else beside the database: refused, or without effect; never mixed in."""
    left = await killed(tmp_path)
    async with SqliteStore(left, T0):
        pass
    stranger = tmp_path / "stranger.db"
    with closing(sqlite3.connect(stranger, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE notes (text)")
        for number in range(9):
            connection.execute("INSERT INTO notes VALUES (?)", (number,))
        log_of(left).write_bytes(stranger.with_name("stranger.db-wal").read_bytes())
    with pytest.raises(StoreError, match=r"runner\.db"):
        await intents(left)


@pytest.mark.parametrize("content", [b"notes", b"my notes\n" * 1000, bytes(9000)])
async def test_a_file_that_is_no_log_is_not_taken_for_one(tmp_path: Path, content: bytes) -> None:
    """Something else under the log's name: a few bytes don't matter, more of them are refused and kept."""
    left = await killed(tmp_path)
    async with SqliteStore(left, T0):
        pass
    log_of(left).write_bytes(content)
    if len(content) > 32:
        with pytest.raises(StoreError, match=r"runner\.db-wal is damaged"):
            await intents(left)
        assert log_of(left).read_bytes() == content
    else:
        assert await intents(left) == JOBS


async def test_without_shared_memory_nothing_begins(folder: StateFolder) -> None:
    """A file system on which the log's index can't be made is refused at the start, and told what to do."""
    folder.root.mkdir()
    folder.database.with_name("runner.db-shm").mkdir()
    with pytest.raises(StoreError, match="local disk"):
        async with SqliteStore(folder, T0):
            pass


async def test_a_file_system_without_a_log_is_refused(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQLite answers that it keeps no write-ahead log, nothing begins: a lock like that of NFS proves nothing."""
    uri = f"{folder.database.absolute().as_uri()}?vfs=unix-dotfile"  # a layer of SQLite's without shared memory
    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda _path, **more: connect(uri, uri=True, **more))
    with pytest.raises(StoreError, match="can't keep a write-ahead log here"):
        async with SqliteStore(folder, T0):
            pass


async def test_the_log_stays_small(store: SqliteStore, folder: StateFolder) -> None:
    """However many transitions a run writes, the log is bounded and the database grows only with what it keeps."""
    await grow(store, folder, 20_000, largest=8_000_000)


@pytest.mark.soak
async def test_a_million_events(store: SqliteStore, folder: StateFolder) -> None:
    """A million events: a database under 500 MB, a log under 64 MB."""
    await grow(store, folder, 1_000_000, largest=64_000_000)
    size = folder.database.stat().st_size
    print(f"{size / 1e6:.0f} MB")
    assert size < 500_000_000


async def grow(store: SqliteStore, folder: StateFolder, events: int, largest: int) -> None:
    """Write so many events of one job after the other, as a run does."""
    batch, _ = await store.add(BATCH, [[make_spec(0)]], T0)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    intent = Intended(1, "ref", "digest", "winfull", T0 + 30)
    await store.intend(claim.job, intent, 1, T0)
    job = advanced(claim.job, State.SUBMITTING, intent, T0, T0)
    await store.record(job, accepted := Accepted(Remote("r1", {"status": "/s"})), T0, T0)
    job = advanced(job, State.RUNNING, accepted, T0, T0)
    seen = 0
    for first in range(0, events, 100):
        notes = [Progressed("queued", note=f"place {first + more}") for more in range(100)]
        await asyncio.gather(*(store.record(job, note, T0 + first, T0) for note in notes))
        seen = max(seen, log_of(folder).stat().st_size)
    assert 0 < seen < largest
    assert folder.database.stat().st_size < 1_000_000 + 500 * events
