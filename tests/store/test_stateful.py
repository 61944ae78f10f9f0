"""The real store against a provider that keeps its own books, through crashes, in any order of things.

The machine below plays the engine, one event at a time, and the provider, whose ledger is the truth about what was
bought. After every step the rows have to agree with it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runner.budget import Money
from runner.causes import Cause
from runner.events import (
    Absent,
    Accepted,
    Artifact,
    Cancelled,
    Event,
    Finished,
    Gone,
    Intended,
    Refused,
    Rejected,
    Remote,
    Requeued,
    Saved,
    SavedFile,
    Unclear,
)
from runner.job import Job, Spec, State, advanced
from runner.store import Batch, Intent, SqliteStore, StateFolder
from tests.conftest import T0, make_spec

T = TypeVar("T")
SPECS = [make_spec(index) for index in range(6)]
BATCH = Batch(name="film", manifest="film.yaml", digest="d", provider="winfull")
PRICES = [None, 0, 70_000, 350_000]
SUBSETS = st.sets(st.sampled_from(range(len(SPECS))), min_size=3)


@dataclass
class Provider:
    """What the provider did: its tasks by id, each with our name for it. It bills every task but the refunded ones."""

    tasks: dict[str, str] = field(default_factory=dict)
    refunded: set[str] = field(default_factory=set)

    def take(self, client_ref: str) -> str:
        """Accept a paid request."""
        task = f"Task/{len(self.tasks)}"
        self.tasks[task] = client_ref
        return task

    def find(self, client_ref: str) -> str | None:
        """Look a request up by our name for it."""
        return next((task for task, ref in self.tasks.items() if ref == client_ref), None)


class Books(RuleBasedStateMachine):
    """One batch, one provider, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.home = Path(tempfile.mkdtemp(prefix="runner-books-"))
        self.lives = 0
        self.provider = Provider()
        self.jobs: dict[int, Job] = {}  # what the engine holds in memory, by number
        self.refs: dict[int, str] = {}
        self.known: set[str] = set()  # ids that an answer told us
        self.stale: list[Job] = []
        self.fences: dict[int, int] = {}
        self.budget: int | None = None
        self.now = T0
        self._open()

    def teardown(self) -> None:
        """Close what is open."""
        self._do(self.store.__aexit__())
        self.loop.close()
        shutil.rmtree(self.home)

    def _do(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.loop.run(wait())

    def _open(self) -> None:
        self.store = SqliteStore(StateFolder(self.home / str(self.lives)), self.now)
        self._do(self.store.__aenter__())
        # What is tested here is what the rows say, not that they survive a power cut: no waiting for the disk.
        self._do(self.store._flusher.alone(lambda c: c.execute("PRAGMA synchronous = OFF")))
        self.run = self._do(self.store.begin_run(self.now))

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._do(self.store._flusher.write(lambda c: c.execute(query).fetchall()))

    def _record(self, job: Job, event: Event) -> None:
        self.now += 1
        state = self._do(self.store.record(job, event, self.now, self.now))
        assert state is not None
        self.jobs[job.number] = advanced(job, state, event, self.now, self.now)
        if isinstance(event, Accepted):
            self.known.add(event.remote.id)

    # -- what happens --------------------------------------------------------------------------------------------

    @initialize(chosen=SUBSETS)
    def first_manifest(self, chosen: set[int]) -> None:
        """The batch is stored."""
        self.edit_manifest(chosen, None)

    @rule(chosen=SUBSETS, budget=st.sampled_from([None, 0, 400_000, 800_000]))
    def edit_manifest(self, chosen: set[int], budget: int | None) -> None:
        """The manifest names other jobs, or another budget."""
        parts: list[list[Spec]] = [[SPECS[index]] for index in sorted(chosen)]
        batch = replace(BATCH, budget=None if budget is None else Money(budget, "USD"))
        stored, _ = self._do(self.store.add(batch, parts, self.now))
        self.number, self.budget, self.chosen = stored.number, budget, chosen

    def _submit(self, data: st.DataObject) -> None:
        """A queued job of the manifest is about to be sent, if the money is there."""
        claims = self._do(self.store.claim_queued(self.number, self.now, 10))
        assert {claim.job.spec.key for claim in claims} <= {
            SPECS[index].key for index in self.chosen
        }
        if not claims:
            return
        job, price = data.draw(st.sampled_from(claims)).job, data.draw(st.sampled_from(PRICES))
        ref = f"{job.spec.key}-{job.attempt + 1}"
        intent = Intended(job.attempt + 1, ref, "digest", job.provider, self.now + 30, price, "USD")
        before = self._spent()
        outcome = self._do(self.store.intend(job, intent, self.run, self.now))
        fits = self.budget is None or before + (price or 0) <= self.budget
        assert outcome is (Intent.DURABLE if fits else Intent.OVER_BUDGET)
        if fits:
            self.jobs[job.number] = advanced(job, State.SUBMITTING, intent, self.now, self.now + 30)
            self.refs[job.number] = ref

    @rule(data=st.data(), steps=st.integers(4, 12))
    def work(self, data: st.DataObject, steps: int) -> None:
        """Jobs are sent, and one thing after another is learned of them."""
        for _ in range(steps):
            movable = [job for _, job in sorted(self.jobs.items()) if job.state is not State.DONE]
            job = data.draw(st.sampled_from([None, *movable]))
            if job is None:
                self._submit(data)
                continue
            {
                State.SUBMITTING: self._answer,
                State.IN_DOUBT: self._settle,
                State.RUNNING: self._poll,
                State.READY: self._fetch,
                State.FAILED: self._reconsider,
                State.CANCELLED: self._reconsider,
            }[job.state](job, data)
            if self.jobs[job.number].state is State.QUEUED:
                del self.jobs[job.number]
            self._check()

    def _answer(self, job: Job, data: st.DataObject) -> None:
        """The provider answers a submit, or the answer is lost on the way."""
        how = data.draw(
            st.sampled_from(["taken", "taken", "refused", "rejected", "lost", "lost but taken"])
        )
        task = self.provider.take(self.refs[job.number]) if "taken" in how else ""
        event: Event = Unclear("reset")
        if how == "taken":
            event = Accepted(Remote(task))
        elif how == "refused":
            event = Refused(Cause.RATE_LIMITED, "slow down")
        elif how == "rejected":
            event = Rejected(Cause.INVALID_INPUT, "no", billed=False)
        self._record(job, event)

    def _poll(self, job: Job, data: st.DataObject) -> None:
        """A clip is made, or fails, and is then billed or not."""
        assert job.remote is not None
        billed = data.draw(st.sampled_from([True, False, None]))
        if data.draw(st.booleans()):
            self._record(job, Finished((Artifact("https://media.example/1.mp4"),), lifetime=60.0))
            return
        if billed is False:
            self.provider.refunded.add(job.remote.id)
        self._record(job, Rejected(Cause.PROVIDER_ERROR, "oops", billed=billed))

    def _fetch(self, job: Job, data: st.DataObject) -> None:
        """A clip is saved, or its address no longer answers."""
        saved = Saved((SavedFile("film/1.mp4", "ab", 1, "video/mp4"),))
        self._record(job, saved if data.draw(st.booleans()) else Gone("404"))

    def _settle(self, job: Job, data: st.DataObject) -> None:
        """A doubt is looked up at the provider, or a person decides."""
        how = data.draw(st.sampled_from(["look up", "send again", "give up"]))
        task = self.provider.find(self.refs[job.number])
        event: Event = Accepted(Remote(task)) if task else Absent("no such task")
        if how != "look up":
            event = Requeued("resubmit") if how == "send again" else Cancelled("given up")
        self._record(job, event)

    def _reconsider(self, job: Job, data: st.DataObject) -> None:
        """An ended job is wanted once more, or what the provider did with it is learned late."""
        mine = {task for task, ref in self.provider.tasks.items() if ref == self.refs[job.number]}
        if data.draw(st.booleans()):
            self._record(job, Requeued("retry"))
        elif job.state is State.CANCELLED:  # not made after all, told perhaps more than once
            self.provider.refunded |= mine
            self._record(job, Rejected(Cause.CANCELLED, "cancelled there", billed=False))
        elif job.remote is not None and job.remote.id in mine:  # alive after all, and billed
            self.provider.refunded -= mine
            self._record(job, Accepted(job.remote))

    @rule(reached=st.sets(st.integers(1, len(SPECS))), orderly=st.booleans())
    def crash(self, reached: set[int], orderly: bool) -> None:
        """The process dies: the next one has the files as they were, and some requests in the air were taken."""
        for job in self.jobs.values():
            if job.state is State.SUBMITTING and job.number in reached:
                self.provider.take(self.refs[job.number])
        old, self.lives = self.home / str(self.lives), self.lives + 1
        if not orderly:  # the log of writes is still there, as after kill -9
            shutil.copytree(
                old, self.home / str(self.lives), ignore=shutil.ignore_patterns("*-shm", "*.lock")
            )
        self._do(self.store.__aexit__())
        if orderly:
            old.rename(self.home / str(self.lives))
        self.now += 10
        self._open()
        before = self.jobs
        ended = {n: job for n, job in before.items() if job.state.ended}
        claims = self._do(self.store.claim_open([self.number], self.now))
        self.jobs = ended | {claim.job.number: claim.job for claim in claims}
        assert self.jobs.keys() == before.keys()
        for number, job in before.items():
            expected = State.IN_DOUBT if job.state is State.SUBMITTING else job.state
            assert self.jobs[number].state is expected
        self.stale = [job for job in before.values() if not job.state.ended]

    @rule(data=st.data())
    def write_from_the_grave(self, data: st.DataObject) -> None:
        """A worker of the process that died, paused and woken, tries to write what it knows."""
        if not self.stale:
            return
        job = data.draw(st.sampled_from(self.stale))
        event: Event = Accepted(Remote("stale"))
        if job.state is State.RUNNING:
            event = Rejected(Cause.PROVIDER_ERROR, "stale", billed=False)
        elif job.state is State.READY:
            event = Gone("stale")
        assert self._do(self.store.record(job, event, self.now, self.now)) is None

    def _check(self) -> None:
        self.nothing_is_bought_that_the_rows_do_not_know()
        self.the_sum_is_the_sum_of_its_parts()

    # -- what is always true -------------------------------------------------------------------------------------

    def _spent(self) -> int:
        return int(self._rows("SELECT spent_micros FROM batch")[0][0])

    @invariant()
    def nothing_is_bought_that_the_rows_do_not_know(self) -> None:
        """Each job's paid attempts are at least what the provider bills for it, and each has one name there."""
        refs = list(self.provider.tasks.values())
        assert len(refs) == len(set(refs)), "one attempt was bought twice"
        billed = [
            ref for task, ref in self.provider.tasks.items() if task not in self.provider.refunded
        ]
        counted = {
            ref for (ref,) in self._rows("SELECT client_ref FROM attempt WHERE billed IS NOT 0")
        }
        assert set(billed) <= counted

    @invariant()
    def the_sum_is_the_sum_of_its_parts(self) -> None:
        """What a batch and its runs have spent is the sum over attempts that are not verified as free."""
        open_ = "SELECT coalesce(sum(price_micros), 0) FROM attempt WHERE billed IS NOT 0"
        ((total,),) = self._rows(open_)
        assert self._spent() == total
        runs = self._rows(f"SELECT id, spent_micros, ({open_} AND run = run.id) FROM run")
        assert [run for run, spent, parts in runs if spent != parts] == []

    @invariant()
    def what_was_accepted_is_in_rows(self) -> None:
        """No id that a provider told us is ever lost."""
        rows = self._rows("SELECT remote_id FROM attempt WHERE remote_id IS NOT NULL")
        assert {task for (task,) in rows} == self.known

    @invariant()
    def fences_only_grow(self) -> None:
        """A job's fence is never lower than it was."""
        fences = dict(self._rows("SELECT id, fence FROM job"))
        assert all(fences[number] >= fence for number, fence in self.fences.items())
        self.fences = fences

    @invariant()
    def memory_is_what_the_rows_say(self) -> None:
        """The jobs that the engine holds are where the rows say they are."""
        rows = {number: (state, fence, attempt) for number, state, fence, attempt in self._rows(
            "SELECT id, state, fence, attempt FROM job")}  # fmt: skip
        for number, job in self.jobs.items():
            assert rows[number] == (job.state, job.fence, job.attempt)


Books.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestBooks = Books.TestCase
TestBooks.__doc__ = (
    "Whatever happens in whatever order, the rows know of everything that was bought."
)


async def send(store: SqliteStore, job: Job) -> Job:
    """Make a job's next attempt durable."""
    number = job.attempt + 1
    intent = Intended(number, f"ref-{number}", "digest", "winfull", T0 + 30, 350_000, "USD")
    assert await store.intend(job, intent, 1, T0) is Intent.DURABLE
    return advanced(job, State.SUBMITTING, intent, T0, T0)


async def test_an_id_that_an_earlier_attempt_had_is_followed(store: SqliteStore) -> None:
    """A gateway that answers a second attempt with the first one's id doesn't cost the receipt."""
    batch, _ = await store.add(BATCH, [[SPECS[0]]], T0)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    job = await send(store, claim.job)
    for event in (Accepted(Remote("r1")), Rejected(Cause.PROVIDER_ERROR, "no"), Requeued("retry")):
        state = await store.record(job, event, T0, T0)
        assert state is not None
        job = advanced(job, state, event, T0, T0)
    job = await send(store, job)
    assert await store.record(job, Accepted(Remote("r1")), T0, T0) is State.RUNNING
    loaded = await store.load(job.number)
    assert loaded is not None
    assert (loaded.job.remote, loaded.job.attempt) == (Remote("r1"), 2)
