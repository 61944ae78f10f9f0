"""What a provider may answer about a job that was taken, over minutes and hours: nothing is given up too soon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.causes import Cause
from runner.engine import Stopped
from runner.events import (
    Absent,
    Accepted,
    Cancelled,
    Delayed,
    Event,
    Finished,
    Gone,
    Progressed,
    Rejected,
    Unclear,
)
from runner.job import State
from runner.limits import Limits, Rate
from runner.simulator import Fault
from runner.simulator.settings import Latency, RateLimit
from runner.store import SqliteStore
from tests.engine.night import FAL_MODEL
from tests.engine.virtual import HOUR, MINUTE, LongNight

KLING_MODEL = "v1/videos/text2video"
ALWAYS = (0.0, 1000 * HOUR)
BOTH = pytest.mark.parametrize(
    ("name", "model"), [("fal", FAL_MODEL), ("kling", KLING_MODEL)], ids=["fal", "kling"]
)


def learned(night: LongNight, kind: type[Event]) -> list[Event]:
    """What was learned of one sort."""
    return [event for _, _, event in night.seen if isinstance(event, kind)]


def cancelled(night: LongNight) -> None:
    """Run until the job is taken, then give it up; it may still be made."""
    night.stop_after = lambda event: isinstance(event, Accepted)
    night.live()
    night.stop_after = lambda _: False

    async def cancel(store: SqliteStore, now: float) -> None:
        (claim,) = await store.claim_open([1], now)
        await store.record(claim.job, Cancelled("by a person"), now, now, watch=True)

    night.decide(cancel)


# -- failures that could be a bad moment -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["runner_server_error", "runner_disconnected", "startup_timeout"])
def test_a_bad_moment_is_not_believed_at_once(tmp_path: Path, kind: str) -> None:
    """A result that is three times an error of fal's platform is asked for a fourth time, and the clip comes home."""
    error = Fault("result-error", times=3, arg=kind)
    night = LongNight(tmp_path, "fal", FAL_MODEL, outage=ALWAYS, how=[error])
    night.live()
    assert night.fired["result-error"] == 3
    assert night.states == {"done": 1}


def test_a_failure_that_stays_is_believed(tmp_path: Path) -> None:
    """The same error for two minutes is the job's own end: failed, not billed, and asked about no more."""
    night = LongNight(tmp_path, "fal", FAL_MODEL, outage=ALWAYS, how=[Fault("result-error")])
    night.live()
    assert night.fired["result-error"] == 7
    assert night.states == {"failed": 1}
    (rejected,) = learned(night, Rejected)
    assert isinstance(rejected, Rejected)
    assert (rejected.cause, rejected.billed) == (Cause.PROVIDER_ERROR, False)


def test_a_failure_of_a_cancelled_job_ends_its_watch(tmp_path: Path) -> None:
    """What fails at the provider after we gave it up is believed at once, no run waits for it or breaks on it."""
    night = LongNight(tmp_path, "fal", FAL_MODEL, outage=ALWAYS, how=[Fault("result-error")])
    cancelled(night)
    night.pass_time(HOUR)
    begun = night.now
    assert night.live().stopped is Stopped.NOTHING_LEFT
    assert night.now - begun < MINUTE
    assert night.fired["result-error"] == 1
    before = len(night.asked)
    night.live()
    assert len(night.asked) == before
    assert night.states == {"cancelled": 1}


# -- cancellations that come too late ----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.0, 30.0, 119.0, 120.0, 121.0, 600.0])
def test_a_cancelled_job_that_is_made_all_the_same_comes_home(tmp_path: Path, after: float) -> None:
    """Whenever the clip of a job that we gave up is made, it is paid for: it is fetched, not bought again."""
    night = LongNight(tmp_path, "kling", KLING_MODEL, run=Latency("fixed", 120.0))
    cancelled(night)
    night.pass_time(after)
    for _ in range(4):
        night.live()
        night.pass_time(100.0)
    assert night.states == {"done": 1}
    assert len(night.world.ledger) == 1


# -- no end, unknown words, nothing to fetch ---------------------------------------------------------------------------


@BOTH
def test_a_job_that_never_ends_is_stuck_and_never_bought_again(
    tmp_path: Path, name: str, model: str
) -> None:
    """Past its timeout it is reported once, neither failed nor sent again; each run asks, and one brings it home."""
    night = LongNight(tmp_path, name, model, 2, timeout=HOUR, run=Latency("fixed", 24 * HOUR))
    for _ in range(3):
        night.live()
        night.pass_time(HOUR)
    assert night.states == {"running": 2}
    stuck = [
        event for event in learned(night, Delayed) if getattr(event, "cause", 0) is Cause.STUCK
    ]
    assert len(stuck) == 2
    assert len(night.world.ledger) == 2
    night.pass_time(24 * HOUR)
    night.live()
    assert night.states == {"done": 2}


@BOTH
def test_an_unknown_word_is_noted_once_and_waited_for(
    tmp_path: Path, name: str, model: str
) -> None:
    """A status that nobody here knows is written down once, asked about as usual, and is stuck after the timeout."""
    word = Fault("unknown-status", arg="REVIEWING")
    night = LongNight(
        tmp_path,
        name,
        model,
        timeout=HOUR,
        run=Latency("fixed", 2 * HOUR),
        outage=ALWAYS,
        how=[word],
    )
    night.live()
    notes = [event for event in learned(night, Progressed) if getattr(event, "note", "")]
    assert len(notes) == 1
    assert learned(night, Rejected) == []
    assert night.seen[-1][1].cause is Cause.STUCK
    night.pass_time(HOUR)
    night.live()
    assert night.states == {"done": 1}


@BOTH
def test_a_result_without_a_file_needs_a_person(tmp_path: Path, name: str, model: str) -> None:
    """Done, it says, and names no file: asked again for half an hour, then stuck with the answer as it came."""
    night = LongNight(tmp_path, name, model, outage=ALWAYS, how=[Fault("no-video")])
    begun = night.now
    assert night.live().stopped is Stopped.NOTHING_LEFT
    assert night.states == {"running": 1}
    job = night.seen[-1][1]
    assert job.cause is Cause.STUCK
    assert "{" in job.detail
    assert len(night.world.ledger) == 1
    assert night.now - begun < 2 * HOUR


# -- jobs that are not known ------------------------------------------------------------------------------------------


@BOTH
def test_a_new_job_that_is_not_known_yet_is_waited_for(
    tmp_path: Path, name: str, model: str
) -> None:
    """For the first two minutes "no such job" is no loss: it is known a little later, and its clip comes home."""
    night = LongNight(
        tmp_path,
        name,
        model,
        run=Latency("fixed", 1.0),
        outage=(0.0, 110.0),
        how=[Fault("task-forgotten")],
    )
    night.live()
    assert night.fired["task-forgotten"] >= 3
    assert night.states == {"done": 1}


@BOTH
def test_a_job_that_stays_unknown_is_held(tmp_path: Path, name: str, model: str) -> None:
    """Not before two minutes and three answers it is held for a person; it is neither failed nor bought again."""
    night = LongNight(tmp_path, name, model, outage=ALWAYS, how=[Fault("task-forgotten")])
    assert night.live().stopped is Stopped.NOTHING_LEFT
    at, job, _ = night.seen[-1]
    assert (job.state, job.cause, job.due_at) == (State.RUNNING, Cause.LOST_REMOTE, None)
    assert at > 2 * MINUTE
    assert len(night.world.ledger) == 1


def test_a_clip_that_was_made_and_forgotten_is_expired(tmp_path: Path) -> None:
    """Its file is wanted again, and the provider knows the job no more: it was paid for, and that is said."""
    night = LongNight(tmp_path, "fal", FAL_MODEL, how=[Fault("task-forgotten")])
    night.live()
    assert night.states == {"done": 1}

    async def want_again(store: SqliteStore, now: float) -> None:
        claim = await store.load(1)
        assert claim is not None
        await store.record(claim.job, Gone("its file is missing"), now, now)

    night.decide(want_again)
    night.outage = ALWAYS
    night.live()
    assert night.states == {"failed": 1}
    last = night.seen[-1][2]
    assert isinstance(last, Rejected)
    assert (last.cause, last.billed) == (Cause.EXPIRED, True)


# -- how often is asked ------------------------------------------------------------------------------------------------


@BOTH
def test_a_job_of_five_minutes_takes_few_polls(tmp_path: Path, name: str, model: str) -> None:
    """With nothing learned yet, no job of five minutes is asked about more than 25 times."""
    night = LongNight(tmp_path, name, model, 20, run=Latency("fixed", 300.0))
    night.live()
    assert night.states == {"done": 20}
    for task in night.world.ledger:
        polls = [one for one in night.asked_between(0.0, HOUR) if f"/{task.id}" in one.path]
        assert len(polls) <= 25


@pytest.mark.parametrize("known", [True, False])
def test_a_rate_limit_is_used_whole(tmp_path: Path, known: bool) -> None:
    """At ten a minute, jobs for ten minutes take little more, even if only 429s tell; if we know, none is refused."""
    night = LongNight(tmp_path, "fal", FAL_MODEL, 100, in_flight=100, run=Latency("fixed", 20.0))
    limited = RateLimit(10, MINUTE, "sliding", scope="submits")
    night.world.settings = replace(night.world.settings, rate_limit=limited)
    if known:
        limits = Limits(in_flight=100, submits=Rate(10, MINUTE))
        night.provider = replace(night.provider, limits=limits)
    night.live()
    assert night.states == {"done": 100}
    submits = [one.at for one in night.asked if one.method == "POST"]
    assert submits[-1] <= 10 * MINUTE / 0.9
    assert night.statuses[429] < (1 if known else 100)


@pytest.mark.parametrize("jobs", [1, 5])
def test_trouble_before_it_makes_no_denial_believed(tmp_path: Path, jobs: int) -> None:
    """After an outage a job is unknown to one answer: that is the first of its kind, however many were of no use."""
    night = LongNight(
        tmp_path, "kling", KLING_MODEL, jobs, outage=(MINUTE, 12 * MINUTE),
        how=[Fault("nginx-error", arg=503)], run=Latency("fixed", 300.0),
    )  # fmt: skip
    night.after = [Fault("task-forgotten", times=jobs)]
    night.live()
    assert night.states == {"done": jobs}


def test_a_bad_moment_of_the_result_is_not_believed_for_the_trouble_before_it(
    tmp_path: Path,
) -> None:
    """Two thirds of all questions fail for an hour, about status and result alike: no clip is given up."""
    bad = [Fault("server-error-on-poll", arg=503, rate=0.67)]
    night = LongNight(
        tmp_path, "fal", FAL_MODEL, 40, outage=(5 * MINUTE, HOUR), how=bad,
        run=Latency("lognormal", 600.0, 900.0),
    )  # fmt: skip
    night.live()
    assert set(night.states) <= {"done", "running"}
    assert night.states["done"] >= 30


def test_denials_before_a_clip_was_made_are_forgotten(tmp_path: Path) -> None:
    """The result was in trouble three times, then made; its address dies: one more bad moment is again the first."""
    night = LongNight(
        tmp_path, "fal", FAL_MODEL, outage=ALWAYS, how=[Fault("result-error", times=3)]
    )

    made: list[Event] = []

    def go_bad(event: Event) -> bool:
        if isinstance(event, Finished) and not made:
            made.append(event)
            night.world.faults.add(Fault("media-403", times=1))
            night.world.faults.add(Fault("result-error", times=1))
        return False

    night.stop_after = go_bad
    night.live()
    assert night.fired["result-error"] == 4
    assert night.states == {"done": 1}


# -- look-ups --------------------------------------------------------------------------------------------------------


def test_absence_counts_from_the_end_of_the_request(tmp_path: Path) -> None:
    """A submit whose connection breaks after 35 s may arrive as late as then: "no such job" is believed 30 s later."""
    night = LongNight(
        tmp_path, "kling", KLING_MODEL, outage=(0.0, MINUTE), how=[Fault("hang", arg=35, times=1)]
    )
    night.live()
    assert night.states == {"done": 1}
    lost, gone = (
        next(at for at, _, event in night.seen if isinstance(event, kind))
        for kind in (Unclear, Absent)
    )
    assert lost >= 35.0
    assert lost + 30.0 <= gone < lost + 2 * MINUTE


def test_a_clock_that_is_set_forward_makes_no_absence_sooner(tmp_path: Path) -> None:
    """Set by ten minutes right after a submit was lost: "no such job" is believed no earlier than without."""
    night = LongNight(
        tmp_path,
        "kling",
        KLING_MODEL,
        outage=(0.0, MINUTE),
        how=[Fault("drop-before-accept", times=1)],
    )

    def set_forward(event: Event) -> bool:
        if isinstance(event, Unclear):
            night.set_clock(10 * MINUTE)
        return False

    night.stop_after = set_forward
    night.live()
    assert night.states == {"done": 1}
    (gone,) = [at for at, _, event in night.seen if isinstance(event, Absent)]
    assert gone >= 30.0
