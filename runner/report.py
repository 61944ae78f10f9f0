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

PERSON_STATES = frozenset({State.IN_DOUBT})


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One batch at one moment."""

    batch: Batch
    counts: Mapping[State, int]
    orphaned: int
    spent: tuple[Money, ...]
    in_doubt: tuple[Money, ...]
    unpriced: int
    groups: tuple[Group, ...]
    seconds: float | None = None

    @property
    def total(self) -> int:
        """Jobs of the batch, without those that left the manifest before they were sent."""
        return sum(self.counts.values())

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left to do."""
        return all(state.ended for state, count in self.counts.items() if count)

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
            "causes": [
                {
                    "state": group.state.value,
                    "cause": group.cause,
                    "detail": group.detail,
                    "count": group.count,
                    "example": group.example,
                    "held": group.held,
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
        return sum(
            group.count for batch in self.batches for group in batch.groups if needs_person(group)
        )

    def exit_code(self) -> int:
        """0 all done · 4 some need a person · 5 budget reached · 3 some failed; the worst wins."""
        if self.needs_person:
            return 4
        if self.count(State.FAILED):
            return 3
        return 0


def needs_person(group: Group) -> bool:
    """Whether jobs in this state and for this cause wait for a person."""
    if group.state in PERSON_STATES:
        return True
    return group.cause is not None and Cause(group.cause).needs_person


def report(reader: Reader, names: Sequence[str] = ()) -> Report:
    """Look at the batches of these names, or at all."""
    chosen = [batch for batch in reader.batches() if not names or batch.name in names]
    numbers = [batch.number for batch in chosen]
    if not numbers:
        return Report()
    counts = reader.counts(numbers)
    groups, spends = reader.groups(numbers), reader.spend(numbers)
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
                seconds=_median(reader.durations(batch.number)),
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


def _median(values: Sequence[float]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None
