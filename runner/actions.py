"""What a person decides about jobs: send again, give up, settle a doubt, look after the files.

All of it goes through the same table and the same ledger as a run does, under the same lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from runner.budget import Money
from runner.causes import FETCHABLE, Cause
from runner.clock import Clock
from runner.errors import UsageError
from runner.events import Accepted, Cancelled, Delayed, Event, Gone, Rejected, Requeued
from runner.files import Files, part_tag
from runner.http import Http
from runner.job import Job, State, advanced
from runner.providers import Provider, dialect_for, price
from runner.settings import Settings
from runner.steps import ask
from runner.store import SqliteStore, StateFolder
from runner.store.reader import reading
from runner.verification import Checked, Verdict, set_aside

_WITH_PARTS = tuple(state for state in State if state not in (State.QUEUED, State.DONE))
# Answers to "stop it" after which it may as well be given up: the provider will not stop it.
_CANT_STOP = frozenset({Cause.NOT_PERMITTED, Cause.LOST_REMOTE})
_KEPT = "if it completes, the next run keeps the clip"


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one job: where it is now, a word on it, and whether anything changed."""

    job: Job
    state: State
    note: str
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Retry:
    """What a retry would do: jobs to buy again, jobs to look for again, and jobs that are left alone and why."""

    bought: tuple[Job, ...]
    fetched: tuple[Job, ...]
    left: tuple[Done, ...]


class Actions:
    """Decisions about stored jobs. Each takes jobs as they were read, and leaves those alone that moved since."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or Clock()
        self._providers = settings.providers()
        self._folder = StateFolder(settings.state)

    def price_of(self, jobs: Iterable[Job]) -> tuple[tuple[Money, ...], int]:
        """What sending these jobs would cost, by currency, and how many of them have no known price."""
        sums: dict[str, Money] = {}
        unknown = 0
        for job in jobs:
            provider = self._providers.get(job.provider)
            cost = price(provider, job.spec.model, job.spec.params) if provider else None
            unknown += cost is None
            if cost is not None:
                before = sums.get(cost.currency)
                sums[cost.currency] = cost if before is None else before + cost
        return tuple(sums.values()), unknown

    # -- again -----------------------------------------------------------------------------------------------------

    def plan_retry(self, jobs: Sequence[Job], *, buy: bool = False) -> Retry:
        """Sort jobs by what a retry would do; with `buy` even what could be looked for again is bought."""
        bought, fetched, left = list[Job](), list[Job](), list[Done]()
        gone = self._orphaned(jobs)
        for job in jobs:
            if job.state is State.FAILED and job.cause in FETCHABLE and job.remote and not buy:
                fetched.append(job)
            elif (why := _not_to_buy(job, job.number in gone, buy)) is not None:
                left.append(Done(job, job.state, why, changed=False))
            else:
                bought.append(job)
        return Retry(tuple(bought), tuple(fetched), tuple(left))

    async def retry(self, plan: Retry) -> list[Done]:
        """Queue failed and cancelled jobs again, and look again for what is paid for already."""
        requeued = Requeued("retried by hand")
        async with self._store() as store:
            done = [await self._record(store, job, requeued, "queued again") for job in plan.bought]
            for job in plan.fetched:
                assert job.remote is not None
                event = Accepted(job.remote)
                done.append(
                    await self._record(store, job, event, "asked for again, free of charge")
                )
        return [*done, *plan.left]

    async def fetch_again(self, broken: Sequence[Checked]) -> list[Done]:
        """Have the clips of done jobs whose files are gone or damaged fetched again; damaged files are set aside."""
        jobs = {each.job.number: each.job for each in broken}
        stays = {job.number for job in jobs.values() if job.remote is None}
        event, done = Gone("the file is gone or damaged"), list[Done]()
        async with self._store() as store:
            for each in broken:
                if each.verdict is Verdict.DAMAGED and each.job.number not in stays:
                    await asyncio.to_thread(set_aside, self._folder.outputs / each.path)
            for job in jobs.values():
                if job.number in stays:
                    why = "the provider gave it no id, so it can't be asked for again"
                    done.append(Done(job, job.state, why, changed=False))
                else:
                    done.append(await self._record(store, job, event, "will be fetched again"))
        return done

    async def sweep(self) -> int:
        """Remove what broken downloads left and no job can go on with; says how many files."""
        async with self._store():
            with reading(self._folder) as reader:
                assert reader is not None
                numbers = [batch.number for batch in reader.batches()]
                needed = {
                    part_tag(job.spec.key, job.attempt)
                    for job in reader.jobs(numbers, _WITH_PARTS)
                    if job.state is not State.FAILED or job.cause in FETCHABLE
                }
            files = Files(self._folder.outputs, self._clock)
            return await asyncio.to_thread(files.sweep_parts, needed)

    # -- doubt -----------------------------------------------------------------------------------------------------

    async def adopt(self, job: Job, remote_id: str) -> Done:
        """The provider has it, under this id: from now on it is polled.

        Raises:
            UsageError: the job is not in doubt, or the id can't be one.
        """
        _doubtful(job)
        provider = self._provider(job)
        dialect = dialect_for(provider, job.spec.model)
        remote = dialect.remote(job.spec.model, remote_id)
        async with self._store() as store:
            why = self._taken(job, remote_id)
            if why is not None:
                return Done(job, job.state, f"{why}: nothing was changed", changed=False)
            async with Http(self._settings.keys, self._clock) as http:
                answer = await ask(http, provider, dialect.poll(remote))
            note = f"adopted as {remote_id}"
            if isinstance(answer, Delayed):
                if answer.cause is Cause.LOST_REMOTE:
                    why = f"{provider.name} knows no job {remote_id} ({answer.detail})"
                    return Done(job, job.state, f"{why}: nothing was changed", changed=False)
                note += f"; it could not be checked: {answer.detail}"
            return await self._settle(store, job, Accepted(remote), note)

    async def lost(self, jobs: Sequence[Job]) -> list[Done]:
        """The provider did not take them: queue them again, nothing was spent."""
        event = Requeued("not taken, said by hand", billed=False)
        return await self._settle_all(jobs, event, "queued again, nothing was spent")

    async def resubmit(self, jobs: Sequence[Job]) -> list[Done]:
        """Send them again although nobody knows: both attempts count as spent."""
        event = Requeued("sent again in doubt, by hand")
        return await self._settle_all(jobs, event, "queued again, may be paid twice")

    async def paid(self, jobs: Sequence[Job]) -> list[Done]:
        """Taken and gone: failed, and counted as spent."""
        event = Rejected(Cause.ATTEMPTS_SPENT, "taken and gone, said by hand", billed=True)
        return await self._settle_all(jobs, event, "failed, counted as spent")

    async def _settle_all(self, jobs: Sequence[Job], event: Event, note: str) -> list[Done]:
        for job in jobs:
            _doubtful(job)
        async with self._store() as store:
            return [await self._settle(store, job, event, note) for job in jobs]

    async def _settle(self, store: SqliteStore, job: Job, event: Event, note: str) -> Done:
        """End a doubt. A job that the provider lost has failed first: only then it can go another way."""
        if job.state is State.RUNNING and not isinstance(event, Rejected):
            billed = event.billed if isinstance(event, Requeued) else None
            failed = Rejected(Cause.LOST_REMOTE, job.detail, billed=billed)
            done = await self._record(store, job, failed, note)
            if not done.changed:
                return done
            job = done.job
        return await self._record(store, job, event, note)

    # -- giving up -------------------------------------------------------------------------------------------------

    async def cancel(self, jobs: Sequence[Job]) -> list[Done]:
        """Give jobs up. What is with a provider is cancelled there where that can be done, and watched where not."""
        async with self._store() as store, Http(self._settings.keys, self._clock) as http:
            return [await self._cancel(store, http, job) for job in jobs]

    async def _cancel(self, store: SqliteStore, http: Http, job: Job) -> Done:
        if job.state is State.QUEUED:
            event = Cancelled("before it was sent")
            return await self._record(store, job, event, "cancelled before it was sent")
        if job.state is not State.RUNNING or job.remote is None:
            return Done(job, job.state, _nothing_to_cancel(job.state), changed=False)
        provider = self._providers.get(job.provider)
        if provider is None or not provider.base_url:
            why = f"{job.provider} is not declared any more. Declare it again in providers.yaml"
            return Done(job, job.state, why, changed=False)
        exchange = dialect_for(provider, job.spec.model).cancel(job.remote)
        if exchange is None:
            note = f"{provider.name} can't cancel: it goes on there and is billed; {_KEPT}"
            return await self._record(store, job, Cancelled(note), note, watch=True)
        answer = await ask(http, provider, exchange)
        detail = getattr(answer, "detail", "")
        if isinstance(answer, Cancelled):
            note = f"{detail or 'the provider was asked to stop'}; {_KEPT}"
        elif isinstance(answer, Delayed) and answer.cause in _CANT_STOP:
            note = f"the provider did not stop it ({detail}); {_KEPT}"
        else:
            return Done(
                job, job.state, f"not cancelled, it is still fetched: {detail}", changed=False
            )
        return await self._record(store, job, Cancelled(note), note, watch=True)

    # -- what they share -------------------------------------------------------------------------------------------

    async def _record(
        self, store: SqliteStore, job: Job, event: Event, note: str, *, watch: bool = False
    ) -> Done:
        now = self._clock.now()
        state = await store.record(job, event, now, now, watch=watch)
        if state is None:
            why = "moved meanwhile and was left alone; look again: runner show"
            return Done(job, job.state, why, changed=False)
        after = advanced(job, state, event, now, now)
        return Done(replace(after, due_at=now) if watch else after, state, note)

    def _taken(self, job: Job, remote_id: str) -> str | None:
        """Why an id can't be this job's: it is another one's, or that of an earlier attempt."""
        with reading(self._folder) as reader:
            owner = reader.owner(job.provider, remote_id) if reader else None
        if owner is None or owner == (job.number, job.attempt):
            return None
        if owner[0] == job.number:
            return f"{remote_id} is the id of its attempt {owner[1]}"
        return f"{remote_id} belongs to another job already (runner show {remote_id})"

    def _orphaned(self, jobs: Sequence[Job]) -> set[int]:
        with reading(self._folder) as reader:
            return reader.orphaned([job.number for job in jobs]) if reader else set()

    def _provider(self, job: Job) -> Provider:
        provider = self._providers.get(job.provider)
        if provider is None:
            raise UsageError(
                f"no provider is called {job.provider} any more. Declare it again in providers.yaml"
            )
        return provider

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[SqliteStore]:
        async with SqliteStore(self._folder, self._clock.now()) as store:
            yield store


def _doubtful(job: Job) -> None:
    """Only what nobody knows is settled by hand: a lost answer, or a job that the provider lost."""
    lost = job.state is State.RUNNING and job.cause is Cause.LOST_REMOTE and job.due_at is None
    if job.state is not State.IN_DOUBT and not lost:
        raise UsageError(f"{job.spec.batch}/{job.spec.id} is {job.state}, not in doubt")


def _not_to_buy(job: Job, orphaned: bool, buy: bool) -> str | None:
    """Why a job isn't bought again; None where it may be."""
    if job.state not in (State.FAILED, State.CANCELLED):
        return f"is {job.state}: only failed and cancelled jobs are retried"
    if orphaned:
        return "has left the manifest: put it in again, then runner run sends it"
    if job.state is State.CANCELLED and job.due_at is not None and not buy:
        return (
            "may still complete at the provider: runner resume looks; with --buy it is bought anew"
        )
    return None


def _nothing_to_cancel(state: State) -> str:
    if state is State.IN_DOUBT:
        return "is in doubt: runner resolve settles it"
    if state is State.SUBMITTING:
        return "was in the air when its runner ended: runner resume finds out first whether it was taken"
    if state is State.READY:
        return "is made and paid for: runner resume fetches the clip"
    return f"is {state}: there is nothing to cancel"
