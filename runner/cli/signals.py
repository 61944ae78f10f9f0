"""Stopping a run by signal: the first asks it to end well, the second to end now."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
)


class Stopper:
    """Counts signals. `stop` is called with how many there were; `number` is the first one's."""

    def __init__(self, stop: Callable[[int], None]) -> None:
        self.number: int | None = None
        self._count = 0
        self._stop = stop

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen on the running loop, and put everything back afterwards."""
        loop = asyncio.get_running_loop()
        before = {}
        for number in SIGNALS:
            try:
                loop.add_signal_handler(number, self._came, number)
            except NotImplementedError:  # Windows: its loop has none, the interpreter does
                before[number] = signal.signal(number, self._relay(loop))
        try:
            yield
        finally:
            for number in SIGNALS:
                if number in before:
                    signal.signal(number, before[number])
                else:
                    loop.remove_signal_handler(number)

    def _relay(self, loop: asyncio.AbstractEventLoop) -> Callable[[int, FrameType | None], None]:
        def relay(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._came, number)

        return relay

    def _came(self, number: int) -> None:
        if self.number is None:
            self.number = number
        self._count += 1
        self._stop(self._count)
