"""Takes due jobs and runs their step; one task group, one clock, one way to stop."""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from runner.causes import Cause
from runner.engine.board import Board, Observer
from runner.engine.buying import Buyer
from runner.engine.feeding import feed
from runner.engine.lane import Flight, Lane, Source
from runner.engine.options import Ending, Options, Stopped
from runner.engine.recorder import Recorder
from runner.engine.takeover import leave_behind, take_over, take_stock, take_up
from runner.engine.watching import Watcher
from runner.errors import StoreError
from runner.job import State
from runner.polling import Latencies
from runner.providers import Provider
from runner.steps import Edges
from runner.store import Batch, Store

log = logging.getLogger(__name__)

Step = Callable[[Lane, Flight], Coroutine[Any, Any, None]]


class Engine:
    """Runs batches until nothing is left that it can do, or until it is stopped."""

    def __init__(
        self,
        store: Store,
        edges: Edges,
        providers: dict[str, Provider],
        batches: Sequence[Batch],
        *,
        options: Options,
        run: int,
        observer: Observer,
    ) -> None:
        self._store = store
        self._clock = edges.clock
        self._batches = batches
        self._options = options
        self._providers = providers
        self.board = Board({}, Latencies())
        self._recorder = Recorder(store, edges, self.board, options, run, observer)
        self._buyer = Buyer(self._recorder)
        self._watcher = Watcher(self._recorder)
        self._wake = asyncio.Event()
        # Not sets: a stop cancels in the order of starting, so that a run can be repeated step by step.
        self._tasks: dict[str, dict[asyncio.Task[None], None]] = {
            "submit": {}, "poll": {}, "fetch": {}, "refill": {}, "stock": {}, "takeover": {}
        }  # fmt: skip
        self._stopped: Stopped | None = None
        self._drain_ends = math.inf
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        """State in one line."""
        tasks = " ".join(f"{kind}={len(tasks)}" for kind, tasks in self._tasks.items())
        return f"<Engine {self.board!r} {tasks} stopped={self._stopped}>"

    # -- running -------------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Work until nothing is left.

        Raises:
            StoreError: the store failed; nothing was submitted after that.
        """
        await take_over(self.board, self._store, self._batches, self._providers, self._clock.now())
        async with asyncio.TaskGroup() as self._group:
            self._start("stock", take_stock(self.board, self._store, self._batches))
            taking = take_up(self.board, self._store, self._batches, self._clock, self._wake)
            self._start("takeover", taking)
            while not self._at_end():
                self._wake.clear()
                self._turn(self._clock.now())
                if self._at_end():
                    break
                before = self._clock.now()
                offset = before - self._clock.monotonic()
                await self._clock.wait(self._wake, self._nap(before))
                self._notice_jump(offset)
            self._cancel(*self._tasks)
        if self._failure is not None:
            raise self._failure
        await leave_behind(self.board, self._store)
        return self._ending()

    def stop(self, why: Stopped = Stopped.SIGNAL) -> None:
        """Submit nothing more; let submits in the air and downloads end. Called again: cancel those too."""
        if self._stopped is None:
            self._stopped = why
            self._drain_ends = self._clock.now() + self._options.drain
            self._cancel("poll", "refill", "stock", "takeover")
        else:
            self._drain_ends = -math.inf
            self._cancel("submit", "fetch")
        self._wake.set()

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stopped is not None

    def _turn(self, now: float) -> None:
        """Start everything that may start now: what is paid for first."""
        if self._watcher.disk_full and self._stopped is None:
            self.stop(Stopped.DISK)
        if self._stopped is None and self._options.until is not None and now >= self._options.until:
            self.stop(Stopped.TIME)
        if self._stopped is not None:
            if now >= self._drain_ends:
                self._cancel("fetch")
            return
        self._sort_due(now)
        self._start_fetches()
        self._start_polls(now)
        self._start_submits(now)

    def _sort_due(self, now: float) -> None:
        while (number := self.board.wakeups.pop(now)) is not None:
            flight = self.board.flights.get(number)
            if flight is None:
                continue
            if flight.job.state is State.READY:
                expiry = flight.expires_at if flight.expires_at is not None else math.inf
                heapq.heappush(self.board.ready, (expiry, number))
            else:
                self.board.lane(flight).polls.append(number)

    def _start_fetches(self) -> None:
        while self.board.ready and len(self._tasks["fetch"]) < self._options.downloads:
            flight = self._idle(heapq.heappop(self.board.ready)[1])
            if flight is not None and flight.job.state is State.READY:
                work = self._watcher.fetch(self.board.lane(flight), flight)
                self._start("fetch", work, flight)

    def _start_polls(self, now: float) -> None:
        for lane in self.board.lanes.values():
            while lane.polls and len(self._tasks["poll"]) < self._options.polls:
                gate = lane.outage.questions
                if lane.limiter.request_wait(now) > 0 or gate.wait(now) > 0 or lane.limiter.silent:
                    break
                flight = self._idle(self.board.next_question(lane))
                question = None if flight is None else self._question(flight)
                if flight is not None and question is not None:
                    lane.limiter.asking(now)
                    gate.leaves(flight.job.number)
                    self._start("poll", self._ask(lane, flight, question), flight)

    def _idle(self, number: int) -> Flight | None:
        """A job in the air that no step is working on; a wake-up that came too soon comes again."""
        flight = self.board.flights.get(number)
        if flight is not None and flight.busy:
            self.board.wakeups.add(number, self._clock.now() + 1.0)
            return None
        return flight

    def _question(self, flight: Flight) -> Step | None:
        match flight.job.state:
            case State.IN_DOUBT:
                return self._buyer.lookup
            case State.RUNNING | State.CANCELLED:
                return self._watcher.poll
            case _:
                return None

    async def _ask(self, lane: Lane, flight: Flight, question: Step) -> None:
        try:
            await question(lane, flight)
        finally:
            lane.limiter.told(self._clock.now())
            lane.outage.questions.back(flight.job.number, self._clock.now())

    def _start_submits(self, now: float) -> None:
        for lane in self.board.lanes.values():
            for source in lane.sources:
                self._refill(source, now)
            while lane.has_pending and self._may_submit() and lane.room(now).wait <= 0:
                chosen = lane.next_claim()
                if chosen is None:
                    break
                source, claim = chosen
                lane.limiter.sending(now)
                lane.outage.submits.leaves(claim.job.number)
                self.board.submits += 1
                self._start("submit", self._buyer.submit(lane, source, claim))

    def _may_submit(self) -> bool:
        if self._tasks["takeover"]:
            return False
        return self._options.limit is None or self.board.submits < self._options.limit

    def _refill(self, source: Source, now: float) -> None:
        wanted = source.next_at is not None and source.next_at <= now and not source.over_budget
        if wanted and not source.refilling and source.low and self._may_submit():
            source.refilling = True
            self._start("refill", feed(source, self._store, self._clock))

    # -- tasks ---------------------------------------------------------------------------------------------------

    def _start(
        self, kind: str, work: Coroutine[Any, Any, None], flight: Flight | None = None
    ) -> None:
        if flight is not None:
            flight.busy = True
        task = self._group.create_task(self._guard(work, flight))
        self._tasks[kind][task] = None
        task.add_done_callback(lambda done: self._ended(kind, done, flight))
        task.add_done_callback(lambda _: work.close())  # where it was cancelled before it began

    async def _guard(self, work: Coroutine[Any, Any, None], flight: Flight | None) -> None:
        """Keep one job's failure from ending the others; a failing store ends them all."""
        try:
            try:
                await work
            except StoreError:
                raise
            except Exception as error:
                if flight is None:
                    raise
                await self._recorder.mistaken(flight, error)
        except Exception as error:
            if not isinstance(error, StoreError):
                log.exception("a task failed")
            self._failure = self._failure or error

    def _ended(self, kind: str, task: asyncio.Task[None], flight: Flight | None) -> None:
        del self._tasks[kind][task]
        if flight is not None:
            flight.busy = False
        self._wake.set()

    def _cancel(self, *kinds: str) -> None:
        for kind in kinds:
            for task in self._tasks[kind]:
                task.cancel()

    # -- time ----------------------------------------------------------------------------------------------------

    def _nap(self, now: float) -> float:
        """Seconds until something may be due."""
        times = [self._options.heartbeat]
        if now < self._drain_ends:
            times.append(self._drain_ends - now)
        if self._stopped is None:
            due = self.board.wakeups.next()
            times.append(math.inf if due is None else due - now)
            times.append((self._options.until or math.inf) - now)
            may_poll = len(self._tasks["poll"]) < self._options.polls
            may_submit = self._may_submit()
            times.extend(
                lane.wait(now, may_poll=may_poll, may_submit=may_submit)
                for lane in self.board.lanes.values()
            )
        return max(0.0, min(times))

    def _notice_jump(self, offset: float) -> None:
        """Move what waits for a time along with a clock that was set back: else it would wait for that long."""
        now = self._clock.now()
        back = offset - (now - self._clock.monotonic())
        if back > 1.0:
            self.board.set_back(back, now + self._options.heartbeat)
            self._drain_ends -= back

    # -- the end ----------------------------------------------------------------------------------------------

    def _at_end(self) -> bool:
        if any(self._tasks.values()):
            return self._failure is not None
        if self._failure is not None or self._stopped is not None:
            return True
        return not self.board.work_left(may_submit=self._may_submit())

    def _ending(self) -> Ending:
        held = {
            name: lane.limiter.cause or Cause.PROVIDER_ERROR
            for name, lane in self.board.lanes.items()
            if lane.limiter.held
        }
        over = tuple(source.batch.name for source in self.board.sources() if source.over_budget)
        return Ending(self._stopped or Stopped.NOTHING_LEFT, self.board.submits, held, over)
