"""Durations, rates, permits against servers that count in their own way, and ceilings that have to be found."""

from __future__ import annotations

import heapq
import math
import time
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.limits import (
    LONGEST_PROBE,
    PRICE,
    RAMP,
    SHORTEST_PROBE,
    Ceiling,
    Limits,
    Permits,
    Rate,
    parse_duration,
)

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


@dataclass
class Crowd:
    """A provider that takes `most` jobs at a time, and a buyer who keeps as many there as the ceiling allows."""

    most: int
    ceiling: Ceiling = field(default_factory=Ceiling)
    running: int = 0
    taken: int = 0
    refused: int = 0

    def fill(self, now: float) -> None:
        """Submits, each answered at once, until one has to wait."""
        while self.ceiling.wait(self.running, now) <= 0:
            self.submit(now)
            assert self.refused <= self.taken + 20, "asked again and again"

    def submit(self, now: float) -> None:
        """One submit and its answer."""
        self.ceiling.sending()
        if self.running < self.most:
            self.running += 1
            self.taken += 1
            self.ceiling.accepted(self.running)
        else:
            self.refused += 1
            self.ceiling.refused(self.running, 0.0, now)

    def turn(self, now: float, times: int = 1) -> None:
        """So many jobs end, one after the other, and others take their places."""
        for _ in range(times):
            self.running -= 1
            self.fill(now)


def test_without_a_refusal_there_is_no_ceiling() -> None:
    """Nothing waits for a provider that never refused."""
    ceiling = Ceiling()
    ceiling.accepted(10_000)
    assert (ceiling.number, ceiling.wait(10_000, T0)) == (None, 0.0)


def test_the_first_refusal_sets_the_ceiling() -> None:
    """What the provider has is what it takes: no more go, and one that has ended makes room."""
    crowd = Crowd(20)
    crowd.fill(T0)
    assert (crowd.ceiling.number, crowd.taken, crowd.refused) == (20, 20, 1)
    assert crowd.ceiling.wait(20, T0) == LONGEST_PROBE
    assert crowd.ceiling.wait(19, T0) == 0.0


def test_many_refusals_at_once_are_one() -> None:
    """Submits that were all in the air lower the ceiling to what was taken, and the next probe costs no more for it."""
    ceiling = Ceiling()
    for _ in range(28):
        ceiling.sending()
    for taken in range(1, 21):
        ceiling.accepted(taken)
    for left in range(27, 19, -1):
        ceiling.refused(left, 0.0, T0)
    assert ceiling.number == 20
    for _ in range(PRICE):
        ceiling.accepted(20)
    assert ceiling.wait(20, T0 + SHORTEST_PROBE) == 0.0


def test_what_is_still_in_the_air_may_yet_be_taken() -> None:
    """A refusal that overtakes the answers to other submits does not make them strangers."""
    ceiling = Ceiling()
    for _ in range(6):
        ceiling.sending()
    ceiling.refused(5, 0.0, T0)
    for taken in range(1, 6):
        ceiling.accepted(taken)
    assert (ceiling.number, ceiling.wait(5, T0)) == (5, LONGEST_PROBE)


def test_a_probe_is_paid_for_by_jobs_that_were_taken() -> None:
    """After enough of them it goes, but not at once; without them it goes in the end."""
    crowd = Crowd(20)
    crowd.fill(T0)
    crowd.turn(T0, PRICE - 1)
    assert crowd.ceiling.wait(20, T0) == LONGEST_PROBE
    crowd.turn(T0)
    assert crowd.ceiling.wait(20, T0) == SHORTEST_PROBE
    crowd.fill(T0 + SHORTEST_PROBE)
    assert crowd.refused == 2
    assert crowd.ceiling.wait(20, T0 + SHORTEST_PROBE) == LONGEST_PROBE


@QUICK
@given(st.integers(1, 1_000), st.floats(0.05, 300.0))
def test_a_provider_that_does_not_change_is_rarely_asked(most: int, pace: float) -> None:
    """One refusal at the start; then one for each PRICE jobs at most, or six an hour where that is more."""
    crowd, now = Crowd(most), T0
    crowd.fill(now)
    for _ in range(400):
        now += pace
        crowd.turn(now)
    assert crowd.ceiling.number == crowd.running == most
    assert crowd.refused <= 1 + crowd.taken / PRICE + (now - T0) / LONGEST_PROBE


@QUICK
@given(st.integers(1, 500), st.integers(1, 500))
def test_a_provider_that_grows_is_followed_at_once(most: int, more: int) -> None:
    """A probe that is taken brings others until one is refused, all in the same moment."""
    crowd = Crowd(most)
    crowd.fill(T0)
    crowd.most += more
    crowd.fill(T0 + LONGEST_PROBE)
    assert crowd.ceiling.number == crowd.running == most + more
    assert crowd.refused == 2


def test_the_more_probes_are_taken_the_more_are_in_the_air() -> None:
    """The first goes alone; each few that were taken let another go beside it; a refusal ends it."""
    ceiling = Ceiling(number=20)
    for risen in range(5 * RAMP):
        beside = risen // RAMP
        assert ceiling.wait(20 + risen + beside, T0) == 0.0
        assert ceiling.wait(20 + risen + beside + 1, T0) == math.inf
        ceiling.sending()
        ceiling.accepted(20 + risen + 1)
    ceiling.refused(20 + 5 * RAMP, 0.0, T0)
    assert ceiling.wait(20 + 5 * RAMP, T0) == LONGEST_PROBE


@QUICK
@given(st.integers(1, 600), st.floats(0.01, 1.0))
@example(957, 0.5)
def test_a_provider_that_shrinks_refuses_few_and_is_not_left_idle(most: int, share: float) -> None:
    """Each refusal in a row lowers the ceiling further, by a tenth at most; what was too much is taken back at once."""
    crowd = Crowd(most)
    crowd.fill(T0)
    crowd.most = less = max(1, int(most * share))
    lowest = most
    for _ in range(2 * most):
        crowd.turn(T0 + 1)
        lowest = min(lowest, crowd.running)
    assert crowd.ceiling.number == crowd.running == less
    assert lowest >= 0.9 * less - 3
    assert crowd.refused <= 12 + 10 * math.log(most / less)


def test_one_refusal_too_many_lowers_by_no_more_than_it_says() -> None:
    """A single refusal below the ceiling is believed as it stands; a job that is taken next ends the matter."""
    crowd = Crowd(20)
    crowd.fill(T0)
    crowd.most = 19
    crowd.turn(T0)
    assert crowd.ceiling.number == 19
    crowd.turn(T0, 50)
    assert (crowd.ceiling.number, crowd.running, crowd.refused) == (19, 19, 2)


def test_old_answers_do_not_lower_a_ceiling_twice() -> None:
    """Refusals of submits that left before the ceiling was lowered say nothing new."""
    ceiling = Ceiling(number=200)
    for _ in range(8):
        ceiling.sending()
    for left in range(199, 191, -1):
        ceiling.refused(left, 0.0, T0)
    assert ceiling.number == 192
    ceiling.sending()
    for left in range(191, 182, -1):
        ceiling.refused(left, 0.0, T0)
    assert ceiling.number == 183


@pytest.mark.parametrize(("taken", "patience", "wait"), [
    (0, 7.0, LONGEST_PROBE), (0, 3_600.0, 3_600.0), (PRICE, 7.0, SHORTEST_PROBE), (PRICE, 60.0, 60.0),
])  # fmt: skip
def test_a_probe_waits_for_what_the_provider_says(taken: int, patience: float, wait: float) -> None:
    """The provider's own word puts a probe off, and never brings it forward."""
    ceiling = Ceiling()
    ceiling.refused(2, patience, T0)
    for _ in range(taken):
        ceiling.accepted(2)
    assert ceiling.wait(2, T0) == wait


def test_a_ceiling_leaves_room_for_one_job() -> None:
    """However often a provider refuses, the next job may be tried when all others have ended."""
    ceiling = Ceiling(number=9)
    for left in range(8, 0, -1):
        ceiling.sending()
        ceiling.refused(left, 0.0, T0)
        assert ceiling.wait(0, T0) == 0.0


def test_a_ceiling_from_an_earlier_run_is_tried_soon() -> None:
    """It may be out of date; a clock that is set back puts it off no further."""
    ceiling = Ceiling()
    ceiling.remember(3, T0)
    assert ceiling.wait(3, T0) == SHORTEST_PROBE
    ceiling.set_back(3_600.0)
    assert ceiling.wait(3, T0 - 3_600.0) == SHORTEST_PROBE
    assert ceiling.wait(7, T0 - 3_600.0 + SHORTEST_PROBE) == math.inf
