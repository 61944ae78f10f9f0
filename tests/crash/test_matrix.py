"""kill -9, an exception and a cancellation at every boundary, at every provider."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.crash.arena import PROFILES, Arena, Profile
from tests.crash.life import BLOWN, CANCELLED
from tests.crash.traps import BOUNDARIES, Place, Way

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs os.fork and SIGKILL")

# Between the durable intent and the durable receipt nobody here can tell what the provider did.
DOUBTFUL = frozenset({Place.AFTER_INTENT, Place.HEADERS_SENT, Place.BODY_SENT, Place.ANSWERED})
ENDED_BY = {
    Way.KILL: {-signal.SIGKILL},
    Way.EXCEPTION: {BLOWN, 0, 4},  # an unreadable answer is doubt, and not the end of the run
    Way.CANCEL: {CANCELLED},
    Way.STOP: {0, 4},
}


async def hit_once(arena: Arena, cell: tuple[Profile, Place, Way]) -> None:
    """One cell: a life that is hit, a life to the end, and the ledger."""
    profile, place, way = cell
    here = arena.cell(f"{profile.name} {place} {way}", profile)
    first = await arena.live(here, place=place, way=way)
    assert first in ENDED_BY[way], (here.name, first, here.log)
    second = await arena.live(here)
    states = arena.check(here)
    doubt = place in DOUBTFUL and not profile.looks_up
    assert set(states.values()) == {"in_doubt" if doubt else "done"}, (here.name, states, here.log)
    assert second == (4 if doubt else 0), (here.name, second, here.log)
    for task in arena.tasks(here):
        assert task.downloads <= 2


@pytest.mark.parametrize("way", [Way.KILL, Way.EXCEPTION, Way.CANCEL])
async def test_hit_at_every_boundary(tmp_path: Path, way: Way) -> None:
    """Whatever hits a run wherever: bought at most once, what was bought is fetched, in doubt only without look-up."""
    cells = [(profile, place, way) for profile in PROFILES for place in BOUNDARIES]
    async with Arena.opened(tmp_path) as arena:
        await arena.each(lambda cell: hit_once(arena, cell), cells)
        assert len(arena.sim.ledger) <= len(cells)


async def test_stopped_at_once_at_every_boundary(tmp_path: Path) -> None:
    """The same for two Ctrl-C in a row, at a provider with look-up and one without."""
    cells = [(p, place, Way.STOP) for p in (PROFILES[0], PROFILES[-1]) for place in BOUNDARIES]
    async with Arena.opened(tmp_path) as arena:
        await arena.each(lambda cell: hit_once(arena, cell), cells)


async def test_a_careless_runner_is_caught(tmp_path: Path) -> None:
    """A runner that sends again what it finds in the air is seen to buy twice: the ledger is no formality."""
    async with Arena.opened(tmp_path, servers=1) as arena:
        cell = arena.cell("careless", PROFILES[0])
        await arena.live(cell, place=Place.ANSWERED)
        await arena.live(cell, sabotage=True)
        await arena.live(cell)
        with pytest.raises(AssertionError, match="bought twice"):
            arena.check(cell)
