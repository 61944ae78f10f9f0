"""How often is asked, and how late an end is noticed."""

from __future__ import annotations

import heapq
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.polling import LARGEST_GAP, MEMORY, Latencies, Law

QUICK = settings(max_examples=200, deadline=None, derandomize=True, database=None)
MEDIAN, P95 = 90.0, 240.0
SPREAD = math.log(P95 / MEDIAN) / 1.6449
LEAST = 2.0


def test_a_law_learns_what_it_sees() -> None:
    """After a few hundred jobs the law knows their median and their spread, whatever it was told first."""
    chance = random.Random(1)
    law = Law.guess(1.0)
    for _ in range(600):
        law.observe(chance.lognormvariate(math.log(MEDIAN), SPREAD))
    assert law.median == pytest.approx(MEDIAN, rel=0.15)
    assert law.spread == pytest.approx(SPREAD, rel=0.2)


def test_a_law_forgets() -> None:
    """When jobs take three times as long from now on, the law follows."""
    law = Law.guess(60.0)
    for _ in range(500):
        law.observe(60.0)
    for _ in range(500):
        law.observe(180.0)
    assert law.median == pytest.approx(180.0, rel=0.1)
    assert law.weight == MEMORY


@QUICK
@given(
    st.floats(0, 1e6),
    st.floats(0.01, 5),
    st.floats(0, 1e6),
    st.sampled_from([0.3, 1.0, 3.0]),
    st.floats(0.1, 60),
)
def test_a_gap_is_never_too_short_or_too_long(
    median: float, spread: float, waited: float, trade: float, least: float
) -> None:
    """Never below the provider's least, and never so long that a wrong law could hide a finished job."""
    law = Law(MEMORY, math.log(max(median, 0.001)), spread)
    gap = law.gap(waited, trade, least)
    first = law.gap(0.0, trade, 0.0)
    assert math.isfinite(gap)
    assert gap >= least
    if waited >= first:
        assert gap <= max(least, LARGEST_GAP * waited)
    else:
        assert gap == pytest.approx(max(least, first - waited))


@pytest.mark.parametrize("p95", [120.0, 240.0])
@pytest.mark.parametrize("trade", [0.3, 1.0, 3.0])
def test_nothing_is_asked_before_it_can_be_done(p95: float, trade: float) -> None:
    """The first question comes when a few jobs of a hundred are done: before that it would be asked in vain."""
    law = Law(MEMORY, math.log(MEDIAN), math.log(p95 / MEDIAN) / 1.6449)
    first = law.gap(0.0, trade, 0.0)
    done = 0.5 * math.erfc((law.mean - math.log(first)) / law.spread / math.sqrt(2.0))
    assert 0.02 <= done <= 0.15


def test_a_frugal_poller_asks_less() -> None:
    """The more seconds of delay a poll is worth, the longer the gaps."""
    law = Law(MEMORY, math.log(MEDIAN), SPREAD)
    gaps = [law.gap(120.0, trade, 0.1) for trade in (0.3, 1.0, 3.0)]
    assert gaps == sorted(gaps)
    assert gaps[0] < gaps[1] < gaps[2]


@QUICK
@given(st.lists(st.floats(0, 1e7), max_size=50))
def test_no_latency_breaks_a_law(seen: list[float]) -> None:
    """A job that was done at once, or after a month, leaves a law that still works."""
    law = Law.guess(0.0)
    for seconds in seen:
        law.observe(seconds)
    assert law.gap(100.0, 1.0, LEAST) >= LEAST


def test_what_was_learned_is_remembered_once() -> None:
    """Only what changed is written, and it is the same law after a restart."""
    latencies = Latencies()
    latencies.law("fal|a", 60.0)
    latencies.observe("fal|b", 60.0, 90.0)
    learned = latencies.learned()
    assert learned.keys() == {"fal|b"}
    assert latencies.learned() == {}
    again = Latencies(learned)
    assert again.law("fal|b", 1.0).gap(50.0, 1.0, LEAST) == latencies.law("fal|b", 60.0).gap(
        50.0, 1.0, LEAST
    )


def simulate(law: Law, jobs: int, flying: int, chance: random.Random) -> tuple[float, float]:
    """Polls per job and mean delay in seconds of `jobs` jobs, `flying` at a time, learning as they end."""
    polls, now, delays = 0, 0.0, list[float]()
    air: list[tuple[float, int, float, float]] = []  # next poll, tie-break, begin, end

    def submit(number: int) -> None:
        takes = chance.lognormvariate(math.log(MEDIAN), SPREAD)
        heapq.heappush(air, (now + law.gap(0.0, 1.0, LEAST), number, now, now + takes))

    for number in range(flying):
        submit(number)
    while len(delays) < jobs:
        now, number, begin, end = heapq.heappop(air)
        polls += 1
        if now >= end:
            delays.append(now - end)
            law.observe(now - begin)
            submit(number + flying)
        else:
            heapq.heappush(air, (now + law.gap(now - begin, 1.0, LEAST), number, begin, end))
    return polls / jobs, sum(delays) / jobs


def test_a_clip_is_noticed_soon_for_few_questions() -> None:
    """At the usual trade, once a law is learned: at most 12 polls a job, at most 7 seconds late."""
    chance, law = random.Random(7), Law.guess(60.0)
    first_polls, first_delay = simulate(law, 200, 50, chance)
    polls, delay = simulate(law, 3_000, 50, chance)
    assert polls <= 9.0, (polls, delay)
    assert delay <= 7.0, (polls, delay)
    assert first_polls <= 12.0, (first_polls, first_delay)
    assert first_delay <= 10.0, (first_polls, first_delay)
