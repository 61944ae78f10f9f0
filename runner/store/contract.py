"""What every store promises, once; `tests/store/test_contract.py` runs for each implementation.

- A write is durable when its await returns, whole or not at all, whatever is cancelled or killed meanwhile.
- Every write to a job names the state and the fence it expects. Where they don't match, nothing is changed and the
  answer is None (or STALE): the job is no longer the caller's.
- The right to send is a row: `intend` makes attempt, reservation and state durable together, before the request.
- The store holds all that is needed to go on: after a kill -9 at any moment, `claim_open` and `claim_queued` return
  exactly the work that is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from runner.budget import Money
from runner.events import Artifact, Event, Intended
from runner.job import Job, Spec, State

OPEN_PAGE = 500  # jobs in the air that are taken up at a time


@dataclass(frozen=True, slots=True)
class Batch:
    """The jobs of one manifest under one name, as it was last run. `timeout` in seconds."""

    name: str
    manifest: str
    digest: str
    provider: str
    on_doubt: str = "hold"
    timeout: float | None = None
    limits: Mapping[str, str | int] | None = None
    budget: Money | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` found: jobs that are new, known before, and known but no longer in the manifest."""

    new: int = 0
    kept: int = 0
    orphaned: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that was taken up, with what its next step needs.

    `submitted_at`, `client_ref` and `price` are those of its last attempt, `made` says that the provider finished that
    one; `artifacts` and `expires_at` are what a `ready` job fetches. `doubted`: it was found in `submitting`.
    """

    job: Job
    batch: int
    submitted_at: float | None = None
    client_ref: str = ""
    price: Money | None = None
    made: bool = False
    artifacts: tuple[Artifact, ...] = ()
    expires_at: float | None = None
    doubted: bool = False


class Intent(StrEnum):
    """What became of the wish to send."""

    DURABLE = "durable"
    STALE = "stale"
    OVER_BUDGET = "over_budget"


@dataclass(frozen=True, slots=True)
class ProviderState:
    """What is known of a provider that outlives a run. Times in Unix seconds."""

    paused_until: float | None = None
    cause: str | None = None
    detail: str = ""
    in_flight: int | None = None
    probes: tuple[float, ...] = ()


class Store(Protocol):
    """The truth about jobs and money."""

    async def add(
        self, batch: Batch, specs: Iterable[Sequence[Spec]], now: float
    ) -> tuple[Batch, Added]:
        """Store a batch and its jobs, slice by slice; known jobs are kept as they are. Returns it with its number.

        Queued jobs take the batch's provider. Jobs that `specs` no longer names are marked as orphaned, and come
        back when it names them again. If `specs` raises, nothing of the batch has changed; after a kill in the
        middle its digest is empty, and it may not be run before it was stored whole.
        """

    async def batches(self) -> list[Batch]:
        """Every batch, oldest first."""

    async def unfinished(self) -> list[Batch]:
        """Batches with work left, oldest first; cancelled jobs that may still complete are work, too."""

    async def begin_run(self, now: float, budget: Money | None = None) -> int:
        """Open a run; its number goes with every intent."""

    async def end_run(self, run: int, now: float, exit_code: int) -> None:
        """Close a run."""

    async def carriers(self, batches: Sequence[int]) -> set[str]:
        """The providers that have jobs of these batches in the air."""

    async def claim_open(
        self, batches: Sequence[int], now: float, after: int = 0, limit: int = OPEN_PAGE
    ) -> list[Claimed]:
        """Take up the first jobs in the air whose number is above `after`, raising their fences; none: that is all.

        A job found in `submitting` was in the air when its runner ended: it is recorded as Unclear first.
        """

    async def claim_queued(self, batch: int, now: float, limit: int) -> list[Claimed]:
        """The next queued jobs of a batch that are due, oldest due first; the same again until intended."""

    async def intend(self, job: Job, intended: Intended, run: int, now: float) -> Intent:
        """Queued → submitting, with the attempt's row and the reservation of its price, in one transaction."""

    async def record(
        self, job: Job, event: Event, now: float, due_at: float | None, *, watch: bool = False
    ) -> State | None:
        """Move the job from the state it is in by `event`, settling money and history in the same transaction.

        `due_at` is when to look at it next (None: a person has to). A job that ended is looked at no more, unless
        `watch`: cancelled by us, it may still complete at the provider. Returns the state it is in now (in doubt, and
        held, if the provider gave it an id that another job has), or None: it is no longer the caller's.
        """

    async def load(self, number: int) -> Claimed | None:
        """A job by its number, whole, as it is now; None where there is none."""

    async def next_queued(self, batches: Sequence[int]) -> float | None:
        """When the earliest queued job of these batches falls due; None where there is none."""

    async def counts(self, batches: Sequence[int]) -> dict[tuple[int, str, State], int]:
        """Jobs by batch, provider and state; of orphaned ones only what was, or may have been, bought for good.

        They are those of the moment of the call. It takes half a second per million jobs, and no write waits for it.
        """

    async def recent_submits(self, provider: str, since: float, now: float) -> list[float]:
        """When the attempts since then were answered, or now if they were not: so a rate holds across a restart."""

    async def provider_state(self, provider: str) -> ProviderState:
        """What earlier runs learned of a provider."""

    async def save_provider_state(self, provider: str, state: ProviderState) -> None:
        """Remember it."""

    async def latencies(self) -> dict[str, tuple[float, float, float]]:
        """What was learned of how long jobs take: weight, mean and spread of the logarithm, by name."""

    async def save_latencies(self, learned: Mapping[str, tuple[float, float, float]]) -> None:
        """Remember it."""
