"""A machine that sleeps, a clock that jumps, a token that expires: in the middle of a run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import runner.app
from runner.app import App, Outcome
from runner.engine import Options
from runner.events import Accepted, Event, Intended, Refused
from runner.job import Job
from runner.settings import Settings
from runner.simulator import Fault, Simulator
from runner.simulator import Settings as World
from runner.simulator.settings import Latency
from runner.store import Intent, SqliteStore
from tests.crash.arena import FAL_MODEL, PROFILES, Cell, Profile
from tests.crash.life import SharedClock

HOUR, DAY = 3600.0, 86_400.0
FAL, KLING = Profile("fal", FAL_MODEL), PROFILES[-1]
WORLD = World(queue=Latency("fixed", 0.0), run=Latency("fixed", 60.0), concurrency=500)


class JumpingClock(SharedClock):
    """A fast clock that can be set, and whose machine can sleep: then the monotonic clock stands still."""

    def __init__(self) -> None:
        super().__init__(time.time())
        self.off = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return super().now() + self.off

    def monotonic(self) -> float:
        """Seconds that this machine was awake."""
        return super().now()


class Night:
    """One manifest, run once in this process while something happens to the clock."""

    def __init__(
        self, folder: Path, profile: Profile, jobs: int, faults: list[Fault] | None = None
    ) -> None:
        self.clock = JumpingClock()
        self.world = SharedClock(self.clock.begin)
        """The provider's clock, which nobody sets."""
        self.slept = 0.0
        self.sim = Simulator(WORLD, faults or [], clock=lambda: self.world.now() + self.slept)
        self.cell = Cell("night", profile, folder / "cell", jobs)
        self.cell.write()
        self._folder = folder
        self.seen: list[tuple[float, Event]] = []
        self._wanted: list[tuple[type[Event], int, Callable[[], None]]] = []

    def sleep(self, seconds: float) -> None:
        """The machine is suspended: time passes for everybody, the monotonic clock does not see it."""
        self.clock.off += seconds
        self.slept += seconds

    def set_clock(self, seconds: float) -> None:
        """This machine's clock is set; nobody else's is."""
        self.clock.off += seconds

    def when(self, kind: type[Event], count: int, then: Callable[[], None]) -> None:
        """Do something once `count` events of a kind were recorded."""
        self._wanted.append((kind, count, then))

    def _observe(self, _job: Job, event: Event) -> None:
        self.seen.append((self.clock.now(), event))
        counts = Counter(type(each) for _, each in self.seen)
        for wanted in list(self._wanted):
            if counts[wanted[0]] >= wanted[1]:
                self._wanted.remove(wanted)
                wanted[2]()

    async def run(self, **options: Any) -> Outcome:
        """Run it to its end; a run that waits for a day does not end here."""
        async with self.sim:
            self.sim.write_files(self._folder / "sim")
            settings = Settings.resolve(
                {}, self._folder, self.cell.folder / "state", self._folder / "sim" / "providers.yaml", self._folder
            )  # fmt: skip
            app = App(settings, self.clock)
            async with asyncio.timeout(25):
                return await app.run(
                    [self.cell.folder / "cell.yaml"],
                    Options(settle=1.0, **options),
                    observer=self._observe,
                )

    def check(self) -> None:
        """Every job is done and was bought once."""
        assert self.cell.query("SELECT state, count(*) FROM v_jobs GROUP BY 1") == [
            ("done", self.cell.jobs)
        ]
        bought = Counter(str(task.body["prompt"]) for task in self.sim.ledger)
        assert set(bought.values()) == {1}
        assert len(bought) == self.cell.jobs


async def test_suspend_of_eight_hours(tmp_path: Path) -> None:
    """A laptop that sleeps for eight hours asks within 30 seconds of waking; no timer of ours fails a job."""
    night = Night(tmp_path, FAL, 5)
    night.when(Accepted, 5, lambda: night.sleep(8 * HOUR))
    outcome = await night.run()
    night.check()
    assert outcome.exit_code == 0
    accepted = max(task.accepted_at for task in night.sim.ledger)
    polls = [entry.at for entry in night.sim.log if entry.operation in ("status", "result")]
    woken = [at - accepted - 8 * HOUR for at in polls if at > accepted + 4 * HOUR]
    assert woken
    assert min(woken) < 30 + 10  # the wait, and what a busy machine makes of a quarter of a second
    assert not [event for _, event in night.seen if isinstance(event, Refused)]


@pytest.mark.parametrize("seconds", [DAY, -DAY])
@pytest.mark.parametrize("kind", [Intended, Accepted])
async def test_clock_is_set_by_a_day(tmp_path: Path, seconds: float, kind: type[Event]) -> None:
    """A clock that is set by a day, either way, while submits are in the air or jobs at work: all end, none twice."""
    night = Night(tmp_path, FAL, 8)
    night.when(kind, 4, lambda: night.set_clock(seconds))
    assert (await night.run()).exit_code == 0
    night.check()


async def test_clock_that_is_set_back_between_runs(tmp_path: Path) -> None:
    """Jobs that an earlier run left with due times of tomorrow are gone on with today."""
    night = Night(tmp_path, FAL, 4, [Fault("too-many", times=2, arg=0)])
    night.set_clock(DAY)
    async with night.sim:
        night.sim.write_files(tmp_path / "sim")
        settings = Settings.resolve(
            {}, tmp_path, night.cell.folder / "state", tmp_path / "sim" / "providers.yaml", tmp_path
        )
        manifest = [night.cell.folder / "cell.yaml"]
        first = App(settings, night.clock)
        await first.run(manifest, Options(until=night.clock.now() + 5.0))
        night.set_clock(-DAY)
        async with asyncio.timeout(25):
            outcome = await App(settings, night.clock).run(manifest, Options())
    assert outcome.exit_code == 0
    night.check()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
async def test_clock_is_set_again_and_again(tmp_path: Path, seed: int) -> None:
    """Set by a day six times in a run, this way and that."""
    night = Night(tmp_path, FAL, 20)
    for number in range(6):
        way = DAY if (seed >> (number % 3)) & 1 else -DAY
        kind = (Intended, Accepted)[number % 2]
        night.when(kind, 2 + 3 * number, partial(night.set_clock, way))
    assert (await night.run()).exit_code == 0
    night.check()


async def test_token_expires_within_a_run(tmp_path: Path) -> None:
    """A token that the provider stops taking is replaced at once: nobody is held, nothing is bought twice."""
    night = Night(tmp_path, KLING, 6, [Fault("token-expires", arg=20)])
    outcome = await night.run()
    assert outcome.exit_code == 0
    assert outcome.ending.held == {}
    night.check()
    assert len({entry.key for entry in night.sim.log if entry.system == "kling"}) > 1


async def test_token_after_a_suspend(tmp_path: Path) -> None:
    """A token that expired while the machine slept is not used any more: no request is refused for it."""
    night = Night(tmp_path, KLING, 4)
    night.when(Accepted, 4, lambda: night.sleep(8 * HOUR))
    assert (await night.run()).exit_code == 0
    night.check()
    assert {entry.status for entry in night.sim.log if entry.system == "kling"} == {200}


class SleepyStore(SqliteStore):
    """A store during whose third intent the machine falls asleep."""

    sleep: Callable[[], None] | None = None
    count = 0

    async def intend(self, *args: Any) -> Intent:
        """See `Store.intend`."""
        outcome = await super().intend(*args)
        self.count += 1
        if self.count == 3 and self.sleep is not None:
            self.sleep()
        return outcome


async def test_the_right_to_send_does_not_outlive_a_suspend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asleep between the intent and the request: it does not leave hours late, but is intended anew, for free."""
    night = Night(tmp_path, FAL, 3)
    monkeypatch.setattr(runner.app, "SqliteStore", SleepyStore)
    monkeypatch.setattr(SleepyStore, "sleep", staticmethod(lambda: night.sleep(8 * HOUR)))
    assert (await night.run()).exit_code == 0
    night.check()
    late = [event for _, event in night.seen if isinstance(event, Refused)]
    assert [event.detail for event in late] == ["the right to send had expired"]
    assert night.cell.query("SELECT count(*) FROM attempt") == [(3,)]
