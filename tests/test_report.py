"""What there is to say about batches: who needs a person, exit codes, times and pace."""

from __future__ import annotations

import pytest

from runner.causes import Cause
from runner.events import (
    Accepted,
    Artifact,
    Delayed,
    Event,
    Finished,
    Intended,
    Rejected,
    Remote,
    Saved,
    SavedFile,
    Unclear,
)
from runner.job import Job, State, advanced
from runner.report import LATE, BatchReport, report
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.reader import RECENT_SECONDS, reading
from tests.conftest import T0, make_spec

BATCH = Batch(name="film", manifest="film.yaml", digest="d", provider="fal")


async def jobs_of(store: SqliteStore, count: int) -> list[Job]:
    """A batch of so many queued jobs."""
    batch, _ = await store.add(BATCH, [[make_spec(i) for i in range(count)]], T0)
    return [claim.job for claim in await store.claim_queued(batch.number, T0, count)]


async def live(
    store: SqliteStore, job: Job, *happened: Event, at: float = T0, due: float | None = None
) -> None:
    """Submit a job and let things happen to it, all at one time; at the end it is due at `due`."""
    intent = Intended(1, job.spec.id, "digest", "fal", at + 30)
    await store.intend(job, intent, 1, at)
    job = advanced(job, State.SUBMITTING, intent, at, at)
    for event in happened:
        state = await store.record(job, event, at, due)
        assert state is not None
        job = advanced(job, state, event, at, due)


def made(number: int) -> tuple[Event, ...]:
    """A job that is made and saved."""
    clip = Finished((Artifact(f"https://media.example/{number}.mp4"),))
    saved = Saved((SavedFile(f"film/{number}.mp4", "ab" * 32, 7, "video/mp4"),))
    return Accepted(Remote(f"r{number}")), clip, saved


def looked(folder: StateFolder, now: float | None = None) -> BatchReport:
    """The batch, as it stands."""
    with reading(folder) as reader:
        assert reader is not None
        (batch,) = report(reader, (), now).batches
        return batch


RUNNING = Accepted(Remote("r"))


@pytest.mark.parametrize(
    ("happened", "due", "code"),
    [
        ((Unclear("reset"),), None, 4),  # held
        ((Unclear("reset"),), T0 + 30, 0),  # looked up by the run
        ((RUNNING, Delayed(Cause.LOST_REMOTE)), None, 4),
        ((RUNNING, Delayed(Cause.STUCK)), T0 + 30, 4),
        ((RUNNING, Delayed(Cause.NO_CONNECTION)), T0 + 30, 0),
        ((RUNNING, Rejected(Cause.EXPIRED, billed=True)), None, 4),
        ((RUNNING, Rejected(Cause.FOREIGN_URL, billed=True)), None, 4),
        ((RUNNING, Rejected(Cause.CONTENT_POLICY)), None, 3),
        ((Unclear("reset"), Rejected(Cause.ATTEMPTS_SPENT, billed=True)), None, 3),  # settled
        (made(0), None, 0),
    ],
)
async def test_the_exit_code_says_who_is_needed(
    store: SqliteStore,
    folder: StateFolder,
    happened: tuple[Event, ...],
    due: float | None,
    code: int,
) -> None:
    """4 where only a person can go on, 3 where something failed; what is still looked after is neither."""
    (job,) = await jobs_of(store, 1)
    await live(store, job, *happened, due=due)
    with reading(folder) as reader:
        assert reader is not None
        found = report(reader)
        assert found.exit_code() == code
        assert (found.needs_person > 0) is (code == 4)


async def test_a_doubt_that_nobody_looks_up_needs_a_person(
    store: SqliteStore, folder: StateFolder
) -> None:
    """A job in doubt that was due an hour ago has been forgotten: it counts like one that is held."""
    (job,) = await jobs_of(store, 1)
    await live(store, job, Unclear("reset"), due=T0)
    assert looked(folder, T0 + LATE - 1).needs_person == 0
    late = looked(folder, T0 + LATE + 1)
    assert (late.needs_person, late.movable) == (1, 0)


async def test_what_ended_is_not_held(store: SqliteStore, folder: StateFolder) -> None:
    """A failed job has no due time either, and nobody has to look at it."""
    (job,) = await jobs_of(store, 1)
    await live(store, job, RUNNING, Rejected(Cause.CONTENT_POLICY))
    assert [group.held for group in looked(folder).groups] == [False]


async def test_a_batch_has_a_span(store: SqliteStore, folder: StateFolder) -> None:
    """From the first submit to the last change; before the first submit there is none."""
    jobs = await jobs_of(store, 3)
    assert looked(folder).span is None
    await live(store, jobs[0], *made(0), at=T0 + 10)
    await live(store, jobs[1], *made(1), at=T0 + 500)
    assert looked(folder).span == (T0 + 10, T0 + 500)


async def test_the_span_is_that_of_the_batch(store: SqliteStore, folder: StateFolder) -> None:
    """Another batch in the same folder changes nothing."""
    (job,) = await jobs_of(store, 1)
    await live(store, job, *made(0), at=T0 + 10)
    other, _ = await store.add(
        Batch("other", "other.yaml", "d", "fal"), [[make_spec(5, batch="other")]], T0
    )
    (claim,) = await store.claim_queued(other.number, T0, 1)
    await live(store, claim.job, *made(5), at=T0 + 900)
    with reading(folder) as reader:
        assert reader is not None
        spans = [batch.span for batch in report(reader).batches]
    assert spans == [(T0 + 10, T0 + 10), (T0 + 900, T0 + 900)]


async def test_what_is_left_follows_the_latest_pace(
    store: SqliteStore, folder: StateFolder
) -> None:
    """The estimate is what can still move at the rate of the last quarter of an hour; a night's pause is left out."""
    jobs = await jobs_of(store, 12)
    await live(store, jobs[0], *made(0), at=T0)
    night = T0 + RECENT_SECONDS * 40
    for number in range(1, 6):
        await live(store, jobs[number], *made(number), at=night + number * 10)
    assert looked(folder).left is None  # nothing is being made: nobody knows when it goes on
    await live(store, jobs[6], Accepted(Remote("r6")), at=night + 60, due=night + 90)
    batch = looked(folder)
    assert batch.pace == pytest.approx(0.1)
    assert batch.movable == 6
    assert batch.left == pytest.approx(60.0)


async def test_nobody_knows_a_pace_from_one_job(store: SqliteStore, folder: StateFolder) -> None:
    """One job that ended says nothing about the next."""
    jobs = await jobs_of(store, 2)
    await live(store, jobs[0], *made(0))
    await live(store, jobs[1], Accepted(Remote("r1")), due=T0)
    assert (looked(folder).pace, looked(folder).left) == (None, None)


async def test_json_tells_the_same(store: SqliteStore, folder: StateFolder) -> None:
    """Plain values hold counts, span and what needs a person."""
    jobs = await jobs_of(store, 2)
    await live(store, jobs[0], Unclear("reset"))
    facts = looked(folder).as_json()
    assert facts["counts"]["in_doubt"] == 1
    assert (facts["first_submit_at"], facts["last_change_at"]) == (T0, T0)
    assert [each["needs_person"] for each in facts["causes"]] == [True]
