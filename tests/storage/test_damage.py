"""Databases that are damaged, cut short, of a newer release, or somebody else's: refused in words, never begun anew."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from runner.errors import RunnerError, StoreError
from runner.events import Accepted, Artifact, Finished, Intended, Remote, Saved, SavedFile
from runner.job import advanced
from runner.keys import Keys
from runner.looking import look_at
from runner.settings import Settings
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.migrate import migrations
from tests.conftest import T0, make_spec

JOBS = 40


async def filled(root: Path) -> StateFolder:
    """A small database with jobs in several states, closed cleanly."""
    folder = StateFolder(root)
    async with SqliteStore(folder, T0) as store:
        batch, _ = await store.add(
            Batch("film", "film.yaml", "d", "fal"), [[make_spec(n) for n in range(JOBS)]], T0
        )
        run = await store.begin_run(T0)
        for number, claim in enumerate(await store.claim_queued(batch.number, T0, JOBS)):
            job = claim.job
            if number % 4:
                intended = Intended(
                    1, f"{job.spec.key}-1", "digest", "fal", T0 + 30, 350_000, "USD"
                )
                await store.intend(job, intended, run, T0)
                state = await store.record(
                    job := advanced(job, job.state.SUBMITTING, intended, T0, T0),
                    accepted := Accepted(Remote(f"remote-{number}", {"status": f"/r/{number}"})), T0, T0,
                )  # fmt: skip
                assert state is not None
                job = advanced(job, state, accepted, T0, T0)
            if number % 4 > 1:
                finished = Finished((Artifact(f"https://media.example/{number}.mp4"),), 3600.0)
                state = await store.record(job, finished, T0, T0)
                assert state is not None
                job = advanced(job, state, finished, T0, T0)
            if number % 4 > 2:
                file = SavedFile(f"film/{number}.mp4", "ab" * 32, 1000, "video/mp4")
                await store.record(job, Saved((file,)), T0, None)
    return folder


async def use(root: Path) -> int:
    """Look at it as `status` does, then take everything up as a run does; says how many jobs it was of."""
    report = look_at(Settings(root, None, Keys({})))
    folder = StateFolder(root)
    async with SqliteStore(folder, T0) as store:
        batches = await store.batches()
        numbers = [batch.number for batch in batches]
        await store.counts(numbers)
        found = len(await store.claim_open(numbers, T0))
        for number in numbers:
            found += len(await store.claim_queued(number, T0 * 2, 1000))
        await store.latencies()
        for name in {batch.provider for batch in batches}:
            await store.provider_state(name)
            await store.recent_submits(name, 0.0, 0.0)
    return max(found, report.total)


async def flip(clean: StateFolder, root: Path, times: int, seed: int) -> Counter[str]:
    """Flip one byte in each of many copies; says how the copies fared."""
    dice = random.Random(seed)
    whole = clean.database.read_bytes()
    fared: Counter[str] = Counter()
    for number in range(times):
        place = dice.randrange(len(whole))
        torn = bytearray(whole)
        torn[place] ^= 1 << dice.randrange(8)
        state = root / "state"
        state.mkdir(mode=0o700)
        (state / "runner.db").write_bytes(torn)
        try:
            found = await use(state)
            fared["used"] += 1
            assert found > 0, f"byte {place}: a silent reset"
        except StoreError as error:
            fared["refused"] += 1
            if "runner.db" not in str(error):
                pytest.fail(f"byte {place}: {error}")
        except RunnerError as error:
            pytest.fail(f"byte {place} (copy {number}): {error!r}")
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            pytest.fail(f"byte {place} (copy {number}): {type(error).__name__}: {error}")
        finally:
            shutil.rmtree(state)
    return fared


async def test_flipped_bytes(tmp_path: Path) -> None:
    """Whatever byte is flipped: an error in words, or it did not matter; never a traceback, never an empty store."""
    fared = await flip(await filled(tmp_path / "clean"), tmp_path, 250, seed=1)
    assert fared["refused"] > 10


@pytest.mark.soak
async def test_ten_thousand_flipped_bytes(tmp_path: Path) -> None:
    """The same ten thousand times."""
    print(await flip(await filled(tmp_path / "clean"), tmp_path, 10_000, seed=2))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.5, 0.9, 0.999])
async def test_cut_short(tmp_path: Path, share: float) -> None:
    """A database that was cut off is refused, not begun anew: all that it knew would be bought again."""
    folder = await filled(tmp_path / "state")
    whole = folder.database.read_bytes()
    (folder.outputs / "film").mkdir()
    (folder.outputs / "film" / "3.mp4").write_bytes(b"a clip")
    kept = whole[: int(len(whole) * share)]
    folder.database.write_bytes(kept)
    with pytest.raises(StoreError, match=r"damaged|copy"):
        await use(folder.root)
    assert folder.database.read_bytes() == kept


async def test_cut_to_nothing_beside_its_log(tmp_path: Path) -> None:
    """An empty database beside a write-ahead log that holds receipts is refused: SQLite would remove the log."""
    folder = await filled(tmp_path / "state")
    log = folder.database.with_name("runner.db-wal")
    async with SqliteStore(folder, T0) as store:
        await store.begin_run(T0)
        receipts = log.read_bytes()
    folder.database.write_bytes(b"")
    log.write_bytes(receipts)
    with pytest.raises(StoreError, match="copy"):
        await use(folder.root)
    assert log.read_bytes() == receipts


async def test_gone_beside_its_log(tmp_path: Path) -> None:
    """A database that is gone while its write-ahead log is there is missed, not begun anew."""
    folder = await filled(tmp_path / "state")
    folder.database.unlink()
    log = folder.database.with_name("runner.db-wal")
    log.write_bytes(b"receipts")
    with pytest.raises(StoreError, match="copy"):
        await use(folder.root)
    assert log.read_bytes() == b"receipts"


async def test_moved_away_begins_anew(tmp_path: Path) -> None:
    """A database that was moved away, as we tell people to, is begun anew."""
    folder = await filled(tmp_path / "state")
    folder.database.rename(tmp_path / "runner.db")
    async with SqliteStore(folder, T0) as store:
        assert await store.batches() == []


async def test_newer_database(tmp_path: Path) -> None:
    """A database of a newer release is refused with both numbers, and not touched."""
    folder = await filled(tmp_path / "state")
    newest = migrations()[-1][0]
    with sqlite3.connect(folder.database) as connection:
        connection.execute(f"PRAGMA user_version = {newest + 1}")
    connection.close()
    before = folder.database.read_bytes()
    with pytest.raises(
        StoreError, match=rf"newer release \(schema {newest + 1}, this one knows {newest}"
    ):
        await use(folder.root)
    assert folder.database.read_bytes() == before


@pytest.mark.parametrize(
    "sql", ["CREATE TABLE mail (id)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"]
)
async def test_stranger_s_database(tmp_path: Path, sql: str) -> None:
    """A database of another program is refused and not touched."""
    root = tmp_path / "state"
    root.mkdir()
    with sqlite3.connect(root / "runner.db") as connection:
        connection.execute(sql)
    connection.close()
    before = (root / "runner.db").read_bytes()
    with pytest.raises(StoreError, match="another program"):
        await use(root)
    with sqlite3.connect(root / "runner.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
    assert (root / "runner.db").read_bytes() == before


async def test_no_database_at_all(tmp_path: Path) -> None:
    """A file that is no database is refused and not touched."""
    root = tmp_path / "state"
    root.mkdir()
    (root / "runner.db").write_text("my notes\n" * 100)
    with pytest.raises(StoreError, match="Restore it from a copy"):
        await use(root)
    assert (root / "runner.db").read_text() == "my notes\n" * 100
