"""Whether a provider answers at all, and when to try it again if it does not.

One for each provider in a run. A few useless answers in a row, and everything waits while one request at a time tries.
Questions are tried before submits, because a submit without an answer leaves a job in doubt.
"""

from __future__ import annotations

import math

from runner.causes import Cause
from runner.events import Delayed, Event, Refused, Unclear

FAILURES = 3
"""Useless answers in a row, of more than one job, before the provider counts as away."""
FIRST_GAP, LONGEST_GAP = 5.0, 60.0
FIRST_PAID_GAP, LONGEST_PAID_GAP = 60.0, 1800.0
LONGEST_EXCUSE = 12 * 3600.0


class Outage:
    """What is known of a provider's absence, as arithmetic: every method takes the time and returns at once."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._failures = 0
        self._jobs: set[int] = set()
        self._probe: int | None = None
        self._gap, self._paid_gap = FIRST_GAP, FIRST_PAID_GAP
        self._next = self._next_paid = -math.inf

    def __repr__(self) -> str:
        """State in one line."""
        return f"<Outage since={self.since} failures={self._failures} probe={self._probe}>"

    @property
    def away(self) -> bool:
        """Whether the provider counts as away."""
        return self.since is not None

    def excuses(self, now: float) -> bool:
        """Whether a useless answer speaks against the provider alone: after half a day it counts for the job again."""
        return self.since is not None and now - self.since < LONGEST_EXCUSE

    def wait(self, now: float, *, paid: bool = False) -> float:
        """Seconds until a question, or a submit, may go; infinity: until the one that tries is back."""
        if not self.away:
            return 0.0
        if self._probe is not None:
            return math.inf
        return max(0.0, (self._next_paid if paid else self._next) - now)

    def leaves(self, job: int) -> None:
        """A request about a job leaves; while the provider is away, it is the one that tries."""
        if self.away:
            self._probe = job

    def back(self, job: int, now: float) -> None:
        """It is back, whatever became of it. One that says nothing of the provider counts as a failure."""
        if self.away and self._probe == job:
            self._try_later(now, paid=False)

    def learn(self, event: Event, job: int, now: float, *, paid: bool = False) -> None:
        """Draw conclusions from what a request about a job came to."""
        match event:
            case (
                Delayed(provider_wide=True) | Refused(cause=Cause.NO_CONNECTION, provider_wide=True)
            ):
                self._failed(job, now, alone=event.cause is Cause.NO_CONNECTION, paid=False)
            case Unclear() if paid:
                self._failed(job, now, alone=False, paid=True)
            case Unclear() | Refused(cause=Cause.NO_CONNECTION):
                pass  # it says nothing of the provider
            case _:
                self._end()

    def set_back(self, seconds: float) -> None:
        """The clock was set back by so much: all times go with it."""
        self._next -= seconds
        self._next_paid -= seconds
        if self.since is not None:
            self.since -= seconds

    def _end(self) -> None:
        self.since, self._probe, self._failures = None, None, 0
        self._jobs.clear()
        self._gap, self._paid_gap = FIRST_GAP, FIRST_PAID_GAP

    def _failed(self, job: int, now: float, *, alone: bool, paid: bool) -> None:
        """Count it. One job can't tell its own trouble from the provider's, unless nobody was reached (`alone`)."""
        if self.away:
            if self._probe == job:
                self._try_later(now, paid=paid)
            return
        self._failures += 1
        self._jobs.add(job)
        if self._failures >= FAILURES and (alone or len(self._jobs) > 1):
            self.since = now
            self._try_later(now, paid=paid)

    def _try_later(self, now: float, *, paid: bool) -> None:
        self._probe = None
        self._next = self._next_paid = now + self._gap
        self._gap = min(self._gap * 2, LONGEST_GAP)
        if paid:
            self._next_paid = now + self._paid_gap
            self._paid_gap = min(self._paid_gap * 2, LONGEST_PAID_GAP)
