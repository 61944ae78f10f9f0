"""Many nights, and what they came to; over several processes where there are processors for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.simulation.night import Night, Result
from tests.simulation.plan import Plan

ROOT = Path(__file__).parents[2]
CHUNK = 250
"""Nights of one process."""


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

    def __str__(self) -> str:
        """The figures, and the nights to look at with the command that shows them."""
        faults = {
            kind: count for kind, count in sorted(self.counts.items()) if kind[:8] != "request:"
        }
        polls = sum(self.counts[f"request: {kind}"] for kind in ("status", "result", "fetch"))
        total = (
            f"{self.nights} nights of {self.hours:.0f} virtual hours in {self.seconds:.0f} processor seconds,"
            f" {self.lives} lives, {self.accepted} tasks accepted, {polls} polls,"
            f" {self.counts['request: media']} downloads"
        )
        lines = [
            total,
            f"jobs: {dict(sorted(self.states.items()))}",
            f"{sum(faults.values())} faults and events: {faults}",
        ]
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
    """The same over as many processes as there are processors, each for a while."""
    figures = Figures()
    workers = os.cpu_count() or 1
    size = min(CHUNK, -(-nights // workers))
    chunks = [
        (start, min(size, first + nights - start)) for start in range(first, first + nights, size)
    ]
    while chunks:
        running = [_start(*chunks.pop(0)) for _ in range(min(workers, len(chunks)))]
        for process, (out, err) in [(process, process.communicate()) for process in running]:
            if process.returncode not in (0, 1) or not out:
                raise RuntimeError(err[-2000:])
            figures.merge(Figures.from_json(out))
    return figures


def _start(first: int, nights: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.simulation", str(first), "--nights", str(nights)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
