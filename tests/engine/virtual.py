"""A whole run in virtual time: real store, real files, the simulator at the end of a road without sockets.

Hours pass in a second, so that outages of hours can be lived through and every request in them counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import (
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from runner.engine import Ending, Engine, Options
from runner.events import Event
from runner.files import Files
from runner.job import Job, Spec
from runner.keys import Keys
from runner.limits import Limits
from runner.providers import Provider, presets
from runner.simulator import Fault, Settings, desk
from runner.simulator.reply import Call, Reply
from runner.simulator.settings import Latency
from runner.simulator.systems import locate
from runner.simulator.world import World
from runner.steps import Edges
from runner.store import Batch, SqliteStore, StateFolder
from tests.engine.night import KEYS, specs
from tests.simulation.loop import VirtualLoop, watched_threads
from tests.simulation.network import unreachable
from tests.simulation.sky import Sky, SkyClock
from tests.simulation.wire import Answer, Pending, WireHttp

HOST = "sim.example"
MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was made: when, and for what."""

    at: float
    method: str
    path: str

    @property
    def media(self) -> bool:
        """Whether it was for a result's file."""
        return self.path.startswith("/media/")


class LongNight:
    """One run on one provider. Times are seconds from its beginning.

    `outage` is from when to when something is wrong with the provider, and `how` what: None for no connection, else
    faults; `after` are others, from its end on. `first` are faults that only the first jobs at work meet (`poisoned`
    of them), for ever. `timeout` is the manifest's.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        model: str,
        jobs: int = 1,
        *,
        in_flight: int = 50,
        run: Latency | None = None,
        outage: tuple[float, float] = (0.0, 0.0),
        timeout: float | None = None,
        how: Sequence[Fault] | None = None,
        first: Sequence[Fault] = (),
        poisoned: int = 1,
    ) -> None:
        self._root = root
        self.outage = outage
        self._how = how
        self._timeout = timeout
        self._first = first
        self._poisoned = poisoned
        self.after: Sequence[Fault] = ()
        self._was_away = False
        self._hit = 0
        self._sky = Sky()
        self.dawn = self._sky.truth
        run = run or Latency("lognormal", 120.0, 240.0)
        settings = Settings(seed=7, run=run, concurrency=in_flight + 10, log_limit=0)
        self.world = World(settings, lambda: self._sky.truth)
        self.world.base_url = f"https://{HOST}"
        self.provider: Provider = replace(
            presets()[name],
            base_url=f"https://{HOST}/as/{name}",
            limits=Limits(in_flight=in_flight),
        )
        self.jobs: list[Spec] = specs(model, jobs)
        self.asked: list[Asked] = []
        self.seen: list[tuple[float, Job, Event]] = []
        self.fired: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.stop_after: Callable[[Event], bool] = lambda _: False
        self._engine: Engine | None = None
        self.states: Counter[str] = Counter()

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return self._sky.truth - self.dawn

    @property
    def away(self) -> bool:
        """Whether the provider is away now."""
        return self.outage[0] <= self.now < self.outage[1]

    @property
    def unreachable(self) -> bool:
        """Whether there is no connection now."""
        return self.away and self._how is None

    def asked_between(self, start: float, end: float) -> list[Asked]:
        """The requests to the provider in that time; downloads are not among them."""
        return [one for one in self.asked if start <= one.at < end and not one.media]

    def set_clock(self, seconds: float) -> None:
        """Set this machine's clock; nobody else's is."""
        self._sky.skew += seconds

    def pass_time(self, seconds: float) -> None:
        """Let time pass between two runs."""
        self._sky.end_life(seconds)

    def decide(self, decision: Callable[[SqliteStore, float], Awaitable[object]]) -> None:
        """Change what is stored between two runs; `decision` is given the store and the time."""

        async def work() -> None:
            now = self._sky.wall
            async with SqliteStore(StateFolder(self._root), now) as store:
                await decision(store, now)

        asyncio.run(work())

    def live(self, patience: float = 48 * HOUR, **options: Any) -> Ending:
        """Run it to its end, which has to come within `patience` seconds."""
        random.seed(7)  # the jitter of retries
        loop = self._sky.loop = VirtualLoop(self._sky.awake, random.Random(7))
        level = logging.getLogger("runner").level
        logging.getLogger("runner").setLevel(logging.CRITICAL)
        try:
            with watched_threads():
                return loop.run_until_complete(asyncio.wait_for(self._run(options), patience))
        finally:
            logging.getLogger("runner").setLevel(level)
            self._sky.end_life()
            loop.close()

    async def _run(self, options: Mapping[str, Any]) -> Ending:
        clock = SkyClock(self._sky)
        async with SqliteStore(StateFolder(self._root), clock.now()) as store:
            name = self.provider.name
            batch = Batch("film", "film.yaml", "d", name, timeout=self._timeout)
            stored, _ = await store.add(batch, [self.jobs], clock.now())
            run = await store.begin_run(clock.now())
            async with WireHttp(lambda _: _Session(self), Keys(KEYS), clock) as http:
                files = Files(self._root / "outputs", clock, free_floor=0)
                engine = self._engine = Engine(
                    store, Edges(http, files, clock), {self.provider.name: self.provider}, [stored],
                    options=Options(**options), run=run, observer=self._see,
                )  # fmt: skip
                ending = await engine.run()
            counts = await store.counts([stored.number])
        self.states = Counter()
        for (_, _, state), count in counts.items():
            self.states[state.value] += count
        return ending

    def _see(self, job: Job, event: Event) -> None:
        self.seen.append((self.now, job, event))
        if self._engine is not None and self.stop_after(event):
            self._engine.stop()

    def _turn_faults(self) -> None:
        """Put in force what is wrong now."""
        if self.away != self._was_away:
            self._was_away = self.away
            self.world.faults.clear()
            for fault in (self._how or ()) if self.away else self.after:
                self.world.faults.add(fault)
        while self._first and self._hit < min(self._poisoned, len(self.world.ledger)):
            for fault in self._first:
                self.world.faults.add(replace(fault, path=f"*{self.world.ledger[self._hit].id}*"))
            self._hit += 1

    def answer(self, method: str, url: URL, headers: Mapping[str, str], body: bytes) -> Reply:
        """What the provider says."""
        system, path = locate(self.world.settings.systems, url.path)
        assert system is not None
        self._turn_faults()
        call = Call(system, method, path, url.query, headers, body, self._sky.truth)
        reply = desk.answer(self.world, call, url.raw_host or "")
        self.fired.update(call.faults)
        self.statuses[reply.status] += 1
        return reply


class _Session:
    """Stands for `aiohttp.ClientSession`."""

    def __init__(self, night: LongNight) -> None:
        self._night = night

    async def close(self) -> None:
        """Nothing is open."""

    def request(self, method: str, url: URL, **told: Any) -> Pending:
        return Pending(self._exchange(method, url, **told))

    def get(self, url: URL, **told: Any) -> Pending:
        return self.request("GET", url, **told)

    async def _exchange(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        allow_redirects: bool,
        data: bytes | None = None,
        trace_request_ctx: SimpleNamespace | None = None,
    ) -> Answer:
        assert not allow_redirects
        night = self._night
        night.asked.append(Asked(night.now, method, url.path))
        await asyncio.sleep(0.05)
        if night.unreachable:
            raise unreachable(url.raw_host or "")
        if trace_request_ctx is not None:
            trace_request_ctx.left = True
        reply = night.answer(method, url, headers, data or b"")
        await asyncio.sleep(0.05 + reply.delivery.hang)
        if reply.delivery.drop:
            raise aiohttp.ServerDisconnectedError
        return Answer(reply, url)
