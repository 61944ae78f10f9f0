"""What is drawn and said while a run works, from values."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from runner.budget import Money
from runner.causes import Cause
from runner.cli.live import drawn
from runner.cli.progress import LaneView, Pace, Progress
from runner.cli.words import columns, count, duration, plain, prose, stopwatch
from runner.job import State

COUNTS = {State.QUEUED: 150, State.RUNNING: 16, State.DONE: 231, State.FAILED: 3}
BUSY = Progress(
    lanes=(
        LaneView("quickrouter", COUNTS, "16 in flight of 20, limit 30/1m, next in 00:02"),
        LaneView("fal", {State.QUEUED: 4}, "held: bad_key", Cause.BAD_KEY, "no such key"),
    ),
    spent=(Money(18_400_000, "USD"),),
    budget=Money(50_000_000, "USD"),
    eta=130.0,
    counts=COUNTS,
)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits(width: int) -> None:
    """At 80 and 120 columns no line is too long, and counts, money, time and limits are all to be read."""
    console = Console(file=io.StringIO(), width=width)
    console.print(drawn(BUSY, {State.QUEUED, State.RUNNING, State.DONE, State.FAILED}))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for fact in (
        "done 231/400 · failed 3 · spent 18.40 of 50.00 USD · ETA 02:10",
        "next in 00:02",
        "held: bad_key",
    ):
        assert fact in text


def test_an_estimate_follows_the_pace() -> None:
    """Before anything has finished there is no estimate; then it is what is left at the pace seen."""
    pace = Pace()
    assert pace.left(0.0, 0, 100) is None
    assert pace.left(60.0, 0, 100) is None
    assert pace.left(120.0, 20, 80) == pytest.approx(480.0)
    assert pace.left(600.0, 100, 0) is None


def test_numbers_are_for_people() -> None:
    """Durations, stopwatches and counts read well."""
    assert [duration(each) for each in (45, 130, 22_320, 180_000)] == [
        "45 s", "2 min 10 s", "6 h 12 min", "2 d 2 h"
    ]  # fmt: skip
    assert [stopwatch(each) for each in (9.6, 130, 3730)] == ["00:10", "02:10", "1:02:10"]
    assert (count(1, "job"), count(2000, "job"), count(2, "batch", "batches")) == (
        "1 job", "2,000 jobs", "2 batches"
    )  # fmt: skip


def test_a_strangers_text_steers_nothing() -> None:
    """Escape sequences and direction marks become blanks; columns are cut, prose is wrapped."""
    assert plain("a\x1b[31mred\u202e\nb") == "a [31mred\nb"
    assert columns([("ab", "c"), ("d", "e" * 30)], 12) == ["ab  c", "d   eeeeeee…"]
    assert all(len(line) <= 40 for line in prose("word " * 40, 8, 40))
    assert prose("word " * 40, 2, None) == ["  " + "word " * 40]
