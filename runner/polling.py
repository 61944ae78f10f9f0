"""When to ask again: little before a job can be done, often when it should be.

How long a kind of job takes is learned as a lognormal law: decayed mean and spread of the logarithm of its seconds. The
gap that minimises `trade x polls + delay` under a hazard rate h is sqrt(2 x trade / h); it comes within a tenth of the
optimum for the wide laws that are seen in practice and has one knob, `trade`: the seconds of delay that one poll is
worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

MEMORY = 200.0  # jobs that a law remembers
PRIOR_WEIGHT = 4.0  # jobs that the first guess is worth
PRIOR_SPREAD = 1.0
# The first poll comes so many standard deviations below the mean (at a trade of one second; one job in fifteen is done
# by then), earlier where a poll is cheap, later where it is dear: near the optimum for laws from 90/120 to 90/240 s.
EARLIEST, LATER = 1.5, 0.2
LARGEST_GAP = (
    0.35  # of the time waited so far, so that a wrong law can't hide a finished job for long
)
TRADES = {"eager": 0.3, "normal": 1.0, "frugal": 3.0}


@dataclass(slots=True)
class Law:
    """How long one kind of job takes. Immutable in spirit: only `observe` changes it."""

    weight: float
    mean: float
    spread: float

    @classmethod
    def guess(cls, seconds: float) -> Law:
        """A broad first guess around an expected number of seconds."""
        return cls(PRIOR_WEIGHT, math.log(max(seconds, 0.001)), PRIOR_SPREAD)

    @property
    def median(self) -> float:
        """Seconds that half of the jobs take at most."""
        return math.exp(self.mean)

    def observe(self, seconds: float) -> None:
        """Learn from a job that took this long."""
        value = math.log(max(seconds, 0.001))
        weight = min(self.weight + 1.0, MEMORY)
        share = 1.0 / weight
        change = value - self.mean
        self.mean += share * change
        variance = (1.0 - share) * (self.spread**2 + share * change**2)
        self.spread = math.sqrt(max(variance, 1e-4))
        self.weight = weight

    def first(self, trade: float) -> float:
        """Seconds that a job is left alone before it is asked about for the first time."""
        return math.exp(self.mean - (EARLIEST - LATER * math.log(trade)) * self.spread)

    def gap(self, waited: float, trade: float, least: float) -> float:
        """Seconds from now to the next poll of a job that has been waited for `waited` seconds."""
        first = self.first(trade)
        if waited < first:
            return max(least, first - waited)
        hazard = self._hazard(waited)
        gap = math.sqrt(2.0 * trade / hazard) if hazard > 0 else math.inf
        return max(least, min(gap, LARGEST_GAP * waited))

    def _hazard(self, waited: float) -> float:
        z = (math.log(max(waited, 0.001)) - self.mean) / self.spread
        left = 0.5 * math.erfc(z / math.sqrt(2.0))
        if left < 1e-12:  # far past anything seen: the hazard of a lognormal's tail
            return z / (self.spread * waited)
        density = math.exp(-0.5 * z * z) / (self.spread * waited * math.sqrt(2.0 * math.pi))
        return density / left


class Latencies:
    """The laws of all kinds of jobs, by name (provider, model and length of clip)."""

    def __init__(self, learned: Mapping[str, tuple[float, float, float]] | None = None) -> None:
        self._laws = {name: Law(*moments) for name, moments in (learned or {}).items()}
        self._changed: set[str] = set()

    def law(self, name: str, expected: float) -> Law:
        """The law of a kind of job; a guess around `expected` seconds where nothing is known."""
        return self._laws.get(name) or self._laws.setdefault(name, Law.guess(expected))

    def observe(self, name: str, expected: float, seconds: float) -> None:
        """Learn from a job."""
        self.law(name, expected).observe(seconds)
        self._changed.add(name)

    def learned(self) -> dict[str, tuple[float, float, float]]:
        """What changed since the last call, to be remembered."""
        changed = {
            name: (law.weight, law.mean, law.spread)
            for name, law in self._laws.items()
            if name in self._changed
        }
        self._changed.clear()
        return changed
