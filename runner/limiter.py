"""Whether a provider's next submit may go now, and if not, when and why.

One for each provider; the strictest of everything that is known counts: what the providers file and the manifests say,
what the provider answered, what is in flight. Rebuilt from rows at the start, so that limits hold over a restart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runner.causes import Cause
from runner.clock import backoff
from runner.events import Refused
from runner.limits import Ceiling, Limits, Permits

FIRST_BACKOFF = 2.0
LONGEST_BACKOFF = 60.0
LONGEST_PAUSE = 3600.0
LONGEST_LIMITED = 3600.0  # of nothing but "slow down" before the provider is held
STRIKES = 2  # answers that refuse the account before the provider is held


@dataclass(frozen=True, slots=True)
class Room:
    """`wait` seconds until the next submit may go (0: now; infinity: something has to happen first), and why."""

    wait: float
    why: str = ""


class Limiter:
    """The limits of one provider, as arithmetic: every method takes the time and returns at once."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.submits = Permits(limits.submits) if limits.submits else None
        self.requests = Permits(limits.requests) if limits.requests else None
        self.in_flight = 0
        self.posts = 0
        self._ceiling = Ceiling()
        self.paused_until = -math.inf
        self.cause: Cause | None = None
        self.detail = ""
        self.held = False
        self.probing = False
        self._strikes = 0  # answers in a row that made every job wait
        self._refusals = 0  # those of them that refused the account
        self._proven = False
        self._limited_since: float | None = None

    def __repr__(self) -> str:
        """State in one line."""
        return (
            f"<Limiter in_flight={self.in_flight}/{self.cap} posts={self.posts} ceiling={self.ceiling}"
            f" held={self.held} cause={self.cause}>"
        )

    @property
    def silent(self) -> bool:
        """Whether even questions that cost nothing would be refused: a bad key is bad for polls too."""
        return self.held and self.cause is Cause.BAD_KEY

    @property
    def ceiling(self) -> int | None:
        """Jobs in flight that the provider is known to take, if it ever refused one for crowding."""
        return self._ceiling.number

    @property
    def cap(self) -> int | None:
        """Jobs in flight that are allowed now; None: no limit is known."""
        known = [value for value in (self.limits.in_flight, self.ceiling) if value is not None]
        return min(known, default=None)

    @property
    def full(self) -> bool:
        """Whether as many jobs are in flight as are allowed now."""
        return self.cap is not None and self.in_flight >= self.cap

    @property
    def _posts_allowed(self) -> int:
        """Few at once until the provider took one: a bad key or an empty account is then learned from few answers."""
        if self._proven:
            return self.limits.posts
        return 1 if self.probing else min(self.limits.posts, STRIKES)

    def room(self, now: float) -> Room:
        """Say when the next submit may go."""
        if self.held:
            return Room(math.inf, f"held: {self.cause}")
        if self.paused_until > now:
            return Room(min(self.paused_until - now, LONGEST_PAUSE), f"paused: {self.cause}")
        if self.posts >= self._posts_allowed:
            return Room(math.inf, f"{self.posts} submits in the air")
        crowd = self._crowd(now)
        if crowd > 0:
            return Room(crowd, f"{self.in_flight} in flight, {self.cap} allowed")
        return max(
            self._permit(self.submits, now),
            self._permit(self.requests, now),
            key=lambda room: room.wait,
        )

    def _crowd(self, now: float) -> float:
        most = self.limits.in_flight
        if most is not None and self.in_flight >= most:
            return math.inf
        return self._ceiling.wait(self.in_flight, now)

    def request_wait(self, now: float) -> float:
        """Seconds until a poll may go."""
        return self.requests.wait(now) if self.requests else 0.0

    def sending(self, now: float) -> None:
        """A submit leaves: it takes its place among posts and jobs in flight."""
        self._ceiling.sending()
        self.posts += 1
        self.in_flight += 1
        for permits in (self.submits, self.requests):
            if permits:
                permits.take(now)

    def answered(self, now: float) -> None:
        """The submit's answer is here, whatever it says."""
        self.posts -= 1
        for permits in (self.submits, self.requests):
            if permits:
                permits.give_back(now)

    def asking(self, now: float) -> None:
        """A poll, or another question that costs nothing, leaves."""
        if self.requests:
            self.requests.take(now)

    def told(self, now: float) -> None:
        """Its answer is here."""
        if self.requests:
            self.requests.give_back(now)

    def unsent(self, now: float) -> None:
        """A submit that took its place did not go after all."""
        self.answered(now)
        self.left()

    def left(self) -> None:
        """A job is no longer in flight."""
        self.in_flight -= 1

    def accepted(self) -> None:
        """The provider took a job: whatever it refused before, it is open now."""
        self._strikes = self._refusals = 0
        self._proven, self.probing, self.held = True, False, False
        self._limited_since = None
        self.cause, self.detail = None, ""
        self._ceiling.accepted(self.in_flight - self.posts)

    def refused(self, event: Refused, now: float) -> None:
        """The provider did not take a job: slow down, wait or stop, as the answer says."""
        if event.crowded and self.in_flight > self.posts:
            patience = min(event.retry_after or 0.0, LONGEST_PAUSE)
            self._ceiling.refused(self.in_flight, patience, now)
            return
        # Crowded, but by none of the jobs that count here: there is no number to find, so all wait.
        if not event.provider_wide:
            return
        self._proven = False
        self.cause, self.detail = event.cause, event.detail
        self._strikes += 1
        wait = backoff(FIRST_BACKOFF, self._strikes, LONGEST_BACKOFF)
        if event.retry_after is not None:
            wait = max(event.retry_after, 0.5)
        self.paused_until = max(self.paused_until, now + min(wait, LONGEST_PAUSE))
        if event.cause.refused:
            self._refusals += 1
            self.held = self.held or self._refusals >= (1 if self.probing else STRIKES)
        if event.cause is Cause.RATE_LIMITED:
            # Gateways rewrite "no money upstream" to "too busy": an hour of nothing else is not a rate limit.
            self._limited_since = now if self._limited_since is None else self._limited_since
            self.held = self.held or now - self._limited_since > LONGEST_LIMITED

    def remember(
        self, ceiling: int | None, held_by: Cause | None, detail: str, now: float, *, again: bool
    ) -> None:
        """Take over what an earlier run learned: the concurrency it found, and what held the provider.

        A held provider is asked once more if `again`, else it stays held.
        """
        if ceiling is not None:
            self._ceiling.remember(ceiling, now)
        if held_by is not None:
            self.cause, self.detail = held_by, detail
            self.probing, self.held = again, not again

    def resume_from(self, sent: list[float]) -> None:
        """Take over from an earlier run: when the last window's submits went."""
        for at in sent:
            for permits in (self.submits, self.requests):
                if permits:
                    permits.hold(at)

    def set_back(self, seconds: float) -> None:
        """The clock was set back by so much: all times go with it."""
        self.paused_until -= seconds
        self._ceiling.set_back(seconds)
        if self._limited_since is not None:
            self._limited_since -= seconds

    @staticmethod
    def _permit(permits: Permits | None, now: float) -> Room:
        if permits is None:
            return Room(0.0)
        wait = permits.wait(now)
        return Room(wait, f"limit {permits.rate}") if wait else Room(0.0)
