"""What every store promises. Each test runs on a real database file."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest

from runner.budget import Money
from runner.causes import Cause
from runner.events import (
    Absent,
    Accepted,
    Artifact,
    Cancelled,
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
from runner.job import IllegalTransition, Job, Spec, State, advanced
from runner.store import Added, Batch, Claimed, Intent, SqliteStore
from runner.store.reader import reading
from tests.conftest import T0, make_spec

BATCH = Batch(name="film", manifest="film.yaml", digest="d1", provider="winfull")


async def add(store: SqliteStore, count: int = 3, batch: Batch = BATCH) -> tuple[Batch, Added]:
    """Store a batch of so many jobs."""
    return await store.add(batch, [[make_spec(i, batch=batch.name) for i in range(count)]], T0)


def intended(job: Job, price: int | None = 350_000) -> Intended:
    """An intent for a job's next attempt."""
    number = job.attempt + 1
    return Intended(number, f"{job.spec.key}-{number}", "digest", "winfull", T0 + 30, price, "USD")


async def send(store: SqliteStore, job: Job, run: int, price: int | None = 350_000) -> Job:
    """Make a job's intent durable."""
    event = intended(job, price)
    assert await store.intend(job, event, run, T0) is Intent.DURABLE
    return advanced(job, State.SUBMITTING, event, T0, event.send_by)


async def spent(store: SqliteStore) -> int:
    """What the batch has cost or holds in reserve, in millionths."""
    rows = await store._flusher.write(
        lambda c: c.execute("SELECT spent_micros FROM batch").fetchall()
    )
    return int(rows[0][0])


async def test_a_batch_is_stored_once(store: SqliteStore) -> None:
    """Storing the same jobs again adds nothing."""
    batch, first = await add(store)
    _, second = await add(store)
    assert (first, second) == (Added(new=3), Added(kept=3))
    claims = await store.claim_queued(batch.number, T0, 10)
    assert [claim.job.spec for claim in claims] == [make_spec(i) for i in range(3)]


async def test_jobs_that_left_the_manifest_are_kept_and_never_sent(store: SqliteStore) -> None:
    """A job that the manifest no longer names is orphaned, and comes back with it."""
    batch, _ = await add(store, 3)
    _, fewer = await add(store, 2)
    assert fewer == Added(kept=2, orphaned=1)
    assert len(await store.claim_queued(batch.number, T0, 10)) == 2
    _, again = await add(store, 3)
    assert again == Added(kept=3)
    assert len(await store.claim_queued(batch.number, T0, 10)) == 3


async def test_a_manifest_that_fails_half_way_changes_nothing(store: SqliteStore) -> None:
    """When the jobs' source raises, no job of it stays and the batch is as before."""
    await add(store, 2)

    def torn() -> Iterator[list[Spec]]:
        yield [make_spec(i) for i in range(5)]
        raise ValueError("a mistake in line 6")

    with pytest.raises(ValueError, match="line 6"):
        await store.add(replace(BATCH, provider="fal", digest="d2"), torn(), T0)
    (batch,) = await store.batches()
    assert (batch.provider, batch.digest) == ("winfull", "d1")
    assert len(await store.claim_queued(batch.number, T0, 10)) == 2


async def test_a_first_manifest_that_fails_leaves_no_batch(store: SqliteStore) -> None:
    """A batch that never was whole is not there."""

    def torn() -> Iterator[list[Spec]]:
        yield [make_spec(0)]
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="mistake"):
        await store.add(BATCH, torn(), T0)
    assert await store.batches() == []


async def test_storing_keeps_no_job_in_memory(store: SqliteStore) -> None:
    """Twice as many slices take the same memory, for new jobs and for known ones; there is no table in memory."""

    def slices(count: int) -> Iterator[list[Spec]]:
        for at in range(count):
            yield [make_spec(at * 50 + number, filler="x" * 2_000) for number in range(50)]

    async def peak(count: int) -> int:
        tracemalloc.start()
        try:
            await store.add(BATCH, slices(count), T0)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak(2)  # fills the caches that there are
    for _ in ("new", "known"):
        once = await peak(10)
        assert await peak(20) - once < 500 * 50
    query = "SELECT name FROM temp.sqlite_master"
    assert await store._flusher.write(lambda c: c.execute(query).fetchall()) == []


async def test_an_intent_is_durable_before_it_is_acted_on(store: SqliteStore) -> None:
    """After `intend`, whoever opens the store finds the job in the air: in doubt."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    await send(store, claim.job, 1)
    (found,) = await store.claim_open([batch.number], T0 + 5)
    assert found.job.state is State.IN_DOUBT
    assert found.job.cause is Cause.ANSWER_LOST
    assert found.client_ref == f"{claim.job.spec.key}-1"
    assert found.submitted_at == T0


async def test_a_job_is_intended_once(store: SqliteStore) -> None:
    """Two callers with the same queued job: one may send, the other is told that it is no longer its own."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    outcomes = await asyncio.gather(
        *(store.intend(claim.job, intended(claim.job), 1, T0) for _ in range(5))
    )
    assert sorted(outcomes) == [Intent.DURABLE, *[Intent.STALE] * 4]


async def test_jobs_in_the_air_are_taken_up_in_pages(store: SqliteStore) -> None:
    """Page by page every job in the air comes once, with its new fence: of all batches, cancelled ones too."""
    film, _ = await add(store, 3)
    other, _ = await add(store, 3, replace(BATCH, name="other"))
    numbers = [film.number, other.number]
    for batch in numbers:
        for claim in await store.claim_queued(batch, T0, 3):
            job = await send(store, claim.job, 1)
            await store.record(job, Accepted(Remote(f"r{job.number}")), T0, T0)
    loaded = await store.load(2)
    assert loaded is not None
    await store.record(loaded.job, Cancelled("no more"), T0, T0, watch=True)
    found: list[Claimed] = []
    while page := await store.claim_open(numbers, T0, found[-1].job.number if found else 0, 2):
        assert len(page) <= 2
        found += page
    assert [(claim.job.number, claim.job.fence) for claim in found] == [(n, 2) for n in range(1, 7)]
    assert [claim.job.state for claim in found].count(State.CANCELLED) == 1
    assert await store.carriers(numbers) == {"winfull"}
    assert await store.carriers([0]) == set()


async def test_addresses_that_the_first_version_wrote_are_read(store: SqliteStore) -> None:
    """A job in the air keeps its paths, whether version 0.1.0 wrote its row or this one."""
    batch, _ = await add(store, 1)
    [claim] = await store.claim_queued(batch.number, T0, 1)
    remote = Remote("r1", {"status": "/q/r1/status", "result": "/q/r1"})
    await store.record(await send(store, claim.job, 1), Accepted(remote), T0, T0)
    [now] = await store.claim_open([batch.number], T0)
    first = '{"id":"r1","paths":{"result":"/q/r1","status":"/q/r1/status"}}'
    await store._flusher.write(lambda c: c.execute("UPDATE job SET remote = ?", (first,)))
    [then] = await store.claim_open([batch.number], T0)
    assert now.job.remote == then.job.remote == remote


async def test_counts_are_of_the_moment_of_the_call(store: SqliteStore) -> None:
    """What is written while the jobs are counted is not in the counts, and does not wait for them."""
    batch, _ = await add(store, 3)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    counts, outcome = await asyncio.gather(
        store.counts([batch.number]), store.intend(claim.job, intended(claim.job), 1, T0)
    )
    assert outcome is Intent.DURABLE
    assert counts == {(batch.number, "winfull", State.QUEUED): 3}
    assert await store.counts([batch.number]) == {
        (batch.number, "winfull", State.QUEUED): 2,
        (batch.number, "winfull", State.SUBMITTING): 1,
    }


async def test_a_write_with_an_old_fence_changes_nothing(store: SqliteStore) -> None:
    """Who lost a job to a later claim can't write it any more."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    job = await send(store, claim.job, 1)
    await store.claim_open([batch.number], T0)
    assert await store.record(job, Accepted(Remote("r1")), T0, T0) is None
    loaded = await store.load(job.number)
    assert loaded is not None
    assert loaded.job.state is State.IN_DOUBT


async def test_an_impossible_event_changes_nothing(store: SqliteStore) -> None:
    """A pair that the table doesn't have raises, and the job stays."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    with pytest.raises(IllegalTransition):
        await store.record(claim.job, Accepted(Remote("r1")), T0, T0)
    assert len(await store.claim_queued(batch.number, T0, 1)) == 1


async def test_a_job_ends_with_its_file(store: SqliteStore) -> None:
    """From intent to done, the rows say what was learned, and the money is settled."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    job = await send(store, claim.job, await store.begin_run(T0))
    for event in (
        Accepted(Remote("r1", {"status": "/s"})),
        Finished((Artifact("https://media.example/1.mp4", size=10),), lifetime=3600.0),
        Saved((SavedFile("film/1.mp4", "ab" * 32, 10, "video/mp4"),)),
    ):
        state = await store.record(job, event, T0 + 9, T0 + 9)
        assert state is not None
        job = advanced(job, state, event, T0 + 9, T0 + 9)
    assert job.state is State.DONE
    loaded = await store.load(job.number)
    assert loaded is not None
    assert loaded.job == job
    assert loaded.expires_at == T0 + 9 + 3600
    assert await spent(store) == 350_000


async def test_a_ready_job_comes_back_with_what_it_fetches(store: SqliteStore) -> None:
    """After a restart a ready job knows its artifacts and when they expire."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    job = await send(store, claim.job, 1)
    artifacts = (Artifact("https://media.example/1.mp4", "video/mp4", 10, "v1", 5.1),)
    await store.record(job, Finished(artifacts, lifetime=60.0), T0, T0)
    (found,) = await store.claim_open([batch.number], T0)
    assert (found.job.state, found.artifacts, found.expires_at) == (State.READY, artifacts, T0 + 60)


@pytest.mark.parametrize("event", [Refused(Cause.RATE_LIMITED), Refused(Cause.NO_CONNECTION)])
async def test_what_was_refused_costs_nothing_and_is_the_same_attempt(
    store: SqliteStore, event: Refused
) -> None:
    """A submit that the provider did not take releases its money and keeps its number and reference."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    job = await send(store, claim.job, 1)
    assert await store.record(job, event, T0, T0 + 2) is State.QUEUED
    assert await spent(store) == 0
    assert await store.claim_queued(batch.number, T0 + 1, 1) == []
    (again,) = await store.claim_queued(batch.number, T0 + 2, 1)
    assert again.job.attempt == 0
    await send(store, again.job, 1)
    assert await spent(store) == 350_000


async def test_doubt_keeps_its_money_until_it_is_settled(store: SqliteStore) -> None:
    """What may have been bought counts as spent; once it is known to be absent, it does not."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    job = await send(store, claim.job, 1)
    event = Unclear("connection reset")
    job = advanced(job, State.IN_DOUBT, event, T0, T0)
    assert await store.record(replace(job, state=State.SUBMITTING), event, T0, T0) is State.IN_DOUBT
    assert await spent(store) == 350_000
    assert await store.record(job, Absent(), T0, T0) is State.QUEUED
    assert await spent(store) == 0


async def test_a_doubt_that_is_sent_again_counts_twice(store: SqliteStore) -> None:
    """When nobody knows and the user said resubmit, both attempts hold their money."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    job = await send(store, claim.job, 1)
    await store.record(job, Unclear("reset"), T0, T0)
    job = advanced(job, State.IN_DOUBT, Unclear("reset"), T0, T0)
    await store.record(job, Requeued("on_doubt: resubmit"), T0, T0)
    (again,) = await store.claim_queued(batch.number, T0, 1)
    assert again.job.attempt == 1
    await send(store, again.job, 1)
    assert await spent(store) == 700_000


@pytest.mark.parametrize(("billed", "expected"), [(True, 350_000), (None, 350_000), (False, 0)])
async def test_a_failure_releases_money_only_if_it_is_known_to_be_free(
    store: SqliteStore, billed: bool | None, expected: int
) -> None:
    """A failed job's price is released only on a verified non-bill."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    job = await send(store, claim.job, 1)
    await store.record(job, Rejected(Cause.PROVIDER_ERROR, "no", billed), T0, None)
    assert await spent(store) == expected


async def test_a_budget_lets_through_exactly_what_fits(store: SqliteStore) -> None:
    """Sixty-four callers race for money for ten: ten may send."""
    batch, _ = await add(store, 64, replace(BATCH, budget=Money(3_500_000, "USD")))
    claims = await store.claim_queued(batch.number, T0, 64)
    outcomes = await asyncio.gather(
        *(store.intend(claim.job, intended(claim.job), 1, T0) for claim in claims)
    )
    assert outcomes.count(Intent.DURABLE) == 10
    assert outcomes.count(Intent.OVER_BUDGET) == 54
    assert await spent(store) == 3_500_000


async def test_a_run_has_a_budget_of_its_own(store: SqliteStore) -> None:
    """`--budget` holds for this run, whatever the batch allows."""
    batch, _ = await add(store, 3)
    run = await store.begin_run(T0, Money(700_000, "USD"))
    claims = await store.claim_queued(batch.number, T0, 3)
    outcomes = [await store.intend(claim.job, intended(claim.job), run, T0) for claim in claims]
    assert outcomes == [Intent.DURABLE, Intent.DURABLE, Intent.OVER_BUDGET]


async def test_an_id_that_another_job_has_is_never_adopted(store: SqliteStore) -> None:
    """A provider that gives two jobs one id puts the second in doubt, held."""
    batch, _ = await add(store, 2)
    one, two = [await send(store, c.job, 1) for c in await store.claim_queued(batch.number, T0, 2)]
    assert await store.record(one, Accepted(Remote("r1")), T0, T0) is State.RUNNING
    assert await store.record(two, Accepted(Remote("r1")), T0, T0) is State.IN_DOUBT
    loaded = await store.load(two.number)
    assert loaded is not None
    assert loaded.job.due_at is None


async def test_a_fresh_address_can_be_asked_for(store: SqliteStore) -> None:
    """A result that is gone sends the job back to be asked about, with its id."""
    batch, _ = await add(store, 1)
    (claim,) = await store.claim_queued(batch.number, T0, 1)
    job = await send(store, claim.job, 1)
    for event in (
        Accepted(Remote("r1")),
        Finished((Artifact("https://m.example/1"),)),
        Gone("404"),
    ):
        state = await store.record(job, event, T0, T0)
        assert state is not None
        job = advanced(job, state, event, T0, T0)
    (found,) = await store.claim_open([batch.number], T0)
    assert (found.job.state, found.job.remote) == (State.RUNNING, Remote("r1"))


async def test_queued_jobs_follow_the_manifest_to_another_provider(store: SqliteStore) -> None:
    """Changing the reseller continues a batch: what is queued goes there, what is in the air stays."""
    batch, _ = await add(store, 2)
    (claim, _) = await store.claim_queued(batch.number, T0, 2)
    await send(store, claim.job, 1)
    await add(store, 2, replace(BATCH, provider="fal"))
    (queued,) = await store.claim_queued(batch.number, T0, 2)
    (open_,) = await store.claim_open([batch.number], T0)
    assert (queued.job.provider, open_.job.provider) == ("fal", "winfull")


async def test_recent_submits_are_known_after_a_restart(store: SqliteStore) -> None:
    """The last window's attempts are there for the limiter; one without an answer may have arrived just now."""
    batch, _ = await add(store, 3)
    for number, claim in enumerate(await store.claim_queued(batch.number, T0, 3)):
        event = intended(claim.job)
        await store.intend(claim.job, event, 1, T0 + number)
        if number == 1:
            sent = advanced(claim.job, State.SUBMITTING, event, T0 + number, event.send_by)
            await store.record(sent, Unclear("reset"), T0 + 4, None)
    assert await store.recent_submits("winfull", T0 + 0.5, T0 + 9) == [T0 + 4, T0 + 9]
    assert await store.recent_submits("fal", T0, T0 + 9) == []


async def test_a_cancelled_writer_leaves_no_open_transaction(store: SqliteStore) -> None:
    """Cancelling who waits for a write neither halves the write nor blocks the next."""
    for _ in range(50):
        task = asyncio.create_task(add(store, 2))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    _, added = await add(store, 2)
    assert added.new + added.kept == 2


async def test_one_bad_write_fails_alone(store: SqliteStore) -> None:
    """A write that raises is not in the others' way, though they share a transaction."""

    def bad(_: object) -> None:
        raise RuntimeError("mine")

    outcomes = await asyncio.gather(
        store._flusher.write(bad), add(store, 2), store.begin_run(T0), return_exceptions=True
    )
    assert isinstance(outcomes[0], RuntimeError)
    assert outcomes[1][1] == Added(new=2)  # type: ignore[index]
    assert outcomes[2] == 1


async def test_readers_see_what_is_committed(store: SqliteStore) -> None:
    """A reader beside the runner sees the batch, and the views have their columns."""
    await add(store, 2)
    with reading(store._folder) as reader:
        assert reader is not None
        assert [batch.name for batch in reader.batches()] == ["film"]
        assert {spec.state for spec in reader.jobs([1])} == {State.QUEUED}
        for view in ("v_jobs", "v_attempts", "v_history", "v_spend"):
            reader._connection.execute(f"SELECT * FROM {view}").fetchall()
