"""The only module that reads the clock or waits for it; and how long to wait where something fails again and again."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Wall-clock time in Unix seconds, and waiting.

    Due times are wall-clock times, because a laptop's monotonic clock stands still while it sleeps and a due time has
    to mean the same after a restart. Durations (`monotonic`) are for the right to send, which must not be stretched by
    a clock that is set back.
    """

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that is never set back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait, for at least a turn of the loop."""
        await asyncio.sleep(max(0.0, seconds))

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait until `event` is set or `seconds` have passed; say whether it was set."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await event.wait()
        except TimeoutError:
            return False
        return True


def backoff(first: float, times: int, longest: float) -> float:
    """Seconds to wait after the so-manieth failure in a row: `first`, doubling to `longest`."""
    return float(
        min(first * 2.0 ** min(times - 1, 64), longest)
    )  # an outage may fail thousands of times
