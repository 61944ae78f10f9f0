"""How well polls are placed: against the best that anyone could do who knows the law but not the job. Virtual time."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass

from runner.polling import TRADES, Law
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure

MEDIAN = 90.0
SIGMA = math.log(240 / 90) / 1.6448536269514722
LEAST = 2.0
STEP = 0.5
HORIZON = 1200.0
LONGEST = 100.0
"""Seconds between two polls that the search for the optimum considers at most."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a job cost on average: polls, and seconds from its end to the poll that saw it."""

    polls: float
    delay: float

    def cost(self, trade: float) -> float:
        """In seconds, at `trade` seconds a poll."""
        return trade * self.polls + self.delay


def optimum(trade: float) -> float:
    """The least possible `trade x polls + delay` of a job, by dynamic programming backwards over a grid of times."""
    count = int(HORIZON / STEP)
    times = [at * STEP for at in range(count + 1)]
    done = [
        0.5 * math.erfc(-(math.log(t / MEDIAN) / SIGMA) / math.sqrt(2)) if t else 0.0 for t in times
    ]
    area = [
        0.0
    ]  # of `done`: the delay of those who end between two polls is area between minus what was done before
    for at in range(count):
        area.append(area[-1] + STEP * (done[at] + done[at + 1]) / 2)
    cost = [0.0] * (count + 1)  # times the probability of getting there
    cost[count] = (1 - done[count]) * trade
    widest = int(LONGEST / STEP)
    for at in range(count - 1, -1, -1):
        alive = (1 - done[at]) * trade
        before, begun = done[at], area[at]
        cost[at] = alive + min(
            area[to] - begun - before * (to - at) * STEP + cost[to]
            for to in range(at + 1, min(at + widest, count) + 1)
        )
    return cost[0]


def online(trade: float, jobs: int, seed: int, in_flight: int = 50) -> Spent:
    """What our rule costs that learns as it goes; the mean of the second half, when it has learned."""
    rng = random.Random(seed)
    law = Law.guess(MEDIAN)
    polls: dict[int, int] = {}
    began: dict[int, float] = {}
    takes: dict[int, float] = {}
    due: list[tuple[float, int]] = []
    spent: list[tuple[int, float]] = []

    def begin(number: int, now: float) -> None:
        began[number], polls[number] = now, 0
        takes[number] = rng.lognormvariate(math.log(MEDIAN), SIGMA)
        heapq.heappush(due, (now + law.gap(0.0, trade, LEAST), number))

    for number in range(in_flight):
        begin(number, number * 2.0)
    started = in_flight
    while due and len(spent) < jobs:
        now, number = heapq.heappop(due)
        polls[number] += 1
        waited = now - began[number]
        if waited >= takes[number]:
            law.observe(waited)
            spent.append((polls[number], waited - takes[number]))
            begin(started, now)
            started += 1
        else:
            heapq.heappush(due, (now + law.gap(waited, trade, LEAST), number))
    late = spent[jobs // 2 :]
    return Spent(
        sum(one for one, _ in late) / len(late), sum(delay for _, delay in late) / len(late)
    )


def polling(bench: Bench) -> list[Figure]:
    """Every trade against its optimum, and the polls that five seconds of mean delay cost."""
    jobs = bench.size(6_000, 400)
    figures = []
    for name, trade in TRADES.items():
        best, found = optimum(trade), online(trade, jobs, 1)
        figures.append(
            Figure(f"polling {name}", f"λ·polls + delay, λ {trade:g} s, lognormal 90/240 s", found.cost(trade) / best,
                   1.15, 1.05, ours=f"{found.polls:.1f} polls, {found.delay:.1f} s", floor=f"{best:.2f} s, the optimum")
        )  # fmt: skip
    runs = [online(0.2 + 0.1 * step, jobs, 2) for step in range(8)]
    enough = [run.polls for run in runs if run.delay <= 5.0]
    figures.append(
        Figure(
            "polling at 5 s",
            "polls of a job at a mean delay of at most 5 s",
            min(enough),
            10,
            9,
            unit="polls",
        )
    )
    return figures
