"""Many nights, and what they came to; over several processes where there are processors for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.simulation.night import Night, Result
from tests.simulation.plan import Plan

ROOT = Path(__file__).parents[2]
CHUNK = 50
"""Nights of one process, and between two lines of progress of each."""
_KINDS = {
    "provider": "lies",
    "road": "requests lost",
    "disk": "disk",
    "time": "time",
    "people": "people",
}


@dataclass(slots=True)
class Figures:
    """What some nights came to. `broken` holds the seeds of those in which a promise was, and which one."""

    nights: int = 0
    hours: float = 0.0
    seconds: float = 0.0
    accepted: int = 0
    lives: int = 0
    states: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    broken: dict[int, str] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count a night."""
        self.merge(
            Figures(
                1, result.hours, result.seconds, result.accepted, result.lives, result.states, result.counts,
                {result.seed: result.problem} if result.problem else {},
            )
        )  # fmt: skip

    def merge(self, other: Figures) -> None:
        """Count the nights of another process."""
        self.nights += other.nights
        self.hours += other.hours
        self.seconds += other.seconds
        self.accepted += other.accepted
        self.lives += other.lives
        self.states += other.states
        self.counts += other.counts
        self.broken |= other.broken

    def as_json(self) -> str:
        """All of it, for another process."""
        return json.dumps({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What another process has written."""
        values = json.loads(text)
        for name in ("states", "counts"):
            values[name] = Counter(values[name])
        values["broken"] = {int(seed): problem for seed, problem in values["broken"].items()}
        return cls(**values)

    @property
    def promises(self) -> str:
        """In how many nights each promise was broken, the three that matter most always."""
        found = Counter(problem.partition(":")[0] for problem in self.broken.values())
        names = ["bought twice", "lost", "over budget", *sorted(found)]
        return ", ".join(f"{found[name]} {name}" for name in dict.fromkeys(names))

    @property
    def line(self) -> str:
        """One line for somebody who waits."""
        return f"{self.nights:6} nights, {self.lives} lives, {self.accepted} tasks accepted: {self.promises}"

    def _sum(self, kind: str) -> int:
        return sum(count for name, count in self.counts.items() if name.startswith(f"{kind}: "))

    def __str__(self) -> str:
        """The figures, with a row for a table, and the nights to look at with the command that shows them."""
        sums = ", ".join(f"{self._sum(kind)} {title}" for kind, title in _KINDS.items())
        row = (
            f"| {self.nights:,} nights, {self.hours:,.0f} virtual hours, {self.lives:,} lives of which"
            f" {self.counts['life: killed']:,} ended by kill and {self.counts['life: disk']:,} by the disk;"
            f" faults: {sums} | {self.accepted:,} tasks accepted, {self.promises} |"
        )
        lines = [
            row,
            f"jobs: {dict(sorted(self.states.items()))}",
            f"{self.seconds:.0f} processor seconds",
        ]
        lines += [f"{count:8} {name}" for name, count in sorted(self.counts.items())]
        lines += [
            f"seed {seed}: {problem}\n    python -m tests.simulation {seed} -v"
            for seed, problem in sorted(self.broken.items())
        ]
        return "\n".join(lines)


def live_through(seeds: Iterable[int]) -> Figures:
    """Live through the nights of these seeds."""
    figures = Figures()
    for seed in seeds:
        try:
            figures.add(Night(Plan.draw(seed)).run())
        except Exception as error:
            raise RuntimeError(f"the simulation itself failed at seed {seed}") from error
    return figures


def live_through_many(first: int, nights: int) -> Figures:
    """The same over as many processes as there are processors; says on stderr how far it is."""
    figures = Figures()
    workers = os.cpu_count() or 1
    size = min(CHUNK, -(-nights // workers))
    with ThreadPoolExecutor(workers) as pool:
        parts = [
            pool.submit(_apart, start, min(size, first + nights - start))
            for start in range(first, first + nights, size)
        ]
        for part in as_completed(parts):
            before = figures.nights // 100
            figures.merge(part.result())
            if figures.nights // 100 > before:
                print(figures.line, file=sys.stderr, flush=True)
    return figures


def _apart(first: int, nights: int) -> Figures:
    """Live through some nights in a process of their own."""
    command = [sys.executable, "-m", "tests.simulation", str(first), "--nights", str(nights)]
    done = subprocess.run(
        [*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(done.stderr[-2000:])
    return Figures.from_json(done.stdout)
