"""Fixtures that start simulators on free ports, with a clock that is set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from runner.simulator import Fault, Settings, Simulator
from tests.simulator.asking import Client, SetClock, Start


@pytest.fixture
def clock() -> SetClock:
    """A clock that is set by hand."""
    return SetClock()


@pytest.fixture
async def start(clock: SetClock) -> AsyncIterator[Start]:
    """Start simulators on free ports with the hand-set clock; all are stopped at the end."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10), auto_decompress=False)
        )

        async def begin(*faults: Fault | str, settings: Settings | None = None) -> Client:
            made = [Fault(item) if isinstance(item, str) else item for item in faults]
            sim = await stack.enter_async_context(Simulator(settings, made, clock=clock))
            return Client(sim, http, clock)

        yield begin


@pytest.fixture
async def client(start: Start) -> Client:
    """A simulator without faults."""
    return await start()
