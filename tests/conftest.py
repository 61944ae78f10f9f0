"""What many tests stand on: a real store in a temporary folder, jobs as values, a clock that is told the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from runner.clock import Clock
from runner.job import Spec, job_key
from runner.store import SqliteStore, StateFolder

T0 = 1_800_000_000.0


class TestClock(Clock):
    """A clock that stands still until it is moved. Sleeping moves it."""

    __test__ = False

    def __init__(self, now: float = T0) -> None:
        self.time = now

    def now(self) -> float:
        """Unix seconds."""
        return self.time

    def monotonic(self) -> float:
        """The same."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once."""
        self.time += max(0.0, seconds)
        await asyncio.sleep(0)


def make_spec(index: int = 0, *, batch: str = "film", **params: Any) -> Spec:
    """A job of a batch, different for each index."""
    body = {"prompt": f"a boat, take {index}", "duration": "5", **params}
    model = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
    key = job_key(batch, model, body, "", 0)
    return Spec(key, batch, key[:8], index, 0, model, body, f"{batch}/{key[:8]}.${{{{ ext }}}}")


@pytest.fixture
def clock() -> TestClock:
    """A clock that stands still."""
    return TestClock()


@pytest.fixture
def specs() -> Callable[..., Spec]:
    """Makes jobs."""
    return make_spec


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """An empty state folder."""
    return StateFolder(tmp_path / "state")


@pytest.fixture
async def store(folder: StateFolder) -> AsyncIterator[SqliteStore]:
    """A store on a real file."""
    async with SqliteStore(folder, T0) as opened:
        yield opened
