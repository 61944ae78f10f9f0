"""Three clocks: what time it really is, what the machine's calendar says, and how long the process has been awake."""

from __future__ import annotations

import hashlib

from runner.clock import Clock
from tests.simulation.loop import VirtualLoop

DAWN = 1_800_000_000.0


class Sky:
    """Time over all lives of the program. Only a suspended machine makes truth and the loop's clock differ."""

    def __init__(self) -> None:
        self.loop: VirtualLoop | None = None
        self.suspends = 0
        self._slept = DAWN
        self._stopped_at = 0.0
        self.skew = 0.0

    @property
    def awake(self) -> float:
        """Seconds on a clock that stands still while the machine sleeps."""
        return self._stopped_at if self.loop is None else self.loop.time()

    @property
    def truth(self) -> float:
        """Unix seconds, as the rest of the world counts them."""
        return self.awake + self._slept

    @property
    def wall(self) -> float:
        """Unix seconds, as this machine's calendar says."""
        return self.truth + self.skew

    def suspend(self, seconds: float) -> None:
        """Close the lid for a while."""
        self._slept += seconds
        self.suspends += 1

    def end_life(self, pause: float = 0.0) -> None:
        """The process is gone; somebody starts it again after `pause` seconds."""
        self._stopped_at = self.awake + pause
        self.loop = None


class SkyClock(Clock):
    """What the program is told about time."""

    def __init__(self, sky: Sky) -> None:
        self._sky = sky

    def now(self) -> float:
        """Unix seconds, as the machine's calendar says."""
        return self._sky.wall

    def monotonic(self) -> float:
        """Seconds awake."""
        return self._sky.awake


class Trace:
    """What happened, in order: a hash of all lines, and the lines themselves where somebody wants to read them."""

    def __init__(self, sky: Sky, *, verbose: bool = False) -> None:
        self._sky = sky
        self._hash = hashlib.blake2b(digest_size=12)
        self._verbose = verbose
        self.lines = 0

    def write(self, what: str) -> None:
        """Note something that happened now."""
        line = f"{self._sky.truth - DAWN:12.4f} {what}"
        self.lines += 1
        self._hash.update(line.encode())
        if self._verbose:
            print(line)

    @property
    def digest(self) -> str:
        """The hash of everything so far."""
        return self._hash.hexdigest()
