"""How far a run is, at one moment: read from the engine's board and from the store's money."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.budget import Money
from runner.causes import Cause
from runner.cli.words import amounts, stopwatch
from runner.engine import Engine
from runner.engine.lane import Lane
from runner.events import Event, Unclear
from runner.job import Job, State
from runner.store.contract import Batch

PACE_WINDOW = 900.0
"""Seconds of the past that an estimate looks at."""
SHORTEST_PACE = 5.0
SHORTEST_WAIT = 0.5


@dataclass(frozen=True, slots=True)
class LaneView:
    """One provider: its jobs by state, and what holds the next submit back."""

    name: str
    counts: Mapping[State, int]
    why: str
    held: Cause | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """All providers together. `eta` in seconds; None where nothing has finished yet."""

    lanes: tuple[LaneView, ...]
    spent: tuple[Money, ...] = ()
    budget: Money | None = None
    eta: float | None = None
    stopping: bool = False
    counts: Mapping[State, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All jobs."""
        return sum(self.counts.values())

    def of(self, *states: State) -> int:
        """Jobs in these states."""
        return sum(self.counts.get(state, 0) for state in states)

    @property
    def line(self) -> str:
        """The short line with what the table would show: `done 231/400 · running 12 · failed 3 · …`."""
        flying = self.of(State.SUBMITTING, State.RUNNING)
        return self._joined((flying, "running"), (self.of(State.READY), "downloading"))

    @property
    def short(self) -> str:
        """`done 231/400 · failed 3 · spent 18.40 of 50.00 USD · ETA 02:10`."""
        return self._joined()

    def _joined(self, *more: tuple[int, str]) -> str:
        trouble = (self.of(State.FAILED), "failed"), (self.of(State.IN_DOUBT), "in doubt")
        parts = [f"done {self.of(State.DONE):,}/{self.total:,}"]
        parts += [f"{word} {number:,}" for number, word in (*more, *trouble) if number]
        money = self._money()
        if money:
            parts.append(f"spent {money}")
        if self.stopping:
            parts.append("stopping")
        elif self.eta is not None:
            parts.append(f"ETA {stopwatch(self.eta)}")
        return " · ".join(parts)

    def _money(self) -> str:
        if self.budget is None:
            return amounts(self.spent)
        spent = self.spent or (Money(0, self.budget.currency),)
        if len(spent) == 1 and spent[0].currency == self.budget.currency:
            return f"{str(spent[0]).split(' ', maxsplit=1)[0]} of {self.budget}"
        return f"{amounts(spent)} of {self.budget}"

    def as_json(self) -> dict[str, object]:
        """The same as plain values, for `--json`."""
        return {
            "total": self.total,
            "counts": {state.value: self.counts.get(state, 0) for state in State},
            "spent": [str(money) for money in self.spent],
            "budget": str(self.budget) if self.budget else None,
            "eta_seconds": None if self.eta is None else round(self.eta),
            "stopping": self.stopping,
            "providers": [
                {
                    "provider": lane.name,
                    "counts": {
                        state.value: number for state, number in lane.counts.items() if number
                    },
                    "limit": lane.why,
                }
                for lane in self.lanes
            ],
        }


class Pace:
    """How fast jobs have been finishing."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def left(self, now: float, ended: int, remaining: int) -> float | None:
        """Seconds until `remaining` more have ended, if it goes on like this; None where nobody can tell yet."""
        if not self._seen or now - self._seen[-1][0] >= 1.0:
            self._seen.append((now, ended))
        while len(self._seen) > 2 and now - self._seen[0][0] > PACE_WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        passed, finished = now - since, ended - before
        if passed < SHORTEST_PACE or finished <= 0 or remaining <= 0:
            return None
        return remaining * passed / finished


def look(engine: Engine, pace: Pace, now: float) -> Progress:
    """Read the board."""
    lanes = tuple(_lane(engine, lane, now) for lane in engine.board.lanes.values())
    counts: Counter[State] = Counter()
    for lane in lanes:
        counts.update(lane.counts)
    ended = sum(number for state, number in counts.items() if state.ended)
    held = sum(lane.counts.get(State.QUEUED, 0) for lane in lanes if lane.held)
    doubtful = counts[State.IN_DOUBT]
    remaining = sum(counts.values()) - ended - held - doubtful
    return Progress(
        lanes=lanes,
        counts=dict(counts),
        eta=pace.left(now, ended, remaining) if counts else None,
        stopping=engine.stopping,
    )


def _lane(engine: Engine, lane: Lane, now: float) -> LaneView:
    name = lane.provider.name
    counts: Counter[State] = Counter()
    for (_, provider, state), number in engine.board.tally.items():
        if provider == name and number > 0:
            counts[state] += number
    limiter = lane.limiter
    return LaneView(
        name=name,
        counts=counts,
        why=_why(engine, lane, counts[State.QUEUED], now),
        held=limiter.cause if limiter.held else None,
        detail=limiter.detail,
    )


def _why(engine: Engine, lane: Lane, queued: int, now: float) -> str:
    """What the next submit waits for, in a few words."""
    limiter = lane.limiter
    flying = f"{limiter.in_flight} in flight"
    if limiter.cap is not None:
        flying += f" of {limiter.cap}"
    if engine.stopping:
        return f"{flying}, no new submits"
    if limiter.held:
        return f"held: {limiter.cause}"
    if lane.outage.questions.closed or (queued and lane.outage.submits.wait(now) > 0):
        return f"{flying}, no answer from the provider"
    if not queued:
        return flying if limiter.in_flight else "nothing left to submit"
    if any(source.over_budget for source in lane.sources):
        return f"{flying}, budget reached"
    room = lane.room(now)
    if limiter.full or room.wait < SHORTEST_WAIT or not room.why:
        return flying
    wait = "" if math.isinf(room.wait) else f", next in {stopwatch(room.wait)}"
    return f"{flying}, {room.why}{wait}"


def trouble(job: Job, event: Event) -> str | None:
    """What kind of trouble an event brings, in a word or two; None where it brings none."""
    if job.state is State.FAILED:
        return "failed"
    if job.state is State.IN_DOUBT and isinstance(event, Unclear):
        return "in doubt" if job.due_at is None else None  # else it is looked up at the provider
    if job.cause is not None and job.cause.needs_person and job.state is not State.IN_DOUBT:
        return "needs you"
    return None


def budget_of(batches: Sequence[Batch], run: Money | None) -> Money | None:
    """The budget that a run is shown against: its own, else the sum of its batches' where each has one."""
    if run is not None:
        return run
    moneys = [batch.budget for batch in batches if batch.budget]
    if not moneys or len(moneys) < len(batches) or len({money.currency for money in moneys}) > 1:
        return None
    return Money(sum(money.micros for money in moneys), moneys[0].currency)
