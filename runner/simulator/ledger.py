"""The ledger: every task that was accepted, whether or not anybody heard of it."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import overload

from .task import Task


class Slots:
    """The places in which one system runs tasks, first come, first served, computed not waited for."""

    def __init__(self, concurrency: int) -> None:
        """Have `concurrency` places."""
        self.concurrency = concurrency
        self._free_at: list[float] = []
        self._starts: list[float] = []
        self._ends: list[float] = []
        self._tasks: list[Task] = []

    def take(self, task: Task, *, queues: bool) -> None:
        """Fix when the task starts and ends; with `queues` not before a place is free."""
        ready = task.accepted_at + task.waits
        if queues and len(self._free_at) >= self.concurrency:
            ready = max(ready, heapq.heappop(self._free_at))
        task.start_at, task.end_at = ready, ready + task.runs
        heapq.heappush(self._ends, task.end_at)
        if queues:
            heapq.heappush(self._free_at, task.end_at)
            insort(self._starts, task.start_at)
            self._tasks.append(task)

    def position(self, task: Task, now: float) -> int:
        """How many tasks wait and start before this one."""
        ahead = bisect_left(self._starts, task.start_at) - bisect_right(self._starts, now)
        return max(0, ahead)

    def open(self, now: float) -> int:
        """How many tasks are not finished."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends)

    def leave(self, task: Task, now: float) -> None:
        """Cancel a task; those that wait behind it move up."""
        task.cancelled_at = now
        task.end_at = min(task.end_at, now)
        rest = [other for other in self._tasks if not other.final(now)]
        self._free_at, self._starts, self._ends, self._tasks = [], [], [], []
        for other in rest:
            if other.start_at <= now:
                heapq.heappush(self._free_at, other.end_at)
                heapq.heappush(self._ends, other.end_at)
                self._starts.append(other.start_at)
                self._tasks.append(other)
        self._starts.sort()
        for other in rest:
            if other.start_at > now:
                self.take(other, queues=True)


class Ledger(Sequence[Task]):
    """All accepted tasks in order of acceptance, with the look-ups that a provider has."""

    def __init__(self) -> None:
        """Start empty."""
        self._tasks: list[Task] = []
        self._by_id: dict[tuple[str, str], Task] = {}
        self._by_external: dict[tuple[str, str], Task] = {}

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        """Return tasks by position."""
        return self._tasks[index]

    def __len__(self) -> int:
        """How many tasks were ever accepted."""
        return len(self._tasks)

    def add(self, task: Task) -> None:
        """Enter a task."""
        self._tasks.append(task)
        self._by_id[task.system, task.id] = task
        if task.external_id is not None:
            self._by_external.setdefault((task.system, task.external_id), task)

    def find(self, system: str, task_id: str) -> Task | None:
        """Find a task by its id at a system."""
        return self._by_id.get((system, task_id))

    def find_external(self, system: str, external_id: str) -> Task | None:
        """Find a task by the id that its sender gave it."""
        return self._by_external.get((system, external_id))

    def of(self, system: str) -> list[Task]:
        """Every task of one system, oldest first."""
        return [task for task in self._tasks if task.system == system]

    def spent(self, now: float) -> float:
        """USD charged as things stand."""
        return sum(task.price for task in self._tasks if task.billed(now))
