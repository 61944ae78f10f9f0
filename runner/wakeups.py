"""Who is looked at when, inside one process: a heap of due times.

The contract, for this and any other implementation: a wake-up may come late, twice, or not at all; the store's rows are
the truth, and a look at them repairs all three. Nothing here is durable.
"""

from __future__ import annotations

import heapq


class Wakeups:
    """Job numbers by due time; of two due at once, the lower rank first. A job has one due time: the latest given."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, float, int]] = []
        self._due: dict[int, float] = {}

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._due)

    def __repr__(self) -> str:
        """State in one line."""
        return f"<Wakeups {len(self._due)} next={self.next()}>"

    def add(self, number: int, at: float, rank: float = 0.0) -> None:
        """Wake job `number` at `at` (Unix seconds)."""
        self._due[number] = at
        heapq.heappush(self._heap, (at, rank, number))

    def remove(self, number: int) -> None:
        """Forget a job."""
        self._due.pop(number, None)

    def next(self) -> float | None:
        """When the next job is due; None where none waits."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> int | None:
        """Take out one job that is due, if there is one."""
        at = self.next()
        if at is None or at > now:
            return None
        number = heapq.heappop(self._heap)[2]
        del self._due[number]
        return number

    def shift(self, latest: float) -> None:
        """The clock was set back: nobody waits past `latest`."""
        for number, at in list(self._due.items()):
            if at > latest:
                self.add(number, latest)
