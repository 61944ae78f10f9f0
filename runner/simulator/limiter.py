"""Rate limits as servers count them: fixed window, sliding log, token bucket."""

from __future__ import annotations

from collections import deque

from .settings import RateLimit


class Limiter:
    """Counts one caller's requests. `admit` returns 0, or the seconds until it would be let in."""

    def __init__(self, limit: RateLimit) -> None:
        """Start with a full allowance."""
        self._limit = limit
        self._window_start = 0.0
        self._used = 0
        self._log: deque[float] = deque()
        self._tokens, self._filled_at = float(limit.count), 0.0

    def admit(self, now: float) -> float:
        """Count a request at `now` if it fits. A refused request costs nothing."""
        return {"fixed": self._fixed, "sliding": self._sliding, "bucket": self._bucket}[
            self._limit.kind
        ](now)

    def _fixed(self, now: float) -> float:
        """Windows begin at multiples of their length, as counters keyed by time do."""
        window = self._limit.window
        start = now // window * window
        if start != self._window_start:
            self._window_start, self._used = start, 0
        if self._used < self._limit.count:
            self._used += 1
            return 0.0
        return start + window - now

    def _sliding(self, now: float) -> float:
        """No more than `count` in any span of one window."""
        window = self._limit.window
        while self._log and self._log[0] <= now - window:
            self._log.popleft()
        if len(self._log) < self._limit.count:
            self._log.append(now)
            return 0.0
        return self._log[0] + window - now

    def _bucket(self, now: float) -> float:
        """A bucket of `count` tokens that refills in one window."""
        per_second = self._limit.count / self._limit.window
        gained = max(0.0, now - self._filled_at) * per_second
        self._tokens = min(self._limit.count, self._tokens + gained)
        self._filled_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / per_second
