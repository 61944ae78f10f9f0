"""What a night costs: one payment for each copy that was asked for, a cap on every loop, and the provider's own sum."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from runner.budget import Money, Price
from runner.events import Rejected
from runner.job import Spec, State, job_key
from runner.simulator import Fault, Simulator
from runner.store import Batch, StateFolder
from runner.store.reader import reading
from tests.engine.night import CLOCK, FAL_MODEL, QUICK, Night, provider_at, simulator, specs

KLING = "v1/videos/text2video"
PRICES = {model: Price(per_second=Decimal("0.07")) for model in (FAL_MODEL, KLING)}


def copies(model: str, count: int) -> list[Spec]:
    """The same request so many times, as `repeat:` asks for it."""
    (one,) = specs(model, 1)
    return [
        replace(
            one, repeat=number, index=number, id=f"{one.id}-{number}", output=f"{number}.${{{{ ext }}}}",
            key=job_key("film", model, one.params, "", number),
        )
        for number in range(count)
    ]  # fmt: skip


def bought(sim: Simulator) -> Counter[str]:
    """How often each prompt was accepted."""
    return Counter(str(task.body["prompt"]) for task in sim.ledger)


def spent(root: Path) -> Money:
    """What the rows say that was spent."""
    with reading(StateFolder(root)) as reader:
        assert reader is not None
        (spend,) = reader.spend([batch.number for batch in reader.batches()])
        return spend.committed


async def test_copies_of_one_request_are_told_apart(tmp_path: Path) -> None:
    """Of twenty equal requests five answers are lost: each is found by its own reference, and none is bought again."""
    async with simulator(QUICK, [Fault("accepted-then-dropped", times=5)]) as sim:
        night = Night(tmp_path, provider_at(sim, "kling"), copies(KLING, 20))
        await night.run()
        assert await night.states() == {State.DONE: 20}
        assert sum(bought(sim).values()) == 20
        assert sorted(task.downloads for task in sim.ledger) == [1] * 20


async def test_copies_without_look_up_are_held(tmp_path: Path) -> None:
    """The same where nobody can be asked: five are held, fifteen are made, and no answer is given to another copy."""
    async with simulator(QUICK, [Fault("accepted-then-dropped", rate=0.4, times=5)]) as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), copies(FAL_MODEL, 20))
        for _ in range(2):
            await night.run()
            assert await night.states() == {State.DONE: 15, State.IN_DOUBT: 5}
            assert sum(bought(sim).values()) == 20


@pytest.mark.parametrize("jobs", [40, pytest.param(2_000, marks=pytest.mark.soak)])
async def test_a_loop_of_resubmits_ends_at_the_budget(tmp_path: Path, jobs: int) -> None:
    """Lost answers are sent again: as many are bought as the budget pays for, and no job more than twice."""
    async with simulator(QUICK, [Fault("accepted-then-dropped", rate=0.3)]) as sim:
        payments = jobs + jobs // 10
        budget = Money.parse(f"{Decimal('0.35') * payments} USD")
        batch = Batch("film", "film.yaml", "d", "", on_doubt="resubmit", budget=budget)
        provider = provider_at(sim, "winfull", prices=PRICES)
        night = Night(tmp_path, provider, specs(FAL_MODEL, jobs), batch=batch)
        await night.run()
        await night.run()
        assert len(sim.ledger) == payments
        assert max(bought(sim).values()) == 2
        assert spent(tmp_path) == budget


@pytest.mark.parametrize("jobs", [60, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_jobs_that_always_fail_are_bought_once(tmp_path: Path, jobs: int) -> None:
    """The provider takes every job and fails to make it: one payment each, however often the manifest is run."""
    async with simulator(QUICK, [Fault("task-failed")]) as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, jobs))
        for _ in range(3):
            await night.run()
        assert await night.states() == {State.FAILED: jobs}
        assert len(sim.ledger) == jobs


async def test_an_edited_manifest_buys_what_is_new(tmp_path: Path) -> None:
    """Unchanged: no submit. One line more: one. One line less: none, and what it made is kept."""
    async with simulator(QUICK) as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 6)[:5])
        await night.run()
        assert (await night.run()).submits == 0
        night.jobs = specs(FAL_MODEL, 6)
        assert (await night.run()).submits == 1
        night.jobs = night.jobs[1:]
        assert (await night.run()).submits == 0
        assert await night.states() == {State.DONE: 6}
        assert set(bought(sim).values()) == {1}


async def test_what_was_planned_is_what_is_billed(tmp_path: Path) -> None:
    """The sum of the prices that were reserved is the provider's own, to the cent; a refused job is on neither."""
    async with simulator(QUICK, [Fault("content-refused", times=2)]) as sim:
        provider = provider_at(sim, "winfull", prices=PRICES)
        night = Night(tmp_path, provider, specs(FAL_MODEL, 20))
        await night.run()
        assert len(night.events(Rejected)) == 2
        assert await night.states() == {State.DONE: 18, State.FAILED: 2}
        assert spent(tmp_path) == Money.parse("6.30 USD")
        assert round(sim.ledger.spent(CLOCK.now()), 2) == 6.30
