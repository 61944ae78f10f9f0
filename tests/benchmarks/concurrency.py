"""A provider that refuses above a number of jobs that it does not tell, and changes. Virtual time."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from runner.causes import Cause
from runner.events import Refused
from runner.limiter import Limiter
from runner.limits import Limits
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure

SMALL = (20, 12, 30, 20)
LARGE = (200, 120, 300, 200)
HUGE = (500, 300, 750, 500)
FALLS, RISE = (1, 3), 2  # the phases that begin with one
ROUND_TRIP = 0.3
SETTLING = 60.0  # seconds after a change that don't count for how busy the provider is
CROWDED = Refused(Cause.RATE_LIMITED, "parallel task over resource pack limit", crowded=True)
_ARRIVAL, _ANSWER, _END, _SEEN = range(4)


@dataclass(slots=True)
class World:
    """A provider and a client with endless jobs (lognormal, median 90 s, p95 240 s), and what became of them.

    `phases` are numbers of jobs, each with the time at which it begins; an end is seen up to twice `lag` seconds late.
    """

    rng: random.Random
    phases: list[tuple[float, int]]
    lag: float = 0.0
    limiter: Limiter = field(default_factory=lambda: Limiter(Limits()))
    running: int = 0
    accepted: int = 0
    refused: int = 0
    events: list[tuple[float, int, int, bool]] = field(default_factory=list)
    busy: list[tuple[float, int]] = field(default_factory=list)
    _number: int = 0

    def later(self, at: float, kind: int, taken: bool = False) -> None:
        """Something will happen."""
        self._number += 1
        heapq.heappush(self.events, (at, self._number, kind, taken))

    def most(self, now: float) -> int:
        """The number that the provider takes now."""
        return next(most for begin, most in reversed(self.phases) if begin <= now)

    def submit(self, now: float) -> None:
        """A submit leaves; it reaches the provider half a round trip from now."""
        self.limiter.sending(now)
        self.later(now + ROUND_TRIP / 2, _ARRIVAL)

    def happen(self) -> float:
        """The next thing happens."""
        now, _, kind, taken = heapq.heappop(self.events)
        if kind == _ARRIVAL:
            self._arrive(now)
        elif kind == _ANSWER:
            self._answer(now, taken)
        elif kind == _END:
            self.running -= 1
            self.busy.append((now, self.running))
            self.later(now + self.rng.uniform(0, 2 * self.lag), _SEEN)
        else:
            self.limiter.left()
        return now

    def _arrive(self, now: float) -> None:
        taken = self.running < self.most(now)
        if taken:
            self.running += 1
            self.busy.append((now, self.running))
            self.later(now + self.rng.lognormvariate(math.log(90), 0.596), _END)
        self.later(now + ROUND_TRIP / 2, _ANSWER, taken)

    def _answer(self, now: float, taken: bool) -> None:
        self.limiter.answered(now)
        if taken:
            self.accepted += 1
            self.limiter.accepted()
        else:
            self.refused += 1
            self.limiter.left()
            self.limiter.refused(CROWDED, now)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares of N that were busy, all in all and right after falls; of submits refused; seconds to find a rise."""

    busy: float
    fallen: float
    refused: float
    found: float


def drive(seed: int, numbers: tuple[int, ...], length: float, lag: float = 0.0) -> Outcome:
    """Run once. The changes come at random times, up to a quarter of a phase early or late."""
    rng = random.Random(seed)
    shifts = [0.0, *(rng.uniform(-0.25, 0.25) for _ in numbers[1:])]
    begins = [(at + shift) * length for at, shift in enumerate(shifts)]
    world = World(rng, list(zip(begins, numbers, strict=True)), lag)
    now, end = 0.0, length * len(numbers)
    while now < end:
        wait = world.limiter.room(now).wait
        if wait <= 0:
            world.submit(now)
        elif world.events and world.events[0][0] <= now + wait:
            now = world.happen()
        else:
            now += max(min(wait, 60.0), 0.001)
    bounds = list(pairwise([*begins, end]))
    shares = [
        _share(world.busy, begin + SETTLING, until, most)
        for (begin, until), most in zip(bounds, numbers, strict=True)
    ]
    drained = [_reached(world.busy, begins[at], 0, numbers[at]) for at in FALLS]
    fallen = [
        _share(world.busy, since, since + 2 * SETTLING, numbers[at])
        for since, at in zip(drained, FALLS, strict=True)
    ]
    found = _reached(world.busy, begins[RISE], 0.97 * numbers[RISE], numbers[RISE])
    refused = world.refused / (world.accepted + world.refused)
    return Outcome(fmean(shares), fmean(fallen), refused, min(found, end) - begins[RISE])


def _share(busy: list[tuple[float, int]], begin: float, end: float, most: int) -> float:
    """Share of N that was busy in that time."""
    total = sum(
        min(level, most) * max(0.0, min(until, end) - max(since, begin))
        for (since, level), (until, _) in pairwise([*busy, (end, 0)])
    )
    return total / (most * (end - begin))


def _reached(busy: list[tuple[float, int]], begin: float, least: float, most: int) -> float:
    """When, from `begin` on, the jobs that run were first so many."""
    return next((at for at, level in busy if at >= begin and least <= level <= most), math.inf)


def concurrency(bench: Bench) -> list[Figure]:
    """How much of the provider is used, how often it refuses, how soon a new number is found."""
    figures = []
    length = float(bench.size(3600, 600))
    for numbers, seeds in ((SMALL, 20), (LARGE, 6), (HUGE, 4)):
        runs = [drive(seed, numbers, length) for seed in range(bench.size(seeds, 1))]
        name, phases = f"concurrency {numbers[0]}", " → ".join(map(str, numbers))
        busy, refused = fmean(run.busy for run in runs), fmean(run.refused for run in runs)
        fallen = fmean(run.fallen for run in runs)
        found = [run.found for run in runs]
        figures += [
            Figure(f"{name} busy", f"of N unknown and moving ({phases}, an hour each)", busy * 100, 97, 99, high=True,
                   unit="%", ours=f"{fallen * 100:.1f} % in two minutes after a fall"),
            Figure(f"{name} refused", "submits refused for crowding", refused * 100, 1, unit="%"),
            Figure(f"{name} found", "after a rise N is used to 97 %, the slowest of all", max(found), 60, unit="s",
                   ours=f"{fmean(found):.0f} s on average"),
        ]  # fmt: skip
    return figures
