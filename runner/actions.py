"""What a person decides about jobs: send again, give up, settle a doubt, look after the files.

All of it goes through the same table and the same ledger as a run does, under the same lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from runner.budget import Money
from runner.causes import Cause
from runner.clock import Clock
from runner.errors import UsageError
from runner.events import Accepted, Cancelled, Event, Gone, Rejected, Requeued
from runner.http import Http
from runner.job import Job, State, advanced
from runner.providers import Provider, dialect_for, price
from runner.settings import Settings
from runner.steps import ask
from runner.store import SqliteStore, StateFolder

# Paid for, made, and not on disk: to look again costs nothing, to send again would pay a second time.
FETCHABLE = frozenset({
    Cause.EXPIRED,
    Cause.CORRUPT_MEDIA,
    Cause.TOO_LARGE,
    Cause.DOWNLOAD_FAILED,
    Cause.LOST_REMOTE,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one job: where it is now, and a word on it."""

    job: Job
    state: State
    note: str


class Actions:
    """Decisions about stored jobs. Each takes jobs as they were read, and leaves those alone that moved since."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or Clock()
        self._providers = settings.providers()

    def price_of(self, jobs: Iterable[Job]) -> tuple[Money | None, int]:
        """What sending these jobs would cost, and how many of them have no known price."""
        total: Money | None = None
        unknown = 0
        for job in jobs:
            provider = self._providers.get(job.provider)
            cost = price(provider, job.spec.model, job.spec.params) if provider else None
            unknown += cost is None
            total = total if cost is None else (cost if total is None else total + cost)
        return total, unknown

    @staticmethod
    def free_to_retry(job: Job) -> bool:
        """Whether a retry only looks again for what is paid for already."""
        return job.cause in FETCHABLE and job.remote is not None

    async def retry(self, jobs: Sequence[Job], *, buy: bool = False) -> list[Done]:
        """Queue failed and cancelled jobs again; what is paid for is looked for again instead, unless `buy`."""
        async with self._store() as store:
            return [await self._retry(store, job, buy=buy) for job in jobs]

    async def _retry(self, store: SqliteStore, job: Job, *, buy: bool) -> Done:
        if job.state not in (State.FAILED, State.CANCELLED):
            return Done(
                job, job.state, f"is {job.state}: only failed and cancelled jobs are retried"
            )
        if self.free_to_retry(job) and not buy and job.state is State.FAILED:
            assert job.remote is not None
            return await self._record(
                store, job, Accepted(job.remote), "asked for again, free of charge"
            )
        return await self._record(store, job, Requeued("retried by hand"), "queued again")

    async def adopt(self, job: Job, remote_id: str) -> Done:
        """The provider has it, under this id: from now on it is polled.

        Raises:
            UsageError: the job is not in doubt, or the id can't be one.
        """
        _in_doubt(job)
        remote = dialect_for(self._provider(job), job.spec.model).remote(job.spec.model, remote_id)
        async with self._store() as store:
            done = await self._record(store, job, Accepted(remote), f"adopted as {remote_id}")
        if done.state is State.IN_DOUBT:
            return Done(
                job, done.state, f"{remote_id} belongs to another job already: nothing was changed"
            )
        return done

    async def settle(self, jobs: Sequence[Job], event: Event, note: str) -> list[Done]:
        """End the doubt about jobs as `event` says.

        Raises:
            UsageError: one of them is not in doubt; nothing was changed.
        """
        for job in jobs:
            _in_doubt(job)
        async with self._store() as store:
            return [await self._record(store, job, event, note) for job in jobs]

    async def lost(self, jobs: Sequence[Job]) -> list[Done]:
        """The provider did not take them: queue them again, nothing was spent."""
        return await self.settle(
            jobs, Requeued("not taken, said by hand", billed=False), "queued again"
        )

    async def resubmit(self, jobs: Sequence[Job]) -> list[Done]:
        """Send them again although nobody knows: both attempts count as spent."""
        return await self.settle(
            jobs, Requeued("sent again in doubt, by hand"), "queued again, may be paid twice"
        )

    async def paid(self, jobs: Sequence[Job]) -> list[Done]:
        """Taken and gone: failed, and counted as spent."""
        event = Rejected(Cause.ANSWER_LOST, "taken and gone, said by hand", billed=True)
        return await self.settle(jobs, event, "failed, counted as spent")

    async def cancel(self, jobs: Sequence[Job]) -> list[Done]:
        """Give jobs up. What is with a provider is cancelled there where that can be done, and watched where not."""
        async with self._store() as store, Http(self._settings.keys, self._clock) as http:
            return [await self._cancel(store, http, job) for job in jobs]

    async def _cancel(self, store: SqliteStore, http: Http, job: Job) -> Done:
        if job.state is State.QUEUED:
            return await self._record(
                store, job, Cancelled("before it was sent"), "cancelled, nothing was spent"
            )
        if job.state is State.IN_DOUBT:
            return Done(job, job.state, "is in doubt: type runner resolve")
        if job.state is not State.RUNNING or job.remote is None:
            return Done(job, job.state, f"is {job.state}: there is nothing to cancel")
        provider = self._provider(job)
        exchange = dialect_for(provider, job.spec.model).cancel(job.remote)
        if exchange is None:
            note = f"{provider.name} can't cancel: it goes on there and is billed; if it completes, the clip is kept"
            return await self._record(store, job, Cancelled(note), note, watch=True)
        answer = await ask(http, provider, exchange)
        if isinstance(answer, Cancelled):
            note = answer.detail or "the provider was told to stop"
        else:
            note = f"the provider did not stop it ({getattr(answer, 'detail', '')}); if it completes, the clip is kept"
        return await self._record(store, job, Cancelled(note), note, watch=True)

    async def fetch_again(self, jobs: Sequence[Job]) -> list[Done]:
        """Ask the provider once more for the clips of done jobs whose files are gone or damaged."""
        async with self._store() as store:
            return [
                await self._record(
                    store, job, Gone("the file is gone or damaged"), "will be fetched again"
                )
                for job in jobs
            ]

    async def _record(
        self, store: SqliteStore, job: Job, event: Event, note: str, *, watch: bool = False
    ) -> Done:
        now = self._clock.now()
        state = await store.record(job, event, now, now, watch=watch)
        if state is None:
            return Done(
                job, job.state, "moved meanwhile and was left alone; look again: runner show"
            )
        return Done(advanced(job, state, event, now, now), state, note)

    def _provider(self, job: Job) -> Provider:
        provider = self._providers.get(job.provider)
        if provider is None:
            raise UsageError(
                f"no provider is called {job.provider} any more. Declare it again in providers.yaml"
            )
        return provider

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[SqliteStore]:
        async with SqliteStore(StateFolder(self._settings.state), self._clock.now()) as store:
            yield store


def _in_doubt(job: Job) -> None:
    if job.state is not State.IN_DOUBT:
        raise UsageError(f"{job.spec.batch}/{job.spec.id} is {job.state}, not in doubt")
