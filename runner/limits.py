"""Rates: how many requests per window a provider takes, and when the next one may go.

A permit comes back one window after the *answer* to its request. The server saw the request before we saw its answer
and sees the next one after we send it, so two uses of a permit are at least a window apart at the server, whatever
the network does: never more than N in any window, fixed or sliding, with no agreement between the clocks. Sends are
also never closer than window / N, which satisfies servers that are really token buckets.
"""

from __future__ import annotations

import heapq
import math
import re
from dataclasses import dataclass, field
from typing import Self

# Every repeat is bounded, so that refusing a stranger's text takes no time however long it is.
_RATE = re.compile(
    r"\s{0,9}([0-9]{1,9})\s{0,9}/\s{0,9}([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})?\s{0,9}(ms|s|m|h|d)\s{0,9}"
)
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")


def parse_duration(text: str | float) -> float:
    """Read `90s`, `2h`, `1h30m` or a plain number of seconds into seconds.

    Raises:
        ValueError: it isn't a duration.
    """
    if isinstance(text, int | float) and not isinstance(text, bool) and 0 <= text < math.inf:
        return float(text)
    compact = str(text).replace(" ", "")
    parts = _DURATION.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{_shown(text)} is not a duration. Write 90s, 15m, 2h or 1h30m")
    return sum(float(number) * _UNIT[unit] for number, unit in parts)


def _shown(text: object) -> str:
    return repr(text if isinstance(text, int | float) else str(text)[:80])


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` per `window` seconds."""

    count: int
    window: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `30/1m`, `10/1s`, `600/h`.

        Raises:
            ValueError: it isn't a rate.
        """
        match = _RATE.fullmatch(str(text))
        if match is None or int(match[1]) < 1:
            raise ValueError(f"{_shown(text)} is not a rate. Write a count and a window: 30/1m")
        window = (float(match[2]) if match[2] else 1.0) * _UNIT[match[3]]
        if not window > 0:
            raise ValueError(
                f"{_shown(text)} has an empty window. Write a count and a window: 30/1m"
            )
        return cls(int(match[1]), window)

    def __str__(self) -> str:
        """The way it is written in a manifest."""
        for unit, seconds in (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0)):
            if self.window >= seconds and self.window % seconds == 0:
                return f"{self.count}/{int(self.window / seconds)}{unit}"
        return f"{self.count}/{round(self.window * 1000)}ms"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider takes: paid submits per window, jobs in flight, requests of any kind per window.

    None means no limit that we know of. `posts` caps the submits in the air at one moment, which is the money at risk
    when the process is killed.
    """

    submits: Rate | None = None
    in_flight: int | None = None
    requests: Rate | None = None
    posts: int = 8

    def tightened(self, other: Limits) -> Limits:
        """Both limits at once: the stricter of each."""
        return Limits(
            submits=_slower(self.submits, other.submits),
            in_flight=_smaller(self.in_flight, other.in_flight),
            requests=_slower(self.requests, other.requests),
            posts=min(self.posts, other.posts),
        )


def _smaller(one: int | None, two: int | None) -> int | None:
    return min((value for value in (one, two) if value is not None), default=None)


def _slower(one: Rate | None, two: Rate | None) -> Rate | None:
    known = [rate for rate in (one, two) if rate is not None]
    return min(known, key=lambda rate: rate.count / rate.window, default=None)


@dataclass(slots=True)
class Permits:
    """The permits of one rate. All times are Unix seconds, given by the caller.

    `taken` counts permits whose answer is still out; `returns` holds the times at which the answered ones come back.
    """

    rate: Rate
    taken: int = 0
    last_sent: float = -math.inf
    returns: list[float] = field(default_factory=list)

    def wait(self, now: float) -> float:
        """Seconds until the next request may leave; infinity where an answer has to come first."""
        while self.returns and self.returns[0] <= now:
            heapq.heappop(self.returns)
        self.last_sent = min(self.last_sent, now)  # later than now: the clock was set back
        if self.returns and self.returns[0] > now + self.rate.window:
            self.returns = [now + self.rate.window] * len(self.returns)
        pace = self.last_sent + self.rate.window / self.rate.count - now
        if self.taken + len(self.returns) < self.rate.count:
            return max(0.0, pace)
        if not self.returns:
            return math.inf
        return max(0.0, pace, self.returns[0] - now)

    def take(self, now: float) -> None:
        """A request leaves."""
        self.taken += 1
        self.last_sent = now

    def give_back(self, now: float) -> None:
        """Its answer, or its failure, is here: the permit returns a window from now."""
        self.taken -= 1
        heapq.heappush(self.returns, now + self.rate.window)

    def hold(self, answered: float) -> None:
        """A request of an earlier run, known from its row: its permit is out until a window after its answer.

        Where no answer ever came, the time to give is when that run is known to have ended.
        """
        heapq.heappush(self.returns, answered + self.rate.window)
        self.last_sent = max(self.last_sent, answered)
