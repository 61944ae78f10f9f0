"""Rates and ceilings: how many requests per window and jobs at a time a provider takes, and when the next one may go.

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

SHORTEST_PROBE = 30.0  # seconds after a refusal for crowding until one job more is tried
LONGEST_PROBE = 600.0  # the same where too few jobs were taken to pay for it
PRICE = 125  # jobs taken that pay for a refusal: under one in a hundred, with a margin for changes
RAMP = 4  # jobs by which a ceiling has to rise for each further probe beside the first
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


@dataclass(slots=True)
class Ceiling:
    """The ceiling of a provider that refuses above a number of jobs at a time which it doesn't tell.

    `number` is None until it has refused one. A submit beyond it is a probe. One that is refused costs no money and
    tells that nothing has changed, so a probe has to be paid for by jobs that were taken, or is rare. One that is
    taken is followed by others until one is refused. All times are Unix seconds, given by the caller.
    """

    number: int | None = None
    _owed: int = 0  # jobs that have to be taken before the next probe
    _refused_at: float = -math.inf
    _patience: float = 0.0
    _risen: int = 0  # by how much, since the last refusal
    _falls: int = 0  # refusals in a row of submits that were no probes
    _sent: bool = True  # whether a submit has left since the last refusal: if not, the next one is as old as that

    def wait(self, in_flight: int, now: float) -> float:
        """Seconds until a submit may leave while so many are in flight; infinity: an answer or an end comes first."""
        if self.number is None or in_flight < self.number:
            return 0.0
        probe_at = self._probe_at()
        if now < probe_at:
            return probe_at - now
        return 0.0 if in_flight <= self.number + self._risen // RAMP else math.inf

    def _probe_at(self) -> float:
        if self._risen:
            return -math.inf
        if self._owed:
            return self._refused_at + max(LONGEST_PROBE, self._patience)
        return self._refused_at + max(SHORTEST_PROBE, self._patience)

    def sending(self) -> None:
        """A submit leaves."""
        self._sent = True

    def accepted(self, taken: int) -> None:
        """A submit was taken, and now the provider has so many."""
        self._owed = max(0, self._owed - 1)
        if self._falls > 1:
            self._risen = 1  # it was lowered further than was known to be needed: up again
        self._falls = 0
        if self.number is not None and taken > self.number:
            self._risen += taken - self.number
            self.number = taken

    def refused(self, in_flight: int, patience: float, now: float) -> None:
        """A submit was refused, and so many others are in flight. No probe before `patience` seconds are over."""
        news, self._sent = self._sent, False
        self._refused_at, self._patience = now, patience
        self._risen = 0
        self._owed += PRICE * news
        if self.number is None:
            self.number = in_flight
        elif in_flight < self.number:
            self._falls += news
            guess = 2 ** (self._falls - 2) if news and self._falls > 1 else 0
            self.number = max(1, in_flight - min(guess, 1 + self.number // 10))

    def remember(self, number: int, now: float) -> None:
        """Take over what an earlier run found."""
        self.number, self._refused_at = number, now

    def set_back(self, seconds: float) -> None:
        """The clock was set back by so much."""
        self._refused_at -= seconds
