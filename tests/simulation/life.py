"""One life of the program, from its start to its end: by itself, by a signal, by the disk or by kill -9."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import random
import shutil
import sqlite3
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from runner.engine import Ending, Engine, Options
from runner.errors import StoreError
from runner.events import Event, Saved
from runner.files import Files
from runner.job import Job, Spec
from runner.keys import Keys
from runner.providers import Provider
from runner.steps import Edges
from runner.store import SqliteStore, StateFolder
from tests.simulation.audit import Audit
from tests.simulation.loop import Killed, Stalled, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.plan import Shake, Shop
from tests.simulation.sky import DAWN, Sky, SkyClock, Trace
from tests.simulation.wire import WireHttp

KEYS = {
    "WINFULL_API_KEY": "sk-canary-winfull",
    "QUICKROUTER_API_KEY": "sk-canary-quickrouter",
    "UNIAPI_API_KEY": "sk-canary-uniapi",
    "KLING_GATEWAY_API_KEY": "sk-canary-gateway",
    "FAL_KEY": "canary:fal",
    "KLING_ACCESS_KEY": "sim-access",
    "KLING_SECRET_KEY": "sim-secret",
}


class Life:
    """One process. `shops` and `specs` are what its manifests say."""

    def __init__(
        self,
        home: Path,
        sky: Sky,
        network: Network,
        audit: Audit,
        trace: Trace,
    ) -> None:
        self.home = home
        self._sky = sky
        self._net = network
        self._audit = audit
        self._trace = trace
        self._clock = SkyClock(sky)
        self._store: SqliteStore | None = None
        self._engine: Engine | None = None
        self._loop: VirtualLoop | None = None
        self._kept: list[Any] = []

    # -- living ----------------------------------------------------------------------------------------------------

    def live(
        self,
        shops: Sequence[Shop],
        specs: dict[str, list[Spec]],
        providers: dict[str, Provider],
        shakes: list[Shake],
        kill_at: int | None,
        patience: float,
    ) -> Ending | str:
        """Run until the end; says `killed` or `disk` where there was no orderly one."""
        dice = random.Random(f"disk {self._net.plan.seed} {self._sky.awake}")
        self._loop = self._sky.loop = VirtualLoop(self._sky.awake, dice, kill_at)
        self._loop.set_exception_handler(self._unhandled)
        for shake in shakes:
            at = max(0.0, shake.at - (self._sky.truth - DAWN))
            self._loop.call_later(at, self._shake, shake, shakes)
        self._loop.call_later(patience, self._give_up)
        self._plan_disk()
        try:
            return self._loop.run_until_complete(self._run(shops, specs, providers))
        except Killed:
            self._loop.let_threads_end()
            return "killed"
        except StoreError:
            return "disk"
        except Stalled as error:
            self._net.wrong(f"{error}: {self._engine!r}")
        except Exception as error:  # noqa: BLE001 - any other way to end is a mistake of the program
            self._net.wrong(f"it ended with {error!r}")

    async def _run(
        self, shops: Sequence[Shop], specs: dict[str, list[Spec]], providers: dict[str, Provider]
    ) -> Ending:
        clock = self._clock
        async with SqliteStore(StateFolder(self.home), clock.now()) as store:
            self._store = store
            if self._net.in_window("disk-full"):
                await store._flusher.alone(_fill)
            stored = [
                (await store.add(shop.batch, [specs[shop.batch.name]], clock.now()))[0]
                for shop in shops
            ]
            run = await store.begin_run(clock.now())
            async with WireHttp(self._net, Keys(KEYS), clock) as http:
                files = Files(self.home / "outputs", clock, free_floor=0)
                self._engine = Engine(
                    store, Edges(http, files, clock), providers, stored,
                    options=Options(), run=run, observer=self._observe,
                )  # fmt: skip
                ending = await self._engine.run()
            await store.end_run(run, clock.now(), 0)
            self._audit.look_away()  # so that the store's own connection is the last, and tidies up
            return ending

    def _observe(self, job: Job, event: Event) -> None:
        self._trace.write(
            f"{job.spec.batch} {job.spec.id} {type(event).__name__} {job.state} {job.cause or ''}"
        )
        self._audit.recorded()
        if isinstance(event, Saved):
            self._audit.saved(job.number)

    def _unhandled(self, _loop: Any, context: dict[str, Any]) -> None:
        self._net.wrong(f"unhandled: {context.get('message')}: {context.get('exception')!r}")

    # -- what happens to it ------------------------------------------------------------------------------------------

    def _shake(self, shake: Shake, left: list[Shake]) -> None:
        left.remove(shake)
        self._trace.write(f"{shake.name} {shake.amount:g}")
        self._net.counts[f"time: {shake.name}"] += 1
        if shake.name == "jump":
            self._sky.skew += shake.amount
        elif shake.name == "suspend":
            self._sky.suspend(shake.amount)
            self._net.deliver()
        elif self._engine is not None:
            self._engine.stop()
            assert self._loop is not None
            self._loop.call_later(5.0, self._engine.stop)

    def _give_up(self) -> None:
        board = self._engine.board if self._engine is not None else None
        left = [] if board is None else [
            (flight.job.number, flight.job.state.value, board.wakeups._due.get(flight.job.number))
            for flight in board.flights.values() if not flight.stuck_seen
        ]  # fmt: skip
        self._net.wrong(f"it does not end: {self._engine!r} {left[:5]}")

    def _plan_disk(self) -> None:
        assert self._loop is not None
        now = self._sky.truth - DAWN
        for window in self._net.plan.windows:
            if window.name == "disk-full" and window.end > now:
                self._loop.call_later(max(0.0, window.start - now), self._turn_disk, _fill)
                self._loop.call_later(max(0.0, window.end - now), self._turn_disk, _empty)

    def _turn_disk(self, how: Any) -> None:
        store = self._store
        if store is not None and store._connection._running:
            self._kept.append(asyncio.ensure_future(store._flusher.alone(how)))

    # -- death -------------------------------------------------------------------------------------------------------

    @property
    def broken(self) -> bool:
        """Whether its store has failed."""
        return self._store is not None and self._store._flusher.broken is not None

    def leave_to(self, heir: Path) -> None:
        """Hand over what is on disk, as it is, to the next life."""
        heir.mkdir()
        for name in ("runner.db", "runner.db-wal"):
            if (self.home / name).exists():
                shutil.copyfile(self.home / name, heir / name)
        if (self.home / "outputs").exists():
            (self.home / "outputs").rename(heir / "outputs")

    def bury(self) -> None:
        """Let go of what a kernel would have taken back at once. Nothing that runs now can change anything."""
        store, self._store = self._store, None
        if store is not None:
            connection = getattr(store, "_connection", None)
            if connection is not None and connection._thread.is_alive():
                connection._running = False
                connection._tx.put_nowait((None, lambda: _end(connection)))
                connection._thread.join()
            with suppress(AttributeError):
                store._lock.release()
        self._engine = None
        if self._loop is not None:
            self._loop.set_exception_handler(lambda *_: None)


def _fill(connection: sqlite3.Connection) -> None:
    """From now on the database may not grow: SQLite itself says that the disk is full."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


def _empty(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1073741823")


def _end(connection: Any) -> Any:
    from aiosqlite.core import _STOP_RUNNING_SENTINEL

    if connection._connection is not None:
        connection._connection.close()
        connection._connection = None
    return _STOP_RUNNING_SENTINEL


@contextmanager
def full_disk(network: Network) -> Iterator[None]:
    """While this is open, syncing a file fails as the system's does when the disk of the night is full."""
    fsync = os.fsync

    def sync(handle: int) -> None:
        if network.in_window("disk-full"):
            network.counts["disk: full"] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with mock.patch("os.fsync", sync):
        yield


@contextmanager
def quiet_graves() -> Iterator[None]:
    """While this is open, nothing is collected; at its end all that was abandoned is, and what it says is not heard."""
    hook = sys.unraisablehook
    gc.disable()
    gc.freeze()  # what was there before is not looked through again after every night
    try:
        yield
    finally:
        sys.unraisablehook = lambda _: None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "never awaited": that is what being killed is like
            gc.collect()
        sys.unraisablehook = hook
        gc.unfreeze()
        gc.enable()
