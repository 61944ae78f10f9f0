"""Durations, rates, and permits against servers that count in their own way."""

from __future__ import annotations

import heapq
import math
import time
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.limits import Limits, Permits, Rate, parse_duration

QUICK = settings(max_examples=120, deadline=None, derandomize=True, database=None)
T0 = 1_800_000_000.0
TICK = 1 / 1024  # all times are multiples of it, so that sums of floats are exact


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0), ("15m", 900.0), ("2h", 7200.0), ("1h30m", 5400.0), ("1h 30m", 5400.0), ("1d", 86_400.0),
        ("250ms", 0.25), ("1.5h", 5400.0), ("0s", 0.0), (90, 90.0), (0.5, 0.5),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str | float, seconds: float) -> None:
    """Numbers with units, several of them in a row; a plain number is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "90", "1h30", "-5s", "5 parsecs", "1..5h", "1h,30m", "1e3s", "s90", "\u0665s", True,
             "9" * 400 + "h", -1, -0.5, math.nan, math.inf],
    ids=lambda text: str(text)[:20],
)  # fmt: skip
def test_what_is_not_a_duration_is_refused(text: str | float) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match=r"is not a duration\. Write 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["1" * 200_000, "1." * 100_000, "1h" * 100_000 + "!", " " * 200_000],
    ids=lambda text: text[:5],
)  # fmt: skip
def test_a_hostile_duration_is_refused_at_once(text: str) -> None:
    """However long a stranger's text is, refusing it takes no time to speak of."""
    begin = time.process_time()
    with pytest.raises(ValueError, match="is not a duration") as refusal:
        parse_duration(text)
    assert time.process_time() - begin < 1.0
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("text", "rate", "shown"),
    [
        ("30/1m", Rate(30, 60.0), "30/1m"),
        ("10/1s", Rate(10, 1.0), "10/1s"),
        ("600/h", Rate(600, 3600.0), "600/1h"),
        (" 5 / 2 s ", Rate(5, 2.0), "5/2s"),
        ("1/100ms", Rate(1, 0.1), "1/100ms"),
        ("3/0.5s", Rate(3, 0.5), "3/500ms"),
        ("3/.5s", Rate(3, 0.5), "3/500ms"),
        ("100/1d", Rate(100, 86_400.0), "100/1d"),
        ("1/90s", Rate(1, 90.0), "1/90s"),
        ("1/120s", Rate(1, 120.0), "1/2m"),
    ],
)
def test_a_rate_is_read_and_shown(text: str, rate: Rate, shown: str) -> None:
    """A count and a window; shown in a way that can be read again."""
    assert Rate.parse(text) == rate
    assert str(rate) == shown
    assert Rate.parse(shown) == rate


@pytest.mark.parametrize(
    "text",
    [
        "", "30", "30/", "/1m", "0/1m", "-1/1m", "30/0s", "30/1", "30/1y", "1.5/1m", "30/./s", "1/.s", "30/1..5s",
        "30/1m/2", "1/" + "9" * 400 + "d", "9" * 5_000 + "/1m", "\u0663/1m",
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_not_a_rate_is_refused(text: str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="Write a count and a window: 30/1m"):
        Rate.parse(text)


def test_two_limits_at_once_are_the_stricter_of_each() -> None:
    """A manifest can only tighten what the providers file says."""
    one = Limits(Rate(30, 60.0), in_flight=20, requests=None, posts=8)
    two = Limits(Rate(60, 60.0), in_flight=None, requests=Rate(10, 1.0), posts=2)
    both = Limits(Rate(30, 60.0), in_flight=20, requests=Rate(10, 1.0), posts=2)
    assert one.tightened(two) == two.tightened(one) == both
    assert one.tightened(Limits()) == one


def server_refuses(arrivals: list[float], count: int, window: float) -> bool:
    """Whether a server that keeps a sliding log, or counts in fixed windows at any offset, refuses one of these."""
    ordered = sorted(arrivals)
    # More than `count` in any half-open window: what a sliding log refuses, and some offset of fixed windows too.
    return any(
        later - earlier < window for earlier, later in zip(ordered, ordered[count:], strict=False)
    )


DELAYS = st.lists(
    st.tuples(st.integers(0, 6_000), st.integers(0, 6_000)), min_size=1, max_size=40
)  # there and back again, in ticks: from nothing to several windows
RATES = st.builds(Rate, st.integers(1, 5), st.sampled_from([0.5, 1.0, 2.0]))


def drive(
    permits: Permits,
    delays: list[tuple[int, int]],
    start: float,
    answers: list[tuple[float, float]],
) -> tuple[list[float], list[float]]:
    """Send as soon as permitted, with these delays; returns when each request left and when it reached the server.

    `answers` fills with (when the answer is here, when the request left).
    """
    now, sent, arrived, out = start, list[float](), list[float](), list[float]()
    for there, back in delays:
        while (wait := permits.wait(now)) > 0:
            soonest = out[0] if out else math.inf
            assert min(wait, soonest) < math.inf, "nothing can ever move again"
            now = min(now + wait, soonest) if wait < math.inf else soonest
            while out and out[0] <= now:
                heapq.heappop(out)
                permits.give_back(now)
        permits.take(now)
        sent.append(now)
        arrived.append(now + there * TICK)
        heapq.heappush(out, now + (there + back) * TICK)
        answers.append((now + (there + back) * TICK, now))
    return sent, arrived


@QUICK
@given(RATES, DELAYS)
def test_no_server_ever_sees_more_than_the_rate(rate: Rate, delays: list[tuple[int, int]]) -> None:
    """Whatever the network does to each request, no window at the server holds more than the rate allows."""
    _, arrived = drive(Permits(rate), delays, T0, [])
    assert not server_refuses(arrived, rate.count, rate.window)


@QUICK
@given(RATES, DELAYS)
def test_requests_keep_their_distance(rate: Rate, delays: list[tuple[int, int]]) -> None:
    """Two sends are never closer than the window's share, which is what token buckets count."""
    sent, _ = drive(Permits(rate), delays, T0, [])
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert all(gap >= rate.window / rate.count - TICK for gap in gaps)


@QUICK
@given(RATES, DELAYS, DELAYS, st.integers(0, 4_000))
@example(
    Rate(2, 0.5), [(1_000, 0), (744, 0)], [(0, 0)], 744
)  # two arrive at once, and the process ends
def test_the_rate_holds_across_a_restart(
    rate: Rate, before: list[tuple[int, int]], after: list[tuple[int, int]], pause: int
) -> None:
    """A new process that holds the permits of the old one's rows sends no more than the old one would have.

    The rows say when each answer came; a request whose answer never came was on its way until the process ended.
    """
    answers: list[tuple[float, float]] = []
    sent, arrived = drive(Permits(rate), before, T0, answers)
    killed = max(sent) + pause * TICK
    permits = Permits(rate)
    for answered, _ in answers:
        permits.hold(min(answered, killed))
    arrived = [
        min(at, killed) for at in arrived
    ]  # what had not left this machine when it died never arrives
    _, more = drive(permits, after, killed, [])
    assert not server_refuses(arrived + more, rate.count, rate.window)


def test_a_rate_is_used_whole() -> None:
    """With answers at once, a full window is used but for the pace: the limit costs nothing that it need not."""
    sent, _ = drive(Permits(Rate(5, 1.0)), [(0, 0)] * 51, T0, [])
    assert sent[-1] - sent[0] <= 10.5


def test_without_an_answer_there_is_no_next() -> None:
    """When every permit is out, an answer has to come first."""
    permits = Permits(Rate(1, 60.0))
    permits.take(T0)
    assert permits.wait(T0 + 3600) == math.inf
    permits.give_back(T0 + 3600)
    assert permits.wait(T0 + 3600) == 60.0
    assert permits.wait(T0 + 3660) == 0.0


@pytest.mark.parametrize("back", [1.0, 59.0, 61.0, 3_600.0, 86_400.0])
def test_a_clock_that_is_set_back_stops_nothing(back: float) -> None:
    """However far the clock is set back, the next request may leave within two windows of the new time."""
    permits = Permits(Rate(2, 60.0))
    for at in (T0, T0 + 30):
        permits.take(at)
        permits.give_back(at)
    now = T0 + 30 - back
    ends = now + 120.0
    while (wait := permits.wait(now)) > 0:
        assert wait <= 60.0
        now += wait
        assert now <= ends
