"""Hit while it recovers from being hit, up to five times in a row."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.crash.arena import PROFILES, Arena, Profile
from tests.crash.test_matrix import DOUBTFUL
from tests.crash.traps import Place, Way

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs os.fork and SIGKILL")

IN_A_ROW = 5


async def stumble(arena: Arena, run: tuple[Profile, int]) -> None:
    """A cell that is hit up to five times, wherever and however, and then left to end."""
    profile, seed = run
    dice = random.Random(f"{profile.name} {seed}")
    cell = arena.cell(f"{profile.name} stumbles {seed}", profile, jobs=dice.randint(1, 3))
    places = [dice.choice(list(Place)) for _ in range(dice.randint(2, IN_A_ROW))]
    for place in places:
        await arena.live(cell, place=place, way=dice.choice(list(Way)))
    code = await arena.live(cell)
    states = set(arena.check(cell).values())
    # What ends the run may leave the submit of another job without its answer.
    alone = cell.jobs == 1
    if profile.looks_up or (alone and DOUBTFUL.isdisjoint(places)):
        assert states == {"done"}, (cell.name, places, cell.log)
    assert code == (4 if "in_doubt" in states else 0), (cell.name, places, code, cell.log)


async def kill_in_a_row(arena: Arena, run: tuple[Profile, Place]) -> None:
    """A cell that is killed after its submit, then five times at one place of the recovery, then left to end."""
    profile, place = run
    cell = arena.cell(f"{profile.name} again {place}", profile)
    first = Place.BODY_SENT if profile.looks_up else Place.ID_RECORDED
    assert await arena.live(cell, place=first) == -signal.SIGKILL
    ends = [await arena.live(cell, place=place) for _ in range(IN_A_ROW)]
    assert -signal.SIGKILL in ends, (cell.name, ends)
    assert await arena.live(cell) == 0, (cell.name, cell.log)
    assert set(arena.check(cell).values()) == {"done"}
    assert len(arena.tasks(cell)) == 1


async def test_stumbling_runs(tmp_path: Path) -> None:
    """Hit at two to five random places in a row: bought at most once, and the last life finds what is left."""
    runs = [(profile, seed) for seed in range(2) for profile in PROFILES]
    async with Arena.opened(tmp_path) as arena:
        await arena.each(lambda run: stumble(arena, run), runs)


async def test_killed_five_times_in_a_row(tmp_path: Path) -> None:
    """Killed five times at the same place of the recovery, the sixth ends it: one task, one clip."""
    fal, kling = PROFILES[4], PROFILES[-1]
    end = [Place.TAKEN_OVER, Place.END_SEEN, Place.MID_DOWNLOAD, Place.SYNCED, Place.SAVED]
    runs = [(fal, place) for place in end] + [(kling, place) for place in (*end, Place.LOOKED_UP)]
    async with Arena.opened(tmp_path) as arena:
        await arena.each(lambda run: kill_in_a_row(arena, run), runs)


@pytest.mark.soak
async def test_stumbling_runs_at_length(tmp_path: Path) -> None:
    """The same with sixty seeds for each provider."""
    runs = [(profile, seed) for seed in range(100, 160) for profile in PROFILES]
    async with Arena.opened(tmp_path) as arena:
        await arena.each(lambda run: stumble(arena, run), runs)
        print(f"{len(runs)} runs, {len(arena.sim.ledger)} bought")
