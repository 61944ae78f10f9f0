"""A machine whose clock is wrong, and tokens that are signed with its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.events import Accepted, Event
from runner.simulator.settings import Latency
from tests.engine.virtual import HOUR, LongNight

KLING_MODEL = "v1/videos/text2video"
DAY = 24 * HOUR
OFF = pytest.mark.parametrize("off", [DAY, -DAY])


@OFF
def test_a_clock_that_is_wrong_from_the_start(tmp_path: Path, off: float) -> None:
    """A day ahead or behind, Kling refuses our first tokens and says what time it is: that is enough for the rest."""
    night = LongNight(tmp_path, "kling", KLING_MODEL, 10)
    night.set_clock(off)
    assert night.live().held == {}
    assert night.states == {"done": 10}
    assert len(night.world.ledger) == 10
    assert 1 <= night.statuses[401] <= 2


@OFF
def test_a_clock_that_is_set_within_a_run(tmp_path: Path, off: float) -> None:
    """Set by a day while jobs are bought and polled, and set right later: nobody is held, nothing is bought twice."""
    night = LongNight(tmp_path, "kling", KLING_MODEL, 30, in_flight=5)
    taken = 0

    def jump(event: Event) -> bool:
        nonlocal taken
        if isinstance(event, Accepted):
            taken += 1
            night.set_clock({8: off, 20: -off}.get(taken, 0.0))
        return False

    night.stop_after = jump
    assert night.live().held == {}
    assert taken == len(night.world.ledger) == 30
    assert night.states == {"done": 30}


def test_twelve_hours_on_minted_tokens(tmp_path: Path) -> None:
    """A token lives for half an hour; in a run of twelve hours none is ever refused."""
    hours = Latency("uniform", HOUR, 14 * HOUR)
    night = LongNight(tmp_path, "kling", KLING_MODEL, 20, run=hours)
    night.live()
    assert night.now > 12 * HOUR
    assert night.states == {"done": 20}
    assert night.statuses[401] == 0
