"""`--until` in the two nights of the year in which clocks are set forward and back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from runner.cli.running import next_moment

pytestmark = pytest.mark.usefixtures("berlin")


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is Berlin's, written as a rule, so that no database of time zones is needed."""
    if not hasattr(time, "tzset"):
        pytest.skip("the time zone of a process can't be set here")
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def seconds(text: str) -> float:
    """Unix seconds of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("until", "now", "ends"),
    [
        ("07:00", "2026-03-28 22:00", "2026-03-29 05:00"),  # an hour less of night
        ("02:30", "2026-03-28 22:00", "2026-03-29 01:30"),  # no clock says so: at 03:30
        ("01:59", "2026-03-28 22:00", "2026-03-29 00:59"),
        ("03:00", "2026-03-28 22:00", "2026-03-29 01:00"),
        ("02:30", "2026-03-29 01:31", "2026-03-30 00:30"),
        ("07:00", "2026-10-24 21:00", "2026-10-25 06:00"),  # an hour more of night
        ("02:30", "2026-10-24 21:00", "2026-10-25 00:30"),  # the first of two
        ("02:30", "2026-10-25 00:30", "2026-10-25 01:30"),  # the second
        ("02:30", "2026-10-25 01:30", "2026-10-26 01:30"),
        ("02:00", "2026-10-25 00:59", "2026-10-25 01:00"),
        ("00:30", "2026-10-25 20:00", "2026-10-25 23:30"),
    ],
)
def test_the_clock_on_the_wall_counts(until: str, now: str, ends: str) -> None:
    """Where clocks are set forward or back, a run ends when the clock on the wall next says so."""
    assert next_moment(until, seconds(now)) == seconds(ends)


@pytest.mark.parametrize("begin", ["2026-03-28 00:00", "2026-10-24 00:00"])
def test_the_end_is_ahead_and_near(begin: str) -> None:
    """At any quarter of an hour around either change: the end is ahead, by a day and an hour at most."""
    for quarter in range(48 * 4):
        now = seconds(begin) + quarter * 900
        for hour in range(0, 24, 3):
            assert 0 < next_moment(f"{hour:02}:15", now) - now <= 25 * 3600
