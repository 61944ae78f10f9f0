"""600 submits a minute for two minutes, on servers that count by the minute; virtual time, a jittery network."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable

from runner.limiter import Limiter
from runner.limits import Limits, Rate
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure

RATE = Rate(600, 60.0)
TIME = 120.0
START = 1_800_000_000.0 + 17.3


def fixed() -> Callable[[float], bool]:
    """A server that counts by its own clock's minutes."""
    counts: dict[int, int] = {}

    def takes(at: float) -> bool:
        window = int(at // RATE.window)
        counts[window] = counts.get(window, 0) + 1
        return counts[window] <= RATE.count

    return takes


def sliding() -> Callable[[float], bool]:
    """A server that remembers the requests of the last minute."""
    seen: deque[float] = deque()

    def takes(at: float) -> bool:
        while seen and seen[0] <= at - RATE.window:
            seen.popleft()
        if len(seen) >= RATE.count:
            return False
        seen.append(at)
        return True

    return takes


def drive(takes: Callable[[float], bool], restart: bool, seed: int) -> tuple[int, int]:
    """Submit as fast as the limiter lets us for two minutes; returns what was taken and what was refused.

    Each way takes 80 ms (lognormal, sigma 0.5). With `restart` the process is killed half way and started again, with
    nothing but the times of its intents.
    """
    rng = random.Random(seed)
    limiter = Limiter(Limits(submits=RATE))
    known: dict[
        float, float
    ] = {}  # what rows say: when a submit was intended, and when it was answered
    arrivals: list[float] = []
    answers: list[tuple[float, float]] = []
    now, killed = START, not restart
    while now < START + TIME:
        while answers and answers[0][0] <= now:
            answered, intended = heapq.heappop(answers)
            known[intended] = answered
            limiter.answered(answered)
            limiter.accepted()
            limiter.left()
        if not killed and now >= START + TIME / 2:
            killed = True
            limiter = Limiter(Limits(submits=RATE))
            limiter.resume_from([at for at in known.values() if at > now - RATE.window])
            answers.clear()
        wait = limiter.room(now).wait
        if wait > 0:
            nearest = answers[0][0] - now if answers else math.inf
            now += max(min(wait, nearest), 0.0001)
            continue
        limiter.sending(now)
        known[now] = now
        there = now + rng.lognormvariate(math.log(0.08), 0.5)
        arrivals.append(there)
        heapq.heappush(answers, (there + rng.lognormvariate(math.log(0.08), 0.5), now))
    taken = [takes(at) for at in sorted(arrivals)]
    return sum(taken), len(taken) - sum(taken)


def rates(bench: Bench) -> list[Figure]:
    """How much of the limit is used, and how often the server says no."""
    figures = []
    runs = bench.size(20, 2)
    for server, name in ((fixed, "fixed"), (sliding, "sliding")):
        for restart in (False, True):
            found = [drive(server(), restart, seed) for seed in range(runs)]
            used = min(taken for taken, _ in found) / (RATE.count / RATE.window * TIME)
            refused = sum(no for _, no in found)
            figures.append(
                Figure(f"rate {name}{', restart' if restart else ''}", f"600/min for two minutes, worst of {runs}",
                       used * 100, 99, 99.7, high=True, unit="%", ours=f"{refused} refused",
                       floor="the limit, 0 refused")
            )  # fmt: skip
    return figures
