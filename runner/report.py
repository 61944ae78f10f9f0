"""What there is to say about batches: counts, money, failures by cause, what needs a person, and the exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.budget import Money
from runner.causes import Cause
from runner.job import State
from runner.store.contract import Batch
from runner.store.reader import Group, Reader

LATE = 3600.0
"""Seconds after which nobody is expected to look a job in doubt up any more."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One batch at one moment.

    `span` is from its first submit to its last change (Unix seconds), `pace` how many of its jobs end per second.
    """

    batch: Batch
    counts: Mapping[State, int]
    orphaned: int
    spent: tuple[Money, ...]
    in_doubt: tuple[Money, ...]
    unpriced: int
    groups: tuple[Group, ...]
    span: tuple[float, float] | None = None
    pace: float | None = None

    @property
    def total(self) -> int:
        """Jobs of the batch, without those that left the manifest before they were sent."""
        return sum(self.counts.values())

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left to do."""
        return all(state.ended for state, count in self.counts.items() if count)

    @property
    def needs_person(self) -> int:
        """Jobs that only a person can settle."""
        return sum(group.count for group in self.groups if needs_person(group))

    @property
    def movable(self) -> int:
        """Jobs that a run could get on with by itself."""
        held = sum(
            group.count for group in self.groups if needs_person(group) and not group.state.ended
        )
        return sum(count for state, count in self.counts.items() if not state.ended) - held

    @property
    def left(self) -> float | None:
        """Seconds that it may still take at its latest pace; None where nobody can tell."""
        making = self.counts.get(State.RUNNING, 0) + self.counts.get(State.SUBMITTING, 0)
        return self.movable / self.pace if self.pace and making and self.movable > 0 else None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, for `--json`."""
        return {
            "batch": self.batch.name,
            "total": self.total,
            "counts": {state.value: self.counts.get(state, 0) for state in State},
            "orphaned": self.orphaned,
            "spent": [str(money) for money in self.spent],
            "in_doubt": [str(money) for money in self.in_doubt],
            "attempts_without_price": self.unpriced,
            "budget": str(self.batch.budget) if self.batch.budget else None,
            "first_submit_at": self.span[0] if self.span else None,
            "last_change_at": self.span[1] if self.span else None,
            "eta_seconds": None if self.left is None else round(self.left),
            "causes": [
                {
                    "state": group.state.value,
                    "cause": group.cause,
                    "detail": group.detail,
                    "count": group.count,
                    "example": group.example,
                    "held": group.held,
                    "needs_person": needs_person(group),
                    "fix": Cause(group.cause).fix if group.cause else None,
                }
                for group in self.groups
            ],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Several batches at one moment."""

    batches: tuple[BatchReport, ...] = field(default=())

    def count(self, *states: State) -> int:
        """Jobs in these states, over all batches."""
        return sum(batch.counts.get(state, 0) for batch in self.batches for state in states)

    @property
    def total(self) -> int:
        """All jobs."""
        return sum(batch.total for batch in self.batches)

    @property
    def needs_person(self) -> int:
        """Jobs that only a person can settle."""
        return sum(batch.needs_person for batch in self.batches)

    def exit_code(self) -> int:
        """4 some need a person · 3 some failed · 0 neither; the worst wins."""
        if self.needs_person:
            return 4
        if self.count(State.FAILED):
            return 3
        return 0


def needs_person(group: Group) -> bool:
    """Whether jobs in this state and for this cause wait for a person; those that are still looked up don't.

    Where look-ups came to nothing for long, no run waits for them any more.
    """
    if group.state is State.IN_DOUBT:
        return group.held or group.cause in (Cause.STUCK, Cause.INTERNAL)
    return group.cause is not None and Cause(group.cause).needs_person


def report(reader: Reader, names: Sequence[str] = (), now: float | None = None) -> Report:
    """Look at the batches of these names, or at all.

    With `now` (Unix seconds) a job in doubt counts as held, too, if nobody has looked it up for an hour.
    """
    chosen = [batch for batch in reader.batches() if not names or batch.name in names]
    numbers = [batch.number for batch in chosen]
    if not numbers:
        return Report()
    counts, spends = reader.counts(numbers), reader.spend(numbers)
    groups = reader.groups(numbers, 0.0 if now is None else now - LATE)
    return Report(
        tuple(
            BatchReport(
                batch=batch,
                counts=_by_state(counts, batch.number),
                orphaned=reader.orphans(batch.number),
                spent=tuple(spend.committed for spend in spends if spend.batch == batch.number),
                in_doubt=tuple(
                    spend.in_doubt
                    for spend in spends
                    if spend.batch == batch.number and spend.in_doubt.micros
                ),
                unpriced=sum(spend.unpriced for spend in spends if spend.batch == batch.number),
                groups=tuple(group for group in groups if group.batch == batch.number),
                span=reader.span(batch.number),
                pace=reader.pace(batch.number),
            )
            for batch in chosen
        )
    )


def _by_state(counts: Mapping[tuple[int, str, State], int], batch: int) -> dict[State, int]:
    found: dict[State, int] = {}
    for (number, _, state), count in counts.items():
        if number == batch:
            found[state] = found.get(state, 0) + count
    return found
