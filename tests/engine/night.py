"""A whole run inside a test: real store, real sockets, the simulator at the other end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.clock import Clock
from runner.engine import Ending, Engine, Options
from runner.events import Event
from runner.files import Files
from runner.http import Http
from runner.job import Job, Spec, State, job_key
from runner.keys import Keys
from runner.providers import Provider, Traits, presets
from runner.simulator import Fault, Settings, Simulator
from runner.simulator.settings import Latency
from runner.steps import Edges
from runner.store import Batch, SqliteStore, StateFolder


class FastClock(Clock):
    """Time that runs `speed` times faster than the wall's, for everybody who is given this clock."""

    def __init__(self, speed: float = 20.0) -> None:
        self._speed = speed
        self._start = time.time()

    def now(self) -> float:
        """Unix seconds, running ahead."""
        return self._start + (time.time() - self._start) * self._speed

    def monotonic(self) -> float:
        """The same."""
        return self.now()

    async def sleep(self, seconds: float) -> None:
        """Wait, faster."""
        await super().sleep(seconds / self._speed)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait, faster."""
        return await super().wait(event, seconds / self._speed)


CLOCK = FastClock()
QUICK = Settings(queue=Latency("fixed", 0.2), run=Latency("fixed", 1.0), concurrency=100)


def simulator(settings: Settings = QUICK, faults: Sequence[Fault] = ()) -> Simulator:
    """A simulator on the same fast time."""
    return Simulator(settings, faults, clock=CLOCK.now)


KEYS = {
    "WINFULL_API_KEY": "sk-canary-winfull",
    "QUICKROUTER_API_KEY": "sk-canary-quickrouter",
    "UNIAPI_API_KEY": "sk-canary-uniapi",
    "KLING_GATEWAY_API_KEY": "sk-canary-gateway",
    "FAL_KEY": "canary:fal",
    "KLING_ACCESS_KEY": "sim-access",
    "KLING_SECRET_KEY": "sim-secret",
    "SIMULATOR_API_KEY": "sk-canary-simulator",
}
FAL_MODEL = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
KLING_MODEL = "kling/v1/videos/text2video"


def provider_at(sim: Simulator, name: str, **changes: Any) -> Provider:
    """A system's preset, pointed at the simulator and told that its jobs are quick."""
    preset = presets()[name]
    quick = {
        "fal": replace(preset.fal, min_poll=0.2, expected=1.0),
        "kling": replace(preset.kling, min_poll=0.2, expected=1.0),
    }
    base = sim.base_url(name)
    return replace(
        preset, base_url=base, private=True, media_hosts=("127.0.0.1",), **quick | changes
    )


def specs(model: str, count: int, batch: str = "film", **params: Any) -> list[Spec]:
    """So many jobs that differ by their prompt."""
    made = []
    for index in range(count):
        body: Mapping[str, Any] = {"prompt": f"{batch} take {index}", "duration": "5", **params}
        if "/v1/" in f"/{model}":
            body = {"model_name": "kling-v2-5-turbo", **body}
        key = job_key(batch, model, body, "", 0)
        made.append(
            Spec(key, batch, key[:8], index, 0, model, body, f"{batch}/{index:04}.${{{{ ext }}}}")
        )
    return made


@dataclass
class Night:
    """One state folder and what is run on it, as often as wanted."""

    root: Path
    provider: Provider
    jobs: Sequence[Spec]
    options: Options = field(default_factory=lambda: Options(settle=1.0))
    batch: Batch = field(default_factory=lambda: Batch("film", "film.yaml", "d", ""))
    seen: list[tuple[Job, Event]] = field(default_factory=list)
    env: Mapping[str, str] = field(default_factory=lambda: KEYS)
    engine: Engine | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Clock = CLOCK

    async def run(self) -> Ending:
        """Store the jobs and work until nothing is left."""
        clock = self.clock
        async with SqliteStore(StateFolder(self.root), clock.now()) as store:
            batch = replace(self.batch, provider=self.provider.name)
            stored, _ = await store.add(batch, [self.jobs], clock.now())
            run = await store.begin_run(clock.now())
            async with Http(Keys(self.env), clock) as http:
                files = Files(self.root / "outputs", clock, free_floor=0)
                self.engine = Engine(
                    store,
                    Edges(http, files, clock),
                    {self.provider.name: self.provider},
                    [stored],
                    options=self.options,
                    run=run,
                    observer=self._see,
                )
                return await self.engine.run()

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until something is so, at most ten seconds."""
        async with asyncio.timeout(10):
            while not done():
                await self.clock.wait(self.changed, 0.1)
                self.changed.clear()

    def _see(self, job: Job, event: Event) -> None:
        self.seen.append((job, event))
        self.changed.set()

    async def states(self) -> dict[State, int]:
        """How many jobs are where."""
        async with SqliteStore(StateFolder(self.root), self.clock.now()) as store:
            counts = await store.counts([batch.number for batch in await store.batches()])
        found: dict[State, int] = {}
        for (_, _, state), count in counts.items():
            found[state] = found.get(state, 0) + count
        return found

    def events(self, kind: type[Event]) -> list[tuple[Job, Any]]:
        """What was learned of one sort."""
        return [(job, event) for job, event in self.seen if isinstance(event, kind)]


__all__ = ["FAL_MODEL", "KLING_MODEL", "Night", "Traits", "provider_at", "specs"]
