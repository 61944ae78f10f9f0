"""How long a stop takes: none where it is asked for twice, no longer than the drain where it is asked for once."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from runner.clock import Clock
from runner.engine import Options
from runner.job import State
from runner.simulator import Fault, Simulator
from tests.engine.night import FAL_MODEL, Night, provider_at, specs
from tests.storage.shop import QUICK, REPOSITORY, Shop

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals")


async def abort(sim: Simulator, folder: Path) -> float:
    """A run with submits in the air is told twice to stop; says how many seconds it took from the second time on."""
    shop = Shop.opened(sim, folder, 2)
    before = len(sim.ledger)
    process = await asyncio.create_subprocess_exec(
        *shop.run_command(), cwd=REPOSITORY,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    ended = asyncio.create_task(process.wait())
    async with asyncio.timeout(30):
        while len(sim.ledger) < before + 2:
            await asyncio.wait([ended], timeout=0.01)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait([ended], timeout=0.05)  # or both may be taken for one
        began = asyncio.get_running_loop().time()
        process.send_signal(signal.SIGTERM)
        assert await ended == 128 + signal.SIGTERM
    assert shop.states() == {"in_doubt": 2}
    return asyncio.get_running_loop().time() - began


async def test_an_abort_takes_less_than_a_second(tmp_path: Path) -> None:
    """Asked twice, an engine with submits in the air ends within a second, all of it written down."""
    async with Simulator(QUICK, [Fault("accepted-then-hang")]) as sim:
        night = Night(tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 8), clock=Clock())
        running = asyncio.create_task(night.run())
        await night.until(lambda: len(sim.ledger) == 2)  # more at once only when one was taken
        assert night.engine is not None
        began = asyncio.get_running_loop().time()
        night.engine.stop()
        night.engine.stop()
        await running
        assert asyncio.get_running_loop().time() - began < 1.0
        assert await night.states() == {State.IN_DOUBT: 2, State.QUEUED: 6}


@pytest.mark.soak
async def test_two_hundred_aborts(tmp_path: Path) -> None:
    """The same for the command, by signal: 99 of 100 end within a second, on an idle machine."""
    runs = 200
    async with Simulator(QUICK, [Fault("accepted-then-hang")]) as sim:
        took = []
        for number in range(runs):
            (tmp_path / str(number)).mkdir()
            took.append(await abort(sim, tmp_path / str(number)))
    took.sort()
    print(f"{runs} aborts: median {took[runs // 2]:.3f} s, slowest {took[-1]:.3f} s")
    assert took[int(runs * 0.99)] < 1.0


async def test_a_drain_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """A download that does not end is waited for as long as the drain lasts, half a second more or less, and kept."""
    quick = replace(QUICK, queue=replace(QUICK.queue, first=0.0))
    async with Simulator(quick, [Fault("media-slow", arg=100)]) as sim:
        night = Night(
            tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 2),
            options=Options(drain=0.5), clock=Clock(),
        )  # fmt: skip
        running = asyncio.create_task(night.run())
        await night.until(lambda: sum(task.downloads for task in sim.ledger) == 2)
        assert night.engine is not None
        night.engine.stop()
        began = asyncio.get_running_loop().time()
        await running
        assert 0.4 < asyncio.get_running_loop().time() - began < 1.0
        assert await night.states() == {State.READY: 2}
        sim.clear_faults()
        await night.run()
        assert await night.states() == {State.DONE: 2}
        assert len(sim.ledger) == 2


async def test_a_drain_waits_for_an_answer(tmp_path: Path) -> None:
    """A submit in the air is waited for beyond the drain: its answer is a receipt."""
    async with Simulator(QUICK, [Fault("slow-answer", arg=1.0)]) as sim:
        night = Night(
            tmp_path, provider_at(sim, "winfull"), specs(FAL_MODEL, 2),
            options=Options(drain=0.1), clock=Clock(),
        )  # fmt: skip
        running = asyncio.create_task(night.run())
        await night.until(lambda: len(sim.ledger) == 2)
        assert night.engine is not None
        night.engine.stop()
        await running
        assert await night.states() == {State.RUNNING: 2}
