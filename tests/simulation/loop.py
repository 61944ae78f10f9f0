"""An event loop on virtual time: nothing waits for real, and the same seed takes the same steps in the same order.

Its clock moves only when nothing is left to do, straight to the next timer. It stands still while a thread works: the
database's own thread is real, but the loop waits for it, and hands its answer over at a moment of virtual time that is
drawn from the seed. Work given to an executor is done at such a moment. So the order of events never depends on how
fast this machine is, and a process can die with something durable that it has not heard of.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

SLOW_DISK = 0.02
"""Share of disk operations that take long."""

SPINNING = 5_000
"""Turns of the loop at one moment that nobody who waits for something takes."""


class Killed(KeyboardInterrupt):
    """The process is gone. It passes through the loop at once, and no task sees it."""


class Stalled(AssertionError):
    """Nothing is ever going to happen any more."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. `start` is its first second; `kill_at` counts callbacks until the process dies (None: never).

    `heard` is called when an answer of the database's thread was handed over.
    """

    def __init__(self, start: float, rng: random.Random, kill_at: int | None = None) -> None:
        super().__init__()
        self._selector = self
        self._clock_resolution = 1e-6
        self._virtual = start
        self._rng = rng
        self._kill_at = kill_at
        self._home = threading.get_ident()
        self._answers: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]]
        self._answers = queue.SimpleQueue()
        self._held_back: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._work: dict[asyncio.Future[Any], Callable[[], Any]] = {}
        self._turns = 0
        self.steps = 0
        self.heard: Callable[[], None] = lambda: None

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual

    def select(self, timeout: float | None) -> list[Any]:
        """Stand for a selector: pass the time until the next timer at once."""
        if timeout is None:
            raise Stalled("everybody waits for something that will never happen")
        self._virtual += timeout
        self._turns = 0 if timeout > 1e-9 else self._turns + 1
        if self._turns > SPINNING:
            raise Stalled("it spins: thousands of turns, and no time passes")
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody has to be woken."""

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        """Schedule a callback; when the last one that this process gets is due, it dies instead."""
        self.steps += 1
        if self.steps == self._kill_at:
            super().call_soon(self._die)
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """Take an answer of the database's thread, to be handed over when its time has come."""
        if threading.get_ident() == self._home:
            return self.call_soon(callback, *args, context=context)
        self._answers.put((callback, args))
        return None

    def expect_answer(self) -> None:
        """The database's thread was given work: wait for it, and decide when its answer is heard of."""
        self._held_back.append(self._answers.get())
        self.call_later(self._disk_time(), self._hand_over)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Do blocking work at a later moment, all of it at once."""
        future = self.create_future()
        self._work[future] = lambda: func(*args)
        self.call_later(self._disk_time(), self._do_work, future)
        return future

    def let_threads_end(self) -> None:
        """After a kill: let some of the work that was under way have happened."""
        for work in self._work.values():
            if self._rng.random() < 0.5:
                try:
                    work()
                except Exception:  # noqa: BLE001 - nobody is left to be told
                    continue
        self._work.clear()

    def _die(self) -> None:
        raise Killed

    def _hand_over(self) -> None:
        callback, args = self._held_back.popleft()
        callback(*args)
        self.heard()

    def _do_work(self, future: asyncio.Future[Any]) -> None:
        work = self._work.pop(future)
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits, as an executor does
            if not future.done():
                future.set_exception(error)
            return
        if not future.done():
            future.set_result(result)

    def _disk_time(self) -> float:
        return (
            self._rng.uniform(0.1, 3.0)
            if self._rng.random() < SLOW_DISK
            else self._rng.uniform(0, 0.005)
        )


class _Watched(queue.SimpleQueue[Any]):
    """The way into the database's thread: tells the loop that an answer is to come."""

    def put_nowait(self, item: Any) -> None:
        super().put_nowait(item)
        if item[0] is not None:
            item[0].get_loop().expect_answer()


@contextmanager
def watched_threads() -> Iterator[None]:
    """While this is open, every virtual loop knows what it asked of the database's thread."""
    with mock.patch("aiosqlite.core.SimpleQueue", _Watched):
        yield
