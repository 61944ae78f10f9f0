"""Whole runs over real sockets, one promise each."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from runner.budget import Money, Price
from runner.causes import Cause
from runner.engine import Options, Stopped
from runner.events import Accepted, Intended, Progressed, Refused, Saved, Unclear
from runner.job import State
from runner.limits import Limits, Rate
from runner.simulator import Fault, Simulator
from runner.simulator.settings import Latency, RateLimit
from runner.store import Batch
from tests.engine.night import FAL_MODEL, KLING_MODEL, QUICK, Night, provider_at, simulator, specs

SYSTEMS = [
    ("winfull", FAL_MODEL),
    ("quickrouter", FAL_MODEL),
    ("uniapi", FAL_MODEL),
    ("fal", FAL_MODEL),
    ("winfull", KLING_MODEL),
    ("quickrouter", KLING_MODEL),
    ("kling-gateway", KLING_MODEL),
    ("kling", "v1/videos/text2video"),
]


def bought(sim: Simulator) -> Counter[str]:
    """How often each prompt was accepted and billed."""
    return Counter(str(task.body["prompt"]) for task in sim.ledger)


@pytest.mark.parametrize(("name", "model"), SYSTEMS)
async def test_every_system_delivers(tmp_path: Path, name: str, model: str) -> None:
    """Each system's jobs end with their own clip, bought once, named in a sidecar."""
    async with simulator(QUICK) as sim:
        night = Night(tmp_path, provider_at(sim, name), specs(model, 6))
        ending = await night.run()
        assert (ending.stopped, ending.held) == (Stopped.NOTHING_LEFT, {})
        assert await night.states() == {State.DONE: 6}
        assert set(bought(sim).values()) == {1}
    clips = sorted((tmp_path / "outputs" / "film").glob("*.mp4"))
    hashes = {hashlib.sha256(clip.read_bytes()).hexdigest() for clip in clips}
    assert len(clips) == len(hashes) == 6
    sidecar = json.loads(clips[0].with_suffix(".json").read_text("utf-8"))
    assert sidecar["prompt"] == "film take 0"
    saved = night.events(Saved)
    assert {file.sha256 for _, event in saved for file in event.files} == hashes


async def test_a_finished_run_is_not_bought_again(tmp_path: Path) -> None:
    """The same run again submits nothing and asks nothing."""
    async with simulator(QUICK) as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 3))
        await night.run()
        before = len(sim.log)
        ending = await night.run()
        assert ending.submits == 0
        assert len(sim.log) == before


async def test_what_was_in_the_air_is_polled_after_a_stop(tmp_path: Path) -> None:
    """Stopped after the submits, the next run fetches every clip without buying one again."""
    slow = replace(QUICK, run=Latency("fixed", 4.0))
    async with simulator(slow) as sim:
        night = Night(tmp_path, provider_at(sim, "fal"), specs(FAL_MODEL, 5))
        running = asyncio.create_task(night.run())
        await night.until(lambda: len(night.events(Accepted)) == 5)
        assert night.engine is not None
        night.engine.stop()
        ending = await running
        assert ending.stopped is Stopped.SIGNAL
        assert (await night.states())[State.RUNNING] == 5
        await night.run()
        assert await night.states() == {State.DONE: 5}
        assert set(bought(sim).values()) == {1}


async def test_a_second_stop_leaves_submits_in_doubt(tmp_path: Path) -> None:
    """An impatient stop cancels requests in the air and writes down that nobody knows."""
    async with simulator(QUICK, [Fault("accepted-then-hang")]) as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 2))
        running = asyncio.create_task(night.run())
        await night.until(lambda: len(sim.ledger) == 2)
        assert night.engine is not None
        night.engine.stop()
        night.engine.stop()
        await running
        assert await night.states() == {State.IN_DOUBT: 2}
        sim.clear_faults()
        await night.run()
        assert await night.states() == {State.IN_DOUBT: 2}
        assert sum(bought(sim).values()) == 2


LOST = [
    "accepted-then-dropped",
    "accepted-then-500",
    "accepted-then-502",
    "accepted-then-504",
    "accepted-then-408",
    "accepted-then-empty",
    "accepted-then-html",
    "accepted-then-truncated",
    "accepted-then-no-id",
]


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_answer_is_held_where_nobody_can_tell(tmp_path: Path, fault: str) -> None:
    """A submit to fal can't be asked about a submit without an answer: it is held, and never sent again by itself."""
    async with simulator(QUICK, [Fault(fault, times=2)]) as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 5))
        await night.run()
        await night.run()
        assert await night.states() == {State.DONE: 3, State.IN_DOUBT: 2}
        assert set(bought(sim).values()) == {1}
        assert len(night.events(Unclear)) == 2


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_answer_is_looked_up_where_the_api_can_say(tmp_path: Path, fault: str) -> None:
    """Kling is asked by our own id, the job is adopted, and its clip comes home."""
    async with simulator(QUICK, [Fault(fault, times=2)]) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs("v1/videos/text2video", 5))
        await night.run()
        assert await night.states() == {State.DONE: 5}
        assert set(bought(sim).values()) == {1}


async def test_a_submit_that_never_arrived_is_found_to_be_absent(tmp_path: Path) -> None:
    """Kling says that it has no such task: the job is sent again, under the same id, and bought once."""
    async with simulator(QUICK, [Fault("drop-before-accept", times=2)]) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs("v1/videos/text2video", 4))
        await night.run()
        assert await night.states() == {State.DONE: 4}
        assert set(bought(sim).values()) == {1}
        refs = [event.client_ref for _, event in night.events(Intended)]
        assert max(Counter(refs).values()) == 2


async def test_resubmit_in_doubt_is_capped(tmp_path: Path) -> None:
    """With on_doubt: resubmit a job is paid for twice at most, then held."""
    async with simulator(QUICK, [Fault("accepted-then-dropped")]) as sim:
        batch = Batch("film", "film.yaml", "d", "", on_doubt="resubmit")
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 2), batch=batch)
        await night.run()
        assert await night.states() == {State.IN_DOUBT: 2}
        assert set(bought(sim).values()) == {2}


async def test_nobody_there_costs_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """A provider that can't be reached leaves every job queued; the run can be stopped and goes on later."""
    async with simulator(QUICK) as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 3))
        here = night.provider
        night.provider = replace(here, base_url="http://127.0.0.1:1")
        running = asyncio.create_task(night.run())
        await night.until(lambda: bool(night.events(Refused)))
        assert night.engine is not None
        night.engine.stop()
        await running
        assert await night.states() == {State.QUEUED: 3}
        assert {event.cause for _, event in night.events(Refused)} == {Cause.NO_CONNECTION}
        night.provider = here
        await night.run()
        assert await night.states() == {State.DONE: 3}


async def test_too_many_requests_are_waited_out(tmp_path: Path) -> None:
    """A 429 costs nothing: the provider is left alone for a moment, then every job is made."""
    async with simulator(QUICK, [Fault("too-many", path="/fal-ai/*", times=2, arg=1)]) as sim:
        night = Night(tmp_path, provider_at(sim, "fal"), specs(FAL_MODEL, 4))
        await night.run()
        assert await night.states() == {State.DONE: 4}
        assert set(bought(sim).values()) == {1}


async def test_crowding_lowers_the_number_in_flight(tmp_path: Path) -> None:
    """Kling refuses above its concurrency; the runner finds the number and rarely asks for more."""
    settings = replace(QUICK, concurrency=3, run=Latency("fixed", 0.5))
    async with simulator(settings) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs("v1/videos/text2video", 30))
        await night.run()
        assert await night.states() == {State.DONE: 30}
        refused = [event for _, event in night.events(Refused) if event.crowded]
        assert 0 < len(refused) <= 10


@pytest.mark.parametrize(
    ("fault", "cause"), [("bad-key", Cause.BAD_KEY), ("out-of-money", Cause.OUT_OF_MONEY)]
)
async def test_a_refused_account_stops_the_provider_after_two_answers(
    tmp_path: Path, fault: str, cause: Cause
) -> None:
    """A bad key or an empty account holds the provider: two answers, nothing bought, the rest waits."""
    async with simulator(QUICK, [Fault(fault)]) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), specs("v1/videos/text2video", 20))
        ending = await night.run()
        assert ending.held == {"kling": cause}
        assert await night.states() == {State.QUEUED: 20}
        assert len(sim.log) == 2


async def test_content_policy_fails_the_job_alone(tmp_path: Path) -> None:
    """A prompt that the provider refuses fails with its cause; the others are made."""
    for name, model in (("fal", FAL_MODEL), ("kling", "v1/videos/text2video")):
        async with simulator(QUICK) as sim:
            jobs = specs(model, 3)
            bad = {**jobs[1].params, "prompt": "a forbiddenword"}
            jobs[1] = replace(jobs[1], params=bad)
            night = Night(tmp_path / name, provider_at(sim, name), jobs)
            await night.run()
            assert await night.states() == {State.DONE: 2, State.FAILED: 1}
            (failed,) = [job for job, _ in night.seen if job.state is State.FAILED]
            assert failed.cause is Cause.CONTENT_POLICY


async def test_a_budget_is_never_passed(tmp_path: Path) -> None:
    """With money for four, four are bought and the others wait."""
    async with simulator(QUICK) as sim:
        provider = replace(
            provider_at(sim, "winfull"), prices={FAL_MODEL: Price(per_second=Decimal("0.07"))}
        )
        batch = Batch("film", "film.yaml", "d", "", budget=Money.parse("1.50 USD"))
        night = Night(tmp_path, provider, specs(FAL_MODEL, 20), batch=batch)
        ending = await night.run()
        assert ending.over_budget == ("film",)
        assert await night.states() == {State.DONE: 4, State.QUEUED: 16}
        assert len(sim.ledger) == 4


async def test_a_rate_is_never_passed(tmp_path: Path) -> None:
    """A server that counts in fixed windows, sliding windows or tokens never has to refuse."""
    for kind in ("fixed", "sliding"):
        limited = replace(QUICK, rate_limit=RateLimit(5, 5.0, kind))
        async with simulator(limited) as sim:
            provider = replace(provider_at(sim, "fal"), limits=Limits(submits=Rate(5, 5.0)))
            night = Night(tmp_path / kind, provider, specs(FAL_MODEL, 12))
            await night.run()
            assert await night.states() == {State.DONE: 12}
            assert night.events(Refused) == []


async def test_an_expired_address_is_asked_for_again_then_given_up(tmp_path: Path) -> None:
    """A result whose file is gone is asked for afresh; when there is no other, it is expired, and was paid for."""
    async with simulator(QUICK, [Fault("media-404", times=1)]) as sim:
        night = Night(tmp_path / "once", provider_at(sim, "fal"), specs(FAL_MODEL, 1))
        await night.run()
        assert await night.states() == {State.DONE: 1}
    async with simulator(QUICK, [Fault("media-404")]) as sim:
        night = Night(tmp_path / "gone", provider_at(sim, "fal"), specs(FAL_MODEL, 1))
        await night.run()
        assert await night.states() == {State.FAILED: 1}
        assert night.seen[-1][0].cause is Cause.EXPIRED


async def test_a_status_url_on_another_host_is_never_visited(tmp_path: Path) -> None:
    """Returned URLs name a host that isn't the provider's: no request reaches it, with or without a key."""
    async with simulator(QUICK) as evil:
        foreign = Fault("foreign-urls", arg=evil.url)
        async with simulator(QUICK, [foreign]) as sim:
            night = Night(tmp_path, provider_at(sim, "fal"), specs(FAL_MODEL, 3))
            await night.run()
            assert await night.states() == {State.DONE: 3}
        assert len(evil.log) == 0


@pytest.mark.parametrize("code", ["301", "302", "307", "308"])
async def test_a_redirect_carries_no_key(tmp_path: Path, code: str) -> None:
    """A redirected submit is not followed: the other host sees nothing, the job is not sent there."""
    async with simulator(QUICK) as evil:
        fault = Fault(f"redirect-{code}", path="/fal-ai/*", arg=evil.url)
        async with simulator(QUICK, [fault]) as sim:
            night = Night(tmp_path, provider_at(sim, "fal"), specs(FAL_MODEL, 1))
            await night.run()
            assert await night.states() == {State.FAILED: 1}
            assert night.seen[-1][0].cause is Cause.FOREIGN_URL
        assert len(evil.log) == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("server-error-on-poll", times=3),
        Fault("always-200"),
        Fault("status-route-missing"),
        Fault("status-route-missing", arg=405),
        Fault("status-regresses", times=2),
        Fault("unknown-status", times=2),
        Fault("truncated-json", times=2),
        Fault("empty-answer", times=2),
        Fault("html-answer", times=2),
        Fault("integer-ids"),
        Fault("minimal-file"),
        Fault("task-forgotten", times=1),
        Fault("media-no-length"),
        Fault("media-wrong-type"),
        Fault("media-cut", times=1),
        Fault("media-empty", times=1),
        Fault("media-ignores-range"),
        Fault("media-html", times=1),
        Fault("media-disguised", times=1),
    ],
    ids=lambda fault: f"{fault.name}-{fault.arg or ''}",
)
@pytest.mark.parametrize(("name", "model"), [("fal", FAL_MODEL), ("kling", "v1/videos/text2video")])
async def test_odd_answers_lose_nothing(
    tmp_path: Path, name: str, model: str, fault: Fault
) -> None:
    """Whatever polls and downloads answer for a while, every clip comes home and is bought once."""
    async with simulator(QUICK, [fault]) as sim:
        night = Night(tmp_path, provider_at(sim, name), specs(model, 2))
        async with asyncio.timeout(30):
            await night.run()
        assert await night.states() == {State.DONE: 2}
        assert set(bought(sim).values()) == {1}


async def test_a_job_that_takes_too_long_is_stuck_and_still_watched(tmp_path: Path) -> None:
    """Past its timeout a job is reported as stuck, not failed, and the next run fetches it if it came."""
    async with simulator(replace(QUICK, run=Latency("fixed", 10.0))) as sim:
        batch = Batch("film", "film.yaml", "d", "", timeout=1.0)
        night = Night(tmp_path, provider_at(sim, "fal"), specs(FAL_MODEL, 1), batch=batch)
        await night.run()
        assert night.seen[-1][0].cause is Cause.STUCK
        async with asyncio.timeout(20):
            while (await night.states()) != {State.DONE: 1}:
                await night.run()
        assert len(sim.ledger) == 1


async def test_a_poll_that_changes_nothing_is_not_written(tmp_path: Path) -> None:
    """However often a job is asked about, its rows tell of changes only."""
    async with simulator(replace(QUICK, run=Latency("fixed", 5.0))) as sim:
        provider = provider_at(sim, "fal")
        provider = replace(
            provider, fal=replace(provider.fal, min_poll=0.1, expected=0.1), poll="eager"
        )
        night = Night(tmp_path, provider, specs(FAL_MODEL, 1))
        await night.run()
        polls = sum(entry.method == "GET" and entry.path.endswith("/status") for entry in sim.log)
        assert polls > 5
        assert len(night.events(Progressed)) <= 2


async def test_a_limit_of_submits_is_kept(tmp_path: Path) -> None:
    """`--limit 2` buys two and leaves the rest queued."""
    async with simulator(QUICK) as sim:
        night = Night(
            tmp_path,
            provider_at(sim, "fal"),
            specs(FAL_MODEL, 5),
            options=Options(limit=2, settle=1.0),
        )
        await night.run()
        assert await night.states() == {State.DONE: 2, State.QUEUED: 3}


async def test_the_right_to_send_expires(tmp_path: Path) -> None:
    """A process that was paused between intent and request does not pay late."""
    async with simulator(QUICK) as sim:
        options = Options(send_within=-1.0, settle=1.0, limit=3)
        night = Night(tmp_path, provider_at(sim, "fal"), specs(FAL_MODEL, 1), options=options)
        await night.run()
        assert len(sim.ledger) == 0
        assert (await night.states()) == {State.QUEUED: 1}
