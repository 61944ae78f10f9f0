"""One provider within a run: its limiter, what waits to be sent to it, what waits to be asked."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from runner.causes import Cause
from runner.job import Job
from runner.limiter import Limiter, Room
from runner.limits import Limits, Rate
from runner.outage import Outage
from runner.polling import TRADES
from runner.providers import Dialect, Provider, Traits, dialect_for, speaks_kling
from runner.store import Batch, Claimed

_speaks_kling = lru_cache(speaks_kling)  # asked several times for each poll
SCARCE = 0.3
PAGE = 64  # queued jobs read from rows at a time


@dataclass(slots=True)
class Source:
    """The queued jobs of one batch: a page of them in memory, the rest in rows.

    `taken` holds the numbers that were handed out and whose outcome isn't recorded yet. `next_at` is when to look for
    more (None: nothing is queued); `over_budget` that the next one does not fit.
    """

    batch: Batch
    pending: deque[Claimed] = field(default_factory=deque)
    taken: set[int] = field(default_factory=set)
    next_at: float | None = 0.0
    refilling: bool = False
    over_budget: bool = False

    @property
    def low(self) -> bool:
        """Whether it is time to read the next page."""
        return len(self.pending) < PAGE // 4

    def look(self, at: float) -> None:
        """Look for queued jobs at `at` (Unix seconds), or earlier if that was planned."""
        self.next_at = at if self.next_at is None else min(self.next_at, at)


@dataclass(slots=True)
class Flight:
    """A job in the air: what is kept in memory of it between two looks. Of its spec: batch, id and model.

    `slot`: it counts as in flight for the limiter. `phase` is empty while the provider's word for it isn't known.
    `doubt_since` is when a submit without an answer can have been on its way last, on the monotonic clock. `trouble`
    counts answers in a row that were of no use, `denied` those of one kind (`denial`) by which it failed or is unknown,
    the first of them at `denied_since`; `fresh` how often a new address was asked for, `tries` failed downloads,
    `stuck_seen` that it was polled after becoming stuck, `busy` that a step of it is under way: a wake-up that comes
    twice must not start another.
    """

    job: Job
    batch: int
    law: str
    submitted_at: float
    client_ref: str = ""
    phase: str = ""
    slot: bool = True
    trouble: int = 0
    trouble_since: float = 0.0
    doubt_since: float = 0.0
    denial: Cause | None = None
    denied: int = 0
    denied_since: float = 0.0
    fresh: int = 0
    tries: int = 0
    stuck_seen: bool = False
    busy: bool = False
    expires_at: float | None = None

    def waited(self, now: float) -> float:
        """Seconds since it was submitted. A clock that was set back since says nothing, so it counts from now."""
        self.submitted_at = min(self.submitted_at, now)
        return now - self.submitted_at


class Lane:
    """A provider, its limits, and the jobs of this run that go through it."""

    def __init__(self, provider: Provider, limits: Sequence[Limits] = ()) -> None:
        self.provider = provider
        combined = provider.limits
        for each in limits:
            combined = combined.tightened(each)
        self.limiter = Limiter(combined)
        self.outage = Outage()
        self.sources: deque[Source] = deque()
        self.polls: deque[int] = deque()
        self.probes: list[float] = []
        self._dialects: dict[str, Dialect] = {}

    def __repr__(self) -> str:
        """State in one line."""
        return f"<Lane {self.provider.name} {self.limiter!r} polls={len(self.polls)}>"

    def dialect(self, model: str) -> Dialect:
        """The dialect that the model's path selects."""
        if model not in self._dialects:
            self._dialects[model] = dialect_for(self.provider, model)
        return self._dialects[model]

    def traits(self, model: str) -> Traits:
        """The traits of the protocol that the model's path selects."""
        return self.provider.kling if _speaks_kling(model) else self.provider.fal

    @property
    def poll_worth(self) -> float:
        """Seconds of delay that one poll is worth: fewer while jobs wait for a place, which a late look keeps taken."""
        chosen = TRADES[self.provider.poll]
        return chosen * SCARCE if self.limiter.full and self.has_pending else chosen

    def room(self, now: float) -> Room:
        """Say when the next submit may go, and what it waits for."""
        room, away = self.limiter.room(now), self.outage.submits.wait(now)
        return room if room.wait >= away else Room(away, "no answer from the provider")

    def next_claim(self) -> tuple[Source, Claimed] | None:
        """The next job to submit, taking the batches in turn."""
        for _ in range(len(self.sources)):
            source = self.sources[0]
            self.sources.rotate(-1)
            if source.pending and not source.over_budget:
                return source, source.pending.popleft()
        return None

    def wait(self, now: float, *, may_poll: bool, may_submit: bool) -> float:
        """Seconds until a question or a submit may go, or more jobs have to be read; infinity: something else first."""
        waits = [math.inf]
        if self.polls and may_poll and not self.limiter.silent:
            waits.append(max(self.limiter.request_wait(now), self.outage.questions.wait(now)))
        if may_submit:
            if self.has_pending:
                waits.append(self.room(now).wait)
            waits.extend(
                source.next_at - now
                for source in self.sources
                if source.next_at is not None
                and not source.refilling  # its end wakes the loop; until then there is nothing to do
                and not source.over_budget
                and source.low
            )
        return max(0.0, min(waits))

    @property
    def has_pending(self) -> bool:
        """Whether a job waits in memory for room."""
        return any(source.pending and not source.over_budget for source in self.sources)


def limits_of(batch: Batch) -> Limits:
    """The limits that a batch's manifest sets."""
    written = batch.limits or {}
    submits, requests = written.get("submits"), written.get("requests")
    in_flight = written.get("in_flight")
    return Limits(
        submits=Rate.parse(str(submits)) if submits else None,
        requests=Rate.parse(str(requests)) if requests else None,
        in_flight=int(in_flight) if in_flight else None,
    )
