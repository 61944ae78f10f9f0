"""Killed at each SQL statement and each change to a file; cancelled at each step of each task."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from runner.app import App
from runner.engine import Options
from runner.errors import UsageError
from tests.crash.arena import PROFILES, Arena, Cell, Profile
from tests.crash.life import CANCELLED, SharedClock, settings_of
from tests.crash.traps import Place

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs os.fork and SIGKILL")

FAL, KLING = PROFILES[4], PROFILES[-1]


async def end_well(arena: Arena, cell: Cell, profile: Profile) -> None:
    """A last life, and the ledger."""
    code = await arena.live(cell)
    states = set(arena.check(cell).values())
    assert states == {"done"} or not profile.looks_up, (cell.name, states, cell.log)
    assert code == (4 if "in_doubt" in states else 0), (cell.name, code, states, cell.log)


async def kill_at(arena: Arena, run: tuple[Profile, int]) -> bool:
    """Kill at the n-th operation; False where a life has fewer."""
    profile, operation = run
    cell = arena.cell(f"{profile.name} operation {operation}", profile)
    killed = await arena.live(cell, operation=operation) == -signal.SIGKILL
    await end_well(arena, cell, profile)
    return killed


async def cancel_at(arena: Arena, run: tuple[Profile, int]) -> bool:
    """Cancel at the n-th step; False where a life has fewer."""
    profile, step = run
    cell = arena.cell(f"{profile.name} step {step}", profile)
    cancelled = await arena.live(cell, step=step) == CANCELLED
    await end_well(arena, cell, profile)
    return cancelled


async def operations(arena: Arena, profiles: Iterable[Profile], stride: int) -> int:
    """Kill at every `stride`-th operation of each; says how many lives were ended."""
    ended = 0

    async def work(run: tuple[Profile, int]) -> None:
        nonlocal ended
        ended += await kill_at(arena, run)

    await arena.each(work, [(p, n) for p in profiles for n in range(1, 150, stride)])
    return ended


async def test_killed_at_operations(tmp_path: Path) -> None:
    """Killed between any two SQL statements or file calls: the rows alone are enough to go on."""
    async with Arena.opened(tmp_path) as arena:
        assert await operations(arena, [FAL], 11) >= 6
        assert await operations(arena, [KLING], 13) >= 5


@pytest.mark.soak
async def test_killed_at_every_operation(tmp_path: Path) -> None:
    """The same at every single one, at every provider."""
    async with Arena.opened(tmp_path) as arena:
        print("killed", await operations(arena, PROFILES, 1))


async def steps(arena: Arena, profiles: Iterable[Profile], stride: int) -> int:
    """Cancel at every `stride`-th step of each; says how many lives were ended."""
    ended = 0

    async def work(run: tuple[Profile, int]) -> None:
        nonlocal ended
        ended += await cancel_at(arena, run)

    await arena.each(work, [(p, n) for p in profiles for n in range(2, 160, stride)])
    return ended


async def test_cancelled_at_steps(tmp_path: Path) -> None:
    """Cancelled at any await: no open transaction, no file that nobody knows, no second purchase."""
    async with Arena.opened(tmp_path) as arena:
        assert await steps(arena, [FAL, KLING], 9) >= 8


@pytest.mark.soak
async def test_cancelled_at_every_step(tmp_path: Path) -> None:
    """The same at every single one, at every provider."""
    async with Arena.opened(tmp_path) as arena:
        print("cancelled", await steps(arena, PROFILES, 1))


async def upgrade(arena: Arena, operation: int) -> bool:
    """A job in the air, then a newer release that is killed while it brings the database up to date."""
    cell = arena.cell(f"upgrade {operation}", FAL)
    assert await arena.live(cell, place=Place.ID_RECORDED) == -signal.SIGKILL
    killed = await arena.live(cell, upgrade=True, operation=operation) == -signal.SIGKILL
    assert cell.query("SELECT count(*) FROM attempt") == [(1,)]
    version = cell.query("PRAGMA user_version")[0][0]
    columns = {row[1] for row in cell.query("PRAGMA table_info(job)")}
    assert ("note" in columns) is (version == newest() + 1), "half a migration"
    assert await arena.live(cell, upgrade=True) == 0, cell.log
    assert set(arena.check(cell).values()) == {"done"}
    assert cell.query("SELECT text FROM remark") == [("running",)]
    copies = list((cell.folder / "state").glob("runner.before-*.db"))
    assert [copy.stat().st_mode & 0o777 for copy in copies] == [0o600]
    return killed


def newest() -> int:
    """The schema of this release."""
    from runner.store.migrate import migrations

    return migrations()[-1][0]


async def test_killed_during_a_migration(tmp_path: Path) -> None:
    """Killed at each statement of a migration, the database is of the old schema or the new, with all that it held."""
    async with Arena.opened(tmp_path) as arena:
        killed = []

        async def work(operation: int) -> None:
            killed.append(await upgrade(arena, operation))

        await arena.each(work, range(1, 29))
        assert sum(killed) == 28


async def test_an_older_release_refuses_the_newer_database(tmp_path: Path) -> None:
    """After the upgrade this release says that it is too old, and changes nothing."""
    async with Arena.opened(tmp_path, servers=1) as arena:
        cell = arena.cell("downgrade", FAL)
        assert await arena.live(cell, upgrade=True) == 0, cell.log
        before = cell.query("SELECT * FROM job")
        assert await arena.live(cell) == 97
        assert "newer release" in cell.log
        assert cell.query("SELECT * FROM job") == before


async def store(arena: Arena, operation: int) -> str:
    """Kill while seven jobs are stored two at a time; says what was left."""
    cell = arena.cell(f"add {operation}", FAL, jobs=7)
    await arena.live(cell, slice=2, operation=operation)
    rows = cell.query("SELECT count(*) FROM sqlite_master WHERE name = 'batch'")
    digests = cell.query("SELECT digest FROM batch") if rows[0][0] else []
    torn = digests == [("",)] and cell.query("SELECT count(*) FROM job") != [(0,)]
    if torn:
        settings = settings_of(cell.folder, arena.root / "sim" / "providers.yaml")
        with pytest.raises(UsageError, match="not stored whole"):
            await App(settings, SharedClock(arena.begin)).resume(Options())
        assert arena.tasks(cell) == []
    code = await arena.live(cell, slice=2)
    states = arena.check(cell)
    assert len(states) == 7
    assert code == (4 if "in_doubt" in states.values() else 0), cell.log
    return "torn" if torn else "whole" if digests else "nothing"


async def test_killed_while_a_manifest_is_stored(tmp_path: Path) -> None:
    """Killed at any statement of storing a manifest: half a batch is never run, the next run stores the rest."""
    async with Arena.opened(tmp_path) as arena:
        left = []

        async def work(operation: int) -> None:
            left.append(await store(arena, operation))

        await arena.each(work, range(24, 74, 2))
        assert left.count("torn") >= 8
        assert "nothing" in left
        assert "whole" in left
