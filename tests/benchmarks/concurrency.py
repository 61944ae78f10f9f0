"""A provider that refuses above a number of jobs that it does not tell, and changes. Virtual time."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field

from runner.causes import Cause
from runner.events import Refused
from runner.limiter import Limiter
from runner.limits import Limits
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure

PHASES = (20, 12, 30, 20)
LENGTH = 3600.0
ROUND_TRIP = 0.3
CROWDED = Refused(Cause.RATE_LIMITED, "parallel task over resource pack limit", crowded=True)
_ANSWER, _END = 0, 1


@dataclass(slots=True)
class World:
    """A provider and a client with endless jobs (lognormal, median 90 s, p95 240 s), and what became of them."""

    rng: random.Random
    limiter: Limiter = field(default_factory=lambda: Limiter(Limits()))
    running: int = 0
    accepted: int = 0
    refused: int = 0
    events: list[tuple[float, int, int, bool]] = field(default_factory=list)
    busy: list[tuple[float, int]] = field(default_factory=list)
    _number: int = 0

    def later(self, at: float, kind: int, taken: bool = True) -> None:
        """Something will happen."""
        self._number += 1
        heapq.heappush(self.events, (at, kind, self._number, taken))

    def submit(self, now: float, most: int) -> None:
        """A submit reaches the provider half a round trip from now; here it is decided at once."""
        self.limiter.sending(now)
        taken = self.running < most
        if taken:
            self.running += 1
            self.busy.append((now, self.running))
            self.later(now + self.rng.lognormvariate(math.log(90), 0.596), _END)
        self.later(now + ROUND_TRIP, _ANSWER, taken)

    def happen(self) -> float:
        """The next thing happens."""
        now, kind, _, taken = heapq.heappop(self.events)
        if kind == _END:
            self.running -= 1
            self.busy.append((now, self.running))
            self.limiter.left()
            return now
        self.limiter.answered(now)
        if taken:
            self.accepted += 1
            self.limiter.accepted(now)
        else:
            self.refused += 1
            self.limiter.left()
            self.limiter.refused(CROWDED, now)
        return now


def drive(seed: int, length: float) -> tuple[float, float, float]:
    """Busy share of N after the first minute of each phase, refused share, longest seconds to find 97 % of a new N."""
    world = World(random.Random(seed))
    now = 0.0
    while now < length * len(PHASES):
        most = PHASES[min(int(now // length), len(PHASES) - 1)]
        wait = world.limiter.room(now).wait
        if wait <= 0:
            world.submit(now, most)
            continue
        if world.events and world.events[0][0] <= now + wait:
            now = world.happen()
        else:
            now += max(min(wait, 60.0), 0.001)
    shares, found = zip(
        *(_phase(world.busy, at, most, length) for at, most in enumerate(PHASES)), strict=True
    )
    total = world.accepted + world.refused
    return sum(shares) / len(shares), world.refused / total, max(found)


def _phase(
    busy: list[tuple[float, int]], number: int, most: int, length: float
) -> tuple[float, float]:
    """Share of N that was busy after the first minute, and when it was first used to 97 %."""
    begin, end = number * length, (number + 1) * length
    level, last, total, found = 0, begin, 0.0, math.inf
    for at, count in [*busy, (math.inf, 0)]:
        to = min(max(at, begin), end)
        if to > max(last, begin + 60):
            total += min(level, most) * (to - max(last, begin + 60))
        last, level = max(to, begin), count
        if at >= end:
            break
        if at >= begin and count >= 0.97 * most:
            found = min(found, at - begin)
    return total / (most * (length - 60)), found


def concurrency(bench: Bench) -> list[Figure]:
    """How much of the provider is used, how often it refuses, how soon a new number is found."""
    runs = [drive(seed, float(bench.size(3600, 600))) for seed in range(bench.size(10, 1))]
    busy, refused = (sum(run[at] for run in runs) / len(runs) for at in (0, 1))
    slowest = max(run[2] for run in runs)
    phases = " → ".join(map(str, PHASES))
    return [
        Figure("concurrency busy", f"of N unknown and moving ({phases}, an hour each)", busy * 100, 97, 99, high=True,
               unit="%"),
        Figure("concurrency refused", "submits refused for crowding", refused * 100, 1, unit="%"),
        Figure("concurrency found", "a new N is used to 97 %, the slowest of all", slowest, 60, unit="s"),
    ]  # fmt: skip
