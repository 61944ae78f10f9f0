"""A mistake of the program at one job: that job waits or is held, the run goes on, and its places are not used up."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from runner import steps
from runner.causes import Cause
from runner.engine import Stopped
from runner.engine.watching import Watcher
from runner.events import Accepted, Event, Saved
from runner.job import Job, State
from runner.report import report
from runner.simulator import Fault, Simulator
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.reader import reading
from tests.engine.night import FAL_MODEL, Night, provider_at, simulator, specs

KLING = "v1/videos/text2video"


class Mistake(Exception):
    """An error that nothing in the product expects."""


def now_and_then(call: Callable[..., Any], every: int) -> Any:
    """The same call, which raises each so-manieth time."""
    count = itertools.count(1)

    async def mistaken(*args: Any, **kwargs: Any) -> Any:
        if next(count) % every == 0:
            raise Mistake("of ours")
        return await call(*args, **kwargs)

    return mistaken


def once_for_some(call: Callable[..., Any], *, after: bool) -> Any:
    """`SqliteStore.record`, which raises once for every other job: before its row was changed, or after."""
    seen: Counter[int] = Counter()

    async def mistaken(self: SqliteStore, job: Job, *args: Any, **kwargs: Any) -> Any:
        seen[job.number] += 1
        wrong = job.number % 2 == 0 and seen[job.number] == 1 + job.number // 2 % 3
        if wrong and not after:
            raise Mistake("of ours")
        state = await call(self, job, *args, **kwargs)
        if wrong:
            raise Mistake("of ours")
        return state

    return mistaken


def bought(sim: Simulator) -> Counter[str]:
    """How often each prompt was accepted."""
    return Counter(str(task.body["prompt"]) for task in sim.ledger)


def check_places(night: Night) -> None:
    """No place at the provider, and no task, is left behind by what went wrong."""
    assert night.engine is not None
    (lane,) = night.engine.board.lanes.values()
    assert (lane.limiter.posts, lane.limiter.in_flight) == (0, 0)
    assert not any(night.engine._tasks.values())


@pytest.mark.parametrize("every", [7, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    "where",
    ["runner.steps.prepare", "runner.steps.submit", "runner.steps.ask", "runner.steps.fetch"],
)
async def test_steps_that_fail_now_and_then(tmp_path: Path, where: str, every: int) -> None:
    """Some steps raise: every job of the night is made all the same, each bought once, on as many places as before."""
    jobs = 40 if every < 10 else 400
    async with simulator() as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs(KLING, jobs))
        broken = now_and_then(getattr(steps, where.rsplit(".", 1)[1]), every)
        with mock.patch(where, broken):
            ending = await night.run()
        assert ending.stopped is Stopped.NOTHING_LEFT
        assert await night.states() == {State.DONE: jobs}
        assert bought(sim) == {spec.prompt: 1 for spec in night.jobs}
        check_places(night)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_records_that_fail_now_and_then(tmp_path: Path, after: bool) -> None:
    """Writing down raises, before or after the row was changed: two runs make every job, each bought once."""
    async with simulator() as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs(KLING, 40))
        broken = once_for_some(SqliteStore.record, after=after)
        with mock.patch.object(SqliteStore, "record", broken):
            await night.run()
        check_places(night)
        await night.run()
        assert await night.states() == {State.DONE: 40}
        assert set(bought(sim).values()) == {1}


@pytest.mark.parametrize("on_doubt", ["hold", "resubmit"])
@pytest.mark.parametrize(("name", "model"), [("winfull", FAL_MODEL), ("kling", KLING)])
async def test_a_receipt_that_can_not_be_written_is_told(
    tmp_path: Path, name: str, model: str, on_doubt: str
) -> None:
    """The provider's answer is here and can't be recorded: held, whatever on_doubt says, with its id in the row."""
    record = SqliteStore.record

    async def broken(self: SqliteStore, job: Job, event: Event, *args: Any, **more: Any) -> Any:
        if isinstance(event, Accepted) and job.number == 1:
            raise Mistake("of ours")
        return await record(self, job, event, *args, **more)

    async with simulator() as sim:
        batch = Batch("film", "film.yaml", "d", "", on_doubt=on_doubt)
        night = Night(tmp_path, provider_at(sim, name), specs(model, 3), batch=batch)
        with mock.patch.object(SqliteStore, "record", broken):
            await night.run()
        assert await night.states() == {State.DONE: 2, State.IN_DOUBT: 1}
        (held,) = [job for job, _ in night.seen if job.state is State.IN_DOUBT]
        (task,) = [task for task in sim.ledger if task.body["prompt"] == night.jobs[0].prompt]
        assert held.detail == f"Mistake: of ours; the provider took it as {task.id}"
        await night.run()
        assert set(bought(sim).values()) == {1}
        check_places(night)


async def test_a_display_that_fails_costs_nothing(tmp_path: Path) -> None:
    """Whatever the display raises, every job is made in the same run."""
    async with simulator() as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 5))

        def broken(*_: Any) -> None:
            raise Mistake("of ours")

        with mock.patch.object(night, "_see", broken):
            await night.run()
        assert await night.states() == {State.DONE: 5}
        assert set(bought(sim).values()) == {1}


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("runner.steps.prepare", State.FAILED),
        ("runner.engine.watching.Watcher.poll", State.RUNNING),
        ("runner.steps.fetch", State.READY),
    ],
)
async def test_a_job_that_always_fails_alone(tmp_path: Path, where: str, left: State) -> None:
    """One job shows a fault of ours each time: the others are made, the run ends, and this one waits for a person."""
    owner: Any = steps if where.startswith("runner.steps.") else Watcher
    call = getattr(owner, where.rpartition(".")[2])

    async def broken(*args: Any, **kwargs: Any) -> Any:
        jobs = [getattr(each, "job", each) for each in args]  # a flight and a claim have one
        if any(isinstance(each, Job) and each.number == 3 for each in jobs):
            raise Mistake("of ours")
        return await call(*args, **kwargs)

    async with simulator() as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 6))
        with mock.patch(where, broken):
            ending = await night.run()
        assert ending.stopped is Stopped.NOTHING_LEFT
        assert await night.states() == {State.DONE: 5, left: 1}
        (last,) = {job.number: job for job, _ in night.seen if job.number == 3}.values()
        assert (last.state, last.cause) == (left, Cause.INTERNAL)
        assert last.detail == "Mistake: of ours"
        assert Cause.INTERNAL.needs_person
        check_places(night)
        await night.run()
        assert len(night.events(Saved)) == (5 if left is State.FAILED else 6)
        assert set(bought(sim).values()) == {1}


async def test_a_look_up_that_always_fails_needs_a_person(tmp_path: Path) -> None:
    """What a look-up found can't be stored: it is asked about slowly, the run ends, and says so with exit 4."""
    record = SqliteStore.record

    async def broken(self: SqliteStore, job: Job, event: Event, *args: Any, **more: Any) -> Any:
        if isinstance(event, Accepted) and job.state is State.IN_DOUBT:
            raise Mistake("of ours")
        return await record(self, job, event, *args, **more)

    async with simulator(faults=[Fault("accepted-then-502", times=1)]) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs(KLING, 3))
        with mock.patch.object(SqliteStore, "record", broken):
            ending = await night.run()
        assert ending.stopped is Stopped.NOTHING_LEFT
        assert await night.states() == {State.DONE: 2, State.IN_DOUBT: 1}
        with reading(StateFolder(tmp_path)) as reader:
            assert reader is not None
            found = report(reader)
        assert (found.exit_code(), found.needs_person) == (4, 1)
        assert set(bought(sim).values()) == {1}
