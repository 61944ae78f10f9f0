"""Looking at a store that may be in use: what is counted, found and shown."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner.budget import Money
from runner.causes import Cause
from runner.errors import StoreError
from runner.events import (
    Accepted,
    Artifact,
    Delayed,
    Event,
    Finished,
    Intended,
    Refused,
    Rejected,
    Remote,
    Saved,
    SavedFile,
    Unclear,
)
from runner.job import Job, State, advanced
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.reader import Reader, reading
from tests.conftest import T0, make_spec

BATCH = Batch(name="film", manifest="film.yaml", digest="d", provider="winfull")
PRICE = 350_000


async def live(store: SqliteStore, job: Job, *happened: Event, price: int | None = PRICE) -> Job:
    """Submit a job and let things happen to it, a second apart; each but the last leaves it due."""
    number = job.attempt + 1
    intent = Intended(number, f"{job.spec.id}-{number}", "digest", "winfull", T0 + 30, price, "USD")
    await store.intend(job, intent, 1, T0)
    job = advanced(job, State.SUBMITTING, intent, T0, intent.send_by)
    for second, event in enumerate(happened, 1):
        due_at = None if event is happened[-1] else T0
        state = await store.record(job, event, T0 + second, due_at)
        assert state is not None
        job = advanced(job, state, event, T0 + second, due_at)
    return job


@pytest.fixture
async def night(folder: StateFolder) -> AsyncIterator[tuple[StateFolder, list[Job]]]:
    """Eight jobs of one batch, each with another fate, and the state folder while it is in use."""
    async with SqliteStore(folder, T0) as store:
        batch, _ = await store.add(BATCH, [[make_spec(i) for i in range(8)]], T0)
        jobs = [claim.job for claim in await store.claim_queued(batch.number, T0, 8)]
        clip = Finished((Artifact("https://media.example/0.mp4", size=7),), lifetime=3600.0)
        saved = Saved((SavedFile("film/0.mp4", "ab" * 32, 7, "video/mp4"),))
        fates: list[tuple[Event, ...]] = [
            (Accepted(Remote("Task-1/A")), clip, saved),
            (Accepted(Remote("ABCDEF")), Rejected(Cause.CONTENT_POLICY, "nudity", billed=False)),
            (Accepted(Remote("r2")), Rejected(Cause.CONTENT_POLICY, "nudity", billed=None)),
            (Unclear("reset"),),
            (Refused(Cause.RATE_LIMITED, "slow down"),),
            (Accepted(Remote("r5")), Delayed(Cause.STUCK, "still running")),
            (),
        ]
        for number, fate in enumerate(fates):
            jobs[number] = await live(
                store, jobs[number], *fate, price=None if number == 6 else PRICE
            )
        yield folder, jobs


def found(reader: Reader, name: str) -> list[str]:
    """The ids of the jobs that a name can mean."""
    return [job.spec.id for job in reader.find(name)]


async def test_spend_is_what_is_not_known_to_be_free(night: tuple[StateFolder, list[Job]]) -> None:
    """Billed, reserved and doubtful attempts count; refused and verified free ones don't; unpriced ones are told."""
    with reading(night[0]) as reader:
        assert reader is not None
        (spend,) = reader.spend([1])
        assert spend.committed == Money(4 * PRICE, "USD")
        assert spend.in_doubt == Money(PRICE, "USD")
        assert spend.unpriced == 1
        assert reader.spend([2]) == []


async def test_groups_are_by_cause_with_an_example(night: tuple[StateFolder, list[Job]]) -> None:
    """Jobs that failed or wait for one reason are one line; what waits for a person is marked as held."""
    folder, jobs = night
    with reading(folder) as reader:
        assert reader is not None
        groups = reader.groups([1])
    assert (groups[0].cause, groups[0].state, groups[0].count) == (
        Cause.CONTENT_POLICY,
        State.FAILED,
        2,
    )
    assert groups[0].example in {jobs[1].spec.id, jobs[2].spec.id}
    by_cause = {group.cause: group for group in groups}
    assert by_cause.keys() == {
        Cause.CONTENT_POLICY,
        Cause.ANSWER_LOST,
        Cause.RATE_LIMITED,
        Cause.STUCK,
    }
    assert by_cause[Cause.ANSWER_LOST].held
    assert by_cause[Cause.ANSWER_LOST].detail == "reset"


async def test_jobs_are_listed_by_state_and_cause(night: tuple[StateFolder, list[Job]]) -> None:
    """Filters narrow the list, which is in the manifest's order."""
    folder, jobs = night
    with reading(folder) as reader:
        assert reader is not None
        assert list(reader.jobs([1])) == jobs
        assert list(reader.jobs([1], [State.FAILED, State.DONE])) == jobs[:3]
        assert list(reader.jobs([1], cause=Cause.STUCK)) == [jobs[5]]
        assert list(reader.jobs([1], limit=2)) == jobs[:2]
        assert list(reader.jobs([])) == []


async def test_a_job_is_found_by_whatever_names_it(night: tuple[StateFolder, list[Job]]) -> None:
    """Its id, with or without the batch, the beginning of its key, and the provider's id exactly as it was given."""
    folder, jobs = night
    with reading(folder) as reader:
        assert reader is not None
        one = jobs[1].spec
        for name in (
            one.id,
            f"film/{one.id}",
            one.key,
            one.key[:12],
            one.key[:12].upper(),
            "ABCDEF",
        ):
            assert found(reader, name) == [one.id], name
        assert found(reader, "Task-1/A") == [jobs[0].spec.id]
        for name in (f"other/{one.id}", "abcdef", one.key[:7] + "x", "", "nothing"):
            assert found(reader, name) == [], name


@pytest.mark.parametrize("name", ["%%%%%%%%", "________", "%", "' OR 1=1 --", "*" * 8, "\0"])
async def test_a_name_is_never_a_pattern(night: tuple[StateFolder, list[Job]], name: str) -> None:
    """What a person pastes is looked for as it is."""
    with reading(night[0]) as reader:
        assert reader is not None
        assert reader.find(name) == []


async def test_the_history_tells_a_job_in_order(night: tuple[StateFolder, list[Job]]) -> None:
    """Every event with its time and the state it led to, and the attempts and files it left."""
    folder, jobs = night
    with reading(folder) as reader:
        assert reader is not None
        history = reader.history(jobs[0].number)
        (attempt,) = reader.attempts(jobs[0].number)
        (artifact,) = reader.artifacts(jobs[0].number)
    assert [(at - T0, name, state) for at, name, state, _ in history] == [
        (0.0, "Intended", "submitting"),
        (1.0, "Accepted", "running"),
        (2.0, "Finished", "ready"),
        (3.0, "Saved", "done"),
    ]
    assert "film/0.mp4" in history[-1][3]
    assert (attempt["remote_id"], attempt["billed"], attempt["outcome"]) == (
        "Task-1/A",
        1,
        "finished",
    )
    assert (artifact["path"], artifact["sha256"], artifact["size"]) == ("film/0.mp4", "ab" * 32, 7)


async def test_the_reader_can_not_write(night: tuple[StateFolder, list[Job]]) -> None:
    """Whoever only looks can change nothing, by mistake neither."""
    with pytest.raises(StoreError), reading(night[0]) as reader:  # noqa: PT012
        assert reader is not None
        reader._connection.execute("UPDATE job SET state = 'queued'")


async def test_known_keys_and_sizes(night: tuple[StateFolder, list[Job]]) -> None:
    """A plan can ask which jobs are stored already, and how many there are."""
    folder, jobs = night
    with reading(folder) as reader:
        assert reader is not None
        keys = [jobs[0].spec.key, make_spec(99).key]
        assert reader.known(keys) == {jobs[0].spec.key: State.DONE}
        assert reader.known([]) == {}
        assert reader.size(1) == 8
        assert reader.orphans(1) == 0
        assert reader.names(1) == {job.spec.id for job in jobs}


def test_where_nothing_was_run_there_is_nothing_to_read(
    folder: StateFolder, tmp_path: Path
) -> None:
    """No folder, an empty folder and an empty file are no store, and looking makes none."""
    with reading(folder) as reader:
        assert reader is None
    assert not folder.root.exists()
    folder.root.mkdir()
    folder.database.touch()
    with reading(folder) as reader:
        assert reader is None
    assert folder.database.read_bytes() == b""


async def test_a_copy_on_a_read_only_disk_can_be_read(
    night: tuple[StateFolder, list[Job]], tmp_path: Path
) -> None:
    """A database alone, without its log and without the right to make one, is read as it is."""
    with sqlite3.connect(night[0].database) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "whole.db"),))
    connection.close()
    alone = StateFolder(tmp_path / "alone")
    alone.root.mkdir()
    shutil.copyfile(tmp_path / "whole.db", alone.database)
    immutable = sqlite3.connect(f"{alone.database.as_uri()}?immutable=1", uri=True)
    assert len(list(Reader(immutable).jobs([1]))) == 8
    immutable.close()
    with reading(alone) as reader:
        assert reader is not None
        assert len(list(reader.jobs([1]))) == 8
