"""A provider that is away for hours: nothing is lost, hardly anything is asked, and the run goes on by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from runner.causes import Cause
from runner.engine import Stopped
from runner.engine.lane import Lane
from runner.events import Delayed, Refused
from runner.job import State
from runner.limits import Limits, Rate
from runner.providers import presets
from runner.report import report
from runner.simulator import Fault
from runner.simulator.settings import Latency
from runner.store import StateFolder
from runner.store.reader import reading
from tests.engine.night import FAL_MODEL
from tests.engine.virtual import HOUR, MINUTE, LongNight

KLING_MODEL = "v1/videos/text2video"
BOTH = pytest.mark.parametrize(
    ("name", "model"),
    [
        pytest.param("fal", FAL_MODEL, id="fal"),
        pytest.param("kling", KLING_MODEL, id="kling", marks=pytest.mark.soak),
    ],
)
DOWN = [Fault("nginx-error", arg=503)]
BEGIN = 200.0


@BOTH
def test_two_hours_without_a_connection(tmp_path: Path, name: str, model: str) -> None:
    """Fifty jobs at work and fifty queued: none fails, the provider is tried once a minute, and all are made after."""
    end = BEGIN + 2 * HOUR
    night = LongNight(tmp_path, name, model, 100, outage=(BEGIN, end))
    ending = night.live()
    assert ending.stopped is Stopped.NOTHING_LEFT
    assert night.states == {"done": 100}
    assert len(night.world.ledger) == 100
    settled = night.asked_between(BEGIN + 15 * MINUTE, end)
    tries = 1 + sum(two.at - one.at > 20.0 for one, two in pairwise(settled))
    assert tries <= 105  # minutes; each try is three attempts at a connection, within seconds
    assert len(settled) <= 3 * tries
    assert night.asked_between(end, end + 2 * MINUTE)


@BOTH
def test_six_hours_of_server_errors(tmp_path: Path, name: str, model: str) -> None:
    """A proxy's 503 for everything, all night: under 400 requests, nothing stuck, at work again within two minutes."""
    end = BEGIN + 6 * HOUR
    night = LongNight(tmp_path, name, model, 100, outage=(BEGIN, end), how=DOWN)
    ending = night.live()
    assert ending.stopped is Stopped.NOTHING_LEFT
    assert night.states == {"done": 100}
    assert len(night.world.ledger) == 100
    assert len(night.asked_between(BEGIN, end)) < 400
    resumed = [at for at, job, _ in night.seen if at >= end and job.state is State.READY]
    assert resumed[0] < end + 2 * MINUTE


def test_few_jobs_outlast_an_outage(tmp_path: Path) -> None:
    """Each of four jobs is the one that tries, again and again for hours: no useless answer is held against it."""
    night = LongNight(tmp_path, "fal", FAL_MODEL, 4, outage=(60.0, 6 * HOUR), how=DOWN)
    night.live()
    assert night.states == {"done": 4}


def test_an_outage_leaves_few_in_doubt(tmp_path: Path) -> None:
    """With nothing at work to be asked about, submits try, seldom: most jobs stay queued, and are made after."""
    end = 6 * HOUR
    night = LongNight(tmp_path, "fal", FAL_MODEL, 40, outage=(0.0, end), how=DOWN)
    night.live()
    assert night.states["in_doubt"] <= 20
    assert night.states["in_doubt"] + night.states["done"] == 40
    assert len(night.asked_between(0.0, end)) <= 20


def test_queued_jobs_wait_for_a_connection(tmp_path: Path) -> None:
    """No connection from the start: submits that are not sent try once a minute, for free, and nothing is in doubt."""
    end = 2 * HOUR
    night = LongNight(tmp_path, "fal", FAL_MODEL, 10, outage=(0.0, end))
    night.live()
    assert night.states == {"done": 10}
    assert len(night.asked_between(0.0, end)) <= 130
    assert night.asked_between(end, end + 2 * MINUTE)


def test_a_job_that_always_fails_holds_up_no_other(tmp_path: Path) -> None:
    """One job at work whose status is an error of the server for ever ends as stuck; those behind it are made."""
    poison = [Fault("server-error-on-poll", arg=503)]
    night = LongNight(tmp_path, "fal", FAL_MODEL, 4, in_flight=1, first=poison)
    ending = night.live()
    assert ending.stopped is Stopped.NOTHING_LEFT
    assert night.states == {"running": 1, "done": 3}


def test_a_lane_says_why_it_waits() -> None:
    """While the provider is away a lane names that as the reason, unless its limits make it wait longer."""
    lane = Lane(presets()["fal"])
    assert lane.room(0.0).wait == 0.0
    for job in range(3):
        lane.outage.asked(Delayed(Cause.PROVIDER_ERROR, provider_wide=True), job, 0.0)
    assert 0.0 < lane.room(0.0).wait <= 1800.0
    assert "no answer" in lane.room(0.0).why
    lane.polls.append(1)
    assert 0.0 < lane.wait(0.0, may_poll=True, may_submit=True) <= 5.0
    assert lane.wait(60.0, may_poll=True, may_submit=True) == 0.0
    lane.limiter.refused(Refused(Cause.RATE_LIMITED, "", 3600.0, provider_wide=True), 0.0)
    assert "paused" in lane.room(0.0).why


def test_jobs_that_always_fail_do_not_stop_buying(tmp_path: Path) -> None:
    """Two of four places are held by jobs whose status is an error for ever: the others are made, within the night."""
    poison = [Fault("server-error-on-poll", arg=503)]
    night = LongNight(tmp_path, "fal", FAL_MODEL, 30, in_flight=4, first=poison, poisoned=2)
    ending = night.live(12 * HOUR)
    assert ending.stopped is Stopped.NOTHING_LEFT
    assert night.states == {"running": 2, "done": 28}


def test_a_job_that_is_never_told_of_does_not_stop_buying(tmp_path: Path) -> None:
    """The connection breaks at each question about one job, submits go once in ten minutes: the others are made."""
    night = LongNight(tmp_path, "fal", FAL_MODEL, 6, in_flight=5, first=[Fault("hang", arg=5)])
    night.provider = replace(
        night.provider, limits=Limits(submits=Rate(1, 10 * MINUTE), in_flight=5)
    )
    ending = night.live(17 * HOUR)
    assert ending.stopped is Stopped.NOTHING_LEFT
    assert night.states == {"running": 1, "done": 5}
    made = [at for at, job, _ in night.seen if job.state is State.DONE]
    assert made[-1] < 2 * HOUR


def test_a_provider_that_only_loses_submits_gets_few(tmp_path: Path) -> None:
    """Polls are answered and submits are not, for an hour: a few are in doubt, and the rest is bought after it."""
    lost = [Fault("server-error-on-submit", arg=503)]
    night = LongNight(
        tmp_path, "fal", FAL_MODEL, 200, in_flight=60, outage=(5 * MINUTE, HOUR), how=lost
    )
    night.live()
    assert night.states["in_doubt"] <= 20
    assert night.states["in_doubt"] + night.states["done"] == 200


def test_look_ups_without_use_do_not_stop_buying(tmp_path: Path) -> None:
    """After two minutes of 502 each look-up is answered with a web page: jobs stay in doubt, the others are bought."""
    night = LongNight(
        tmp_path, "kling", KLING_MODEL, 20, outage=(0.0, 100.0), how=[Fault("nginx-error", arg=502)]
    )
    night.after = [Fault("html-answer", path="*-1")]
    ending = night.live(12 * HOUR)
    assert ending.stopped is Stopped.NOTHING_LEFT
    assert 0 < night.states["in_doubt"] <= 8
    assert night.states["in_doubt"] + night.states["done"] == 20
    with reading(StateFolder(tmp_path)) as reader:
        assert reader is not None
        assert report(reader).exit_code() == 4  # a person has to look: no run does any more


def test_a_job_in_doubt_that_is_found_late_is_waited_for(tmp_path: Path) -> None:
    """Its look-ups were of no use for hours and it counted as stuck: once it is found, it is a job like any other."""
    night = LongNight(
        tmp_path, "kling", KLING_MODEL, 20, outage=(0.0, 20.0), how=[Fault("accepted-then-502")]
    )
    night.after = [Fault("html-answer", path="*-1", times=60)]
    night.provider = replace(
        night.provider, limits=Limits(submits=Rate(1, 10 * MINUTE), in_flight=5)
    )
    night.live()
    assert "stuck" in {job.cause for _, job, _ in night.seen if job.state is State.IN_DOUBT}
    assert night.states == {"done": 20}


@pytest.mark.parametrize("rate", [0.5, 0.7])
def test_questions_that_fail_now_and_then_cost_few_submits(tmp_path: Path, rate: float) -> None:
    """All submits and some of the polls fail for an hour: each poll that is answered tells nothing of submits."""
    how = [
        Fault("server-error-on-submit", arg=503),
        Fault("server-error-on-poll", arg=503, rate=rate),
    ]
    night = LongNight(
        tmp_path, "fal", FAL_MODEL, 200, in_flight=60, outage=(5 * MINUTE, HOUR), how=how,
        run=Latency("lognormal", 1200.0, 2400.0),
    )  # fmt: skip
    night.live()
    assert night.states["in_doubt"] <= 20
    assert night.states["queued"] == 0


def test_stuck_jobs_do_not_slow_the_others(tmp_path: Path) -> None:
    """Two jobs fail for ever and are stuck in time: submits, one in ten minutes, are made to wait by them only once."""
    poison = [Fault("server-error-on-poll", arg=503)]
    night = LongNight(tmp_path, "fal", FAL_MODEL, 20, in_flight=8, first=poison, poisoned=2)
    night.provider = replace(
        night.provider, limits=Limits(submits=Rate(1, 10 * MINUTE), in_flight=8)
    )
    night.live()
    assert night.states == {"running": 2, "done": 18}
    made = [at for at, job, _ in night.seen if job.state is State.DONE]
    assert made[-1] < 7 * HOUR


@pytest.mark.parametrize(
    ("how", "hours"),
    [
        pytest.param(None, 20.0, id="no connection", marks=pytest.mark.soak),
        pytest.param([Fault("too-many", arg=1)], 0.3, id="429"),
    ],
)
def test_refusals_by_the_thousand_put_nothing_in_doubt(
    tmp_path: Path, how: list[Fault] | None, hours: float
) -> None:
    """Refused or not even sent more than a thousand times: nobody doubts it, and nothing is sent twice."""
    night = LongNight(tmp_path, "fal", FAL_MODEL, 10, outage=(0.0, hours * HOUR), how=how)
    night.live()
    assert len(night.asked) > 1000
    assert set(night.states) <= {"done", "queued"}
    assert len(night.world.ledger) == night.states["done"]


@pytest.mark.soak
def test_a_job_with_useless_answers_for_a_day_ends_no_run(tmp_path: Path) -> None:
    """Thousands of them in a row: it is stuck, and the other jobs of a run that lasts are made."""
    night = LongNight(
        tmp_path, "kling", KLING_MODEL, 2, in_flight=5, first=[Fault("truncated-json")]
    )
    night.provider = replace(night.provider, limits=Limits(submits=Rate(1, 40 * HOUR), in_flight=5))
    ending = night.live()
    assert ending.stopped is Stopped.NOTHING_LEFT
    assert night.states == {"running": 1, "done": 1}
