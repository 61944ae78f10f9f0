"""What a benchmark is given: a server, a folder, sizes; and ways to run the sides of a comparison."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Result = dict[str, float]
LIMIT = 900
"""Seconds that one side may take."""


class SkippedError(Exception):
    """A benchmark that can't be run here; the text says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What both sides of a comparison took, over all rounds."""

    ours: list[Result]
    floor: list[Result]

    def ratio(self, key: str) -> float:
        """Ours over the floor: each round's two against its two, and of those the median."""
        rounds = range(0, len(self.ours), 2)
        return median(
            sum(one[key] for one in self.ours[at : at + 2])
            / sum(one[key] for one in self.floor[at : at + 2])
            for at in rounds
        )

    def ours_median(self, key: str) -> float:
        """The median of ours."""
        return median(one[key] for one in self.ours)

    def floor_median(self, key: str) -> float:
        """The median of the floor."""
        return median(one[key] for one in self.floor)


@dataclass(slots=True)
class Bench:
    """Sizes and places. `small` makes everything tiny, to see that it works."""

    url: str
    folder: Path
    rounds: int
    small: bool
    _made: int = 0

    def size(self, full: int, small: int) -> int:
        """How many."""
        return small if self.small else full

    def fresh(self) -> str:
        """A new empty folder."""
        self._made += 1
        path = self.folder / f"{self._made:04}"
        path.mkdir()
        return str(path)

    def side(self, work: str, env: Mapping[str, str] | None = None, **options: Any) -> Result:
        """Run one side in a process of its own, on the first core."""
        module, _, name = work.partition(":")
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.side",
            f"tests.benchmarks.{module}:{name}",
        ]
        done = subprocess.run(
            [*command, json.dumps(options)],
            env={**os.environ, **(env or {})}, preexec_fn=_on_first_core,
            capture_output=True, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{work} failed:\n{done.stderr[-2000:]}")
        found: Result = json.loads(done.stdout.splitlines()[-1])
        return found

    def pair(
        self,
        ours: str,
        floor: str,
        both: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
        rounds: int | None = None,
    ) -> Pair:
        """Floor, ours, ours, floor, as often as there are rounds; each in a folder of its own, gone afterwards."""
        found = Pair([], [])
        for _ in range(min(self.rounds, rounds or self.rounds)):
            for work, into in (
                (floor, found.floor), (ours, found.ours), (ours, found.ours), (floor, found.floor)
            ):  # fmt: skip
                folder = self.fresh()
                into.append(self.side(work, env, folder=folder, **both))
                shutil.rmtree(folder)
        return found


@contextmanager
def server() -> Iterator[str]:
    """The provider without latency, on the last core; yields its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.server"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=_on_last_core,  # noqa: PLW1509
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def _on_first_core() -> None:
    _stay_on(min)


def _on_last_core() -> None:
    _stay_on(max)


def _stay_on(choose: Any) -> None:
    """Client and server never share a core, where there are two and the system lets us choose."""
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {choose(os.sched_getaffinity(0))})
