"""One life of the application inside a process of its own, which may be ended at any moment."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import time
import traceback
from collections.abc import Callable, Coroutine, Generator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import runner.app
from runner.app import App
from runner.clock import Clock
from runner.engine import Options
from runner.job import Job
from runner.settings import Settings
from runner.store import claims, migrate
from tests.crash.traps import Place, Trap, TrappedFiles, TrappedHttp, TrappedStore, Way

SPEED = 40.0
BLOWN, CANCELLED = 97, 98  # exit codes of a life that ended as its trap wanted


class SharedClock(Clock):
    """Time that runs `SPEED` times faster, the same in every process that is told the same beginning."""

    def __init__(self, begin: float) -> None:
        self.begin = begin

    def now(self) -> float:
        """Unix seconds, running ahead."""
        return self.begin + (time.time() - self.begin) * SPEED

    def monotonic(self) -> float:
        """The same."""
        return self.now()

    async def sleep(self, seconds: float) -> None:
        """Wait, faster."""
        await super().sleep(seconds / SPEED)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait, faster."""
        return await super().wait(event, seconds / SPEED)


@dataclass(frozen=True, slots=True)
class Life:
    """What a process is told: where to work, and where to end.

    It ends at `place` in some `way`, or is killed at its n-th `operation` (SQL statements and file calls), or cancelled
    at its n-th `step` (of any task). `disk` is told to a preloaded disk that fails. `slice` jobs are stored at a time;
    `upgrade` adds a newer schema; `sabotage` makes the runner forget what a crash leaves behind, so that the tests can
    be tested.
    """

    folder: str
    providers: str
    begin: float
    place: str = ""
    way: str = "kill"
    operation: int = 0
    step: int = 0
    disk: dict[str, str] = field(default_factory=dict)
    slice: int = 0
    upgrade: bool = False
    sabotage: bool = False

    def dump(self) -> bytes:
        """As one line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Life:
        """From that line."""
        return cls(**json.loads(line))


def settings_of(folder: Path, providers: Path) -> Settings:
    """The settings of a cell: its own state, the simulator's providers and keys, nothing from outside."""
    return Settings.resolve({}, folder, folder / "state", providers, folder / "no-config")


def live(life: Life) -> int:
    """Run the cell's manifest until it ends or is ended; returns what the process exits with."""
    trap = Trap(Place(life.place) if life.place else None, Way(life.way))
    put_on(trap, life)
    folder = Path(life.folder)
    app = App(settings_of(folder, Path(life.providers)), SharedClock(life.begin))

    async def run() -> int:
        trap.task = asyncio.current_task()
        if life.step:
            asyncio.get_running_loop().set_task_factory(Stepping(life.step, trap))
        outcome = await app.run(
            [folder / "cell.yaml"],
            Options(settle=1.0, send_within=600.0),
            started=lambda engine, _: setattr(trap, "engine", engine),
        )
        return outcome.exit_code

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        return CANCELLED
    except Exception:  # noqa: BLE001 - told by the exit code
        traceback.print_exc()
        return BLOWN


def put_on(trap: Trap, life: Life) -> None:
    """Decorate the parts that the application is built of. This process ends soon: nothing is put back."""
    parts: dict[str, Callable[..., Any]] = {
        "SqliteStore": TrappedStore, "Http": TrappedHttp, "Files": TrappedFiles
    }  # fmt: skip
    for name, part in parts.items():
        setattr(runner.app, name, partial(part, trap))
    if life.slice:
        runner.app.SLICE = life.slice
    if life.upgrade:
        known = migrate.migrations()
        migrate.migrations = lambda: [*known, (known[-1][0] + 1, UPGRADE)]
    if life.sabotage:
        claims._doubt = forget


UPGRADE = """
ALTER TABLE job ADD COLUMN note TEXT;
CREATE TABLE remark (job INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
INSERT INTO remark SELECT id, state FROM job;
UPDATE job SET note = (SELECT text FROM remark WHERE remark.job = job.id);
"""


def forget(connection: sqlite3.Connection, job: Job, now: float) -> Job:
    """What a careless runner does with a submit that it finds in the air: send it again."""
    connection.execute("UPDATE job SET state = 'queued', due_at = 0 WHERE id = ?", (job.number,))
    return replace(job, due_at=None, changed_at=now)


class Stepping:
    """Counts the steps of all tasks and cancels the run at one of them."""

    def __init__(self, last: int, trap: Trap) -> None:
        self._last = last
        self._count = itertools.count(1)
        self._trap = trap

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        /,
        **settings: Any,
    ) -> asyncio.Task[Any]:
        """Make a task whose steps are counted."""
        assert isinstance(work, Coroutine)
        return asyncio.Task(Stepped(work, self.step), loop=loop, **settings)

    def step(self) -> None:
        """One more."""
        if next(self._count) == self._last:
            assert self._trap.task is not None
            self._trap.task.cancel()


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that tells of each of its steps."""

    def __init__(self, work: Coroutine[Any, Any, Any], step: Callable[[], None]) -> None:
        self._work, self._step = work, step

    def send(self, value: Any) -> Any:
        """See `Coroutine.send`."""
        self._step()
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        """See `Coroutine.throw`."""
        return self._work.throw(*error)

    def close(self) -> None:
        """See `Coroutine.close`."""
        self._work.close()

    def __await__(self) -> Any:
        return self._work.__await__()
