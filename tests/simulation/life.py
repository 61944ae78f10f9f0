"""One life of the program, from its start to its end: by itself, by a signal, by time, by the disk or by kill -9."""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
import sys
import warnings
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from runner.engine import Ending, Engine, Options
from runner.errors import StoreError
from runner.events import Event, Saved
from runner.files import Files
from runner.job import Job, Spec
from runner.keys import Keys
from runner.steps import Edges
from runner.store import SqliteStore, StateFolder
from tests.engine.night import KEYS
from tests.simulation.audit import Audit
from tests.simulation.disk import Disk, empty, fill
from tests.simulation.loop import Killed, Stalled, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.plan import Shake, Shop, Terms
from tests.simulation.sky import DAWN, Sky, SkyClock, Trace
from tests.simulation.wire import Wire, WireHttp

STOPS_WITHIN = 300.0
"""Seconds after `--until` in which a run has to end: a submit may wait for its answer, with an old token twice."""


class Life:
    """One process."""

    def __init__(self, home: Path, sky: Sky, network: Network, audit: Audit, trace: Trace) -> None:
        self.home = home
        self._disk = Disk(network, network.life)
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
        terms: Terms,
        shakes: list[Shake],
        kill_at: int | None,
        patience: float,
    ) -> Ending | str:
        """Run until the end; says `killed` or `disk` where there was no orderly one.

        `shops` and `specs` are what its manifests say, `terms` what was typed.
        """
        dice = random.Random(f"disk {self._net.plan.seed} {self._sky.awake}")
        self._loop = self._sky.loop = VirtualLoop(self._sky.awake, dice, kill_at)
        self._loop.heard = self._disk.told
        self._loop.set_exception_handler(self._unhandled)
        for shake in shakes:
            at = max(0.0, shake.at - (self._sky.truth - DAWN))
            self._loop.call_later(at, self._shake, shake, shakes)
        self._loop.call_later(patience, self._give_up)
        if terms.until is not None and not self._net.plan.jumps:
            self._loop.call_later(terms.until + STOPS_WITHIN, self._give_up)
        self._plan_disk()
        self._audit.begin(shops, specs, terms, self._disk)
        with self._disk.under():
            return self._end_of(self._run(shops, specs, terms))

    def _end_of(self, work: Coroutine[Any, Any, Ending]) -> Ending | str:
        assert self._loop is not None
        try:
            return self._loop.run_until_complete(work)
        except Killed:
            self._loop.let_threads_end()
            return "killed"
        except StoreError:
            return "disk"
        except Stalled as error:
            self._net.wrong("does not end", f"{error}: {self._engine!r}")
        except Exception as error:  # noqa: BLE001 - any other way to end is a mistake of the program
            self._net.wrong("breaks", f"it ended with {error!r}")

    async def _run(
        self, shops: Sequence[Shop], specs: dict[str, list[Spec]], terms: Terms
    ) -> Ending:
        clock, plan = self._clock, self._net.plan
        until = None if terms.until is None else clock.now() + terms.until
        async with SqliteStore(StateFolder(self.home), clock.now()) as store:
            self._store = store
            if self._net.in_window("disk-full"):
                await store._flusher.alone(fill)
            stored = [
                (await store.add(shop.batch, [specs[shop.batch.name]], clock.now()))[0]
                for shop in shops
            ]
            run = await store.begin_run(clock.now(), terms.budget)
            async with WireHttp(partial(Wire, self._net), Keys(KEYS), clock) as http:
                files = Files(self.home / "outputs", clock, free_floor=0)
                self._engine = Engine(
                    store, Edges(http, files, clock), plan.providers, stored,
                    options=Options(until=until, limit=terms.limit), run=run, observer=self._observe,
                )  # fmt: skip
                # A run goes on where it makes a mistake at one job; a night does not.
                self._engine._recorder.log = self._mistaken  # type: ignore[method-assign]
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

    def _mistaken(self, what: str, error: Exception) -> None:
        self._net.wrong("breaks", f"{what}: {error!r}")

    def _unhandled(self, _loop: Any, context: dict[str, Any]) -> None:
        self._net.wrong(
            "breaks", f"unhandled: {context.get('message')}: {context.get('exception')!r}"
        )

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
        self._net.wrong("does not end", f"{self._engine!r} {left[:5]}")

    def _plan_disk(self) -> None:
        assert self._loop is not None
        now = self._sky.truth - DAWN
        for window in self._net.plan.windows:
            if window.name == "disk-full" and window.end > now:
                self._loop.call_later(max(0.0, window.start - now), self._turn_disk, fill)
                self._loop.call_later(max(0.0, window.end - now), self._turn_disk, empty)

    def _turn_disk(self, how: Any) -> None:
        store = self._store
        if store is not None and store._connection._running:
            self._kept.append(asyncio.ensure_future(store._flusher.alone(how)))

    # -- death -------------------------------------------------------------------------------------------------------

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


def _end(connection: Any) -> Any:
    from aiosqlite.core import _STOP_RUNNING_SENTINEL

    if connection._connection is not None:
        connection._connection.close()
        connection._connection = None
    return _STOP_RUNNING_SENTINEL


@contextmanager
def quiet_graves() -> Iterator[None]:
    """While this is open, nothing is collected; at its end all that was abandoned is, and what it says is not heard."""
    hook = sys.unraisablehook
    gc.disable()
    gc.freeze()  # what was there before is not looked through again after every night
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "coroutine .* was never awaited"
            )  # killed before it began
            yield
    finally:
        sys.unraisablehook = lambda _: None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
        sys.unraisablehook = hook
        gc.unfreeze()
        gc.enable()
