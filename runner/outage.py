"""Whether a provider answers at all, and when to try it again if it does not.

One for each provider in a run, with a gate for questions and one for submits. A few useless answers in a row close a
gate: then one request at a time tries. Each opens by what goes through it, because a provider can answer questions and
lose submits, or the other way round; and a submit without an answer leaves a job in doubt, so submits try seldom.
"""

from __future__ import annotations

import math

from runner.causes import Cause
from runner.clock import backoff
from runner.events import Delayed, Event, Refused, Unclear

FAILURES = 3
"""Useless answers in a row before a gate is closed, of more than one job unless nobody was reached."""
FIRST_GAP, LONGEST_GAP = 5.0, 60.0
FIRST_LOST_GAP, LONGEST_LOST_GAP = 60.0, 1800.0
LONGEST_EXCUSE = 12 * 3600.0


class Gate:
    """Requests of one kind: all may go, or (since `since`, Unix seconds) one at a time that tries."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._failures = self._lost = self._tries = 0
        self._jobs: set[int] = set()
        self._trying: int | None = None
        self._next = -math.inf
        self._hinted = False

    def __repr__(self) -> str:
        """State in one line."""
        return f"<Gate since={self.since} failures={self._failures} trying={self._trying}>"

    @property
    def closed(self) -> bool:
        """Whether only one request at a time may go."""
        return self.since is not None

    @property
    def shared(self) -> bool:
        """Whether it is closed for more than one job."""
        return self.closed and len(self._jobs) > 1

    def is_tried_by(self, job: int) -> bool:
        """Whether the request about this job is the one that tries."""
        return self._trying == job

    def wait(self, now: float) -> float:
        """Seconds until a request may go; infinity: until the one that tries is back."""
        if not self.closed:
            return 0.0
        return max(0.0, self._next - now) if self._trying is None else math.inf

    def leaves(self, job: int) -> None:
        """A request about a job leaves; through a closed gate, it is the one that tries."""
        if self.closed:
            self._trying = job

    def back(self, job: int, now: float) -> None:
        """It is back, whatever became of it. One that says nothing of the provider counts as a failure."""
        if self.is_tried_by(job):
            self._later(now, lost=False)

    def open(self) -> None:
        """Somebody answered."""
        self.since, self._trying, self._hinted = None, None, False
        self._failures = self._lost = self._tries = 0
        self._jobs.clear()

    def failed(self, job: int, now: float, *, alone: bool, lost: bool) -> None:
        """A useless answer. `lost`: a job is in doubt now, so the next try waits longer.

        One job can't tell its own trouble from the provider's, unless nobody was reached (`alone`).
        """
        self._jobs.add(job)
        if self.closed:
            if self.is_tried_by(job):
                self._later(now, lost=lost)
            return
        self._failures += 1
        if self._failures >= FAILURES and (alone or len(self._jobs) > 1):
            self.since = now
            self._later(now, lost=lost)

    def close(self, now: float, seconds: float) -> None:
        """Close it for what is known from elsewhere; the first try is in so many seconds."""
        if not self.closed:
            self.since, self._next = now, now + seconds

    def try_now(self, now: float) -> None:
        """The next try needs to wait no longer, for what is known from elsewhere; believed once while it is closed."""
        if self.closed and not self._hinted:
            self._hinted = True
            self._next = min(self._next, now)

    def set_back(self, seconds: float) -> None:
        """The clock was set back by so much: all times go with it."""
        self._next -= seconds
        if self.since is not None:
            self.since -= seconds

    def _later(self, now: float, *, lost: bool) -> None:
        self._trying = None
        if lost:
            self._lost += 1
            self._next = now + backoff(FIRST_LOST_GAP, self._lost, LONGEST_LOST_GAP)
        else:
            self._tries += 1
            self._next = now + backoff(FIRST_GAP, self._tries, LONGEST_GAP)


class Outage:
    """What is known of a provider's absence, as arithmetic: every method takes the time and returns at once."""

    def __init__(self) -> None:
        self.questions, self.submits = Gate(), Gate()
        self.failed_at = -math.inf
        """When a question was last answered with an error of the server, or not at all."""
        self._bought_at = -math.inf

    def __repr__(self) -> str:
        """State in one line."""
        return f"<Outage questions={self.questions!r} submits={self.submits!r}>"

    def excuses(self, now: float) -> bool:
        """Whether a useless answer to a question speaks against the provider alone, and not against the job.

        Not once a submit was answered meanwhile, and not for longer than half a day.
        """
        since = self.questions.since
        return since is not None and now - since < LONGEST_EXCUSE and self._bought_at < since

    def asked(self, event: Event, job: int, now: float) -> None:
        """Draw conclusions from what a question about a job came to."""
        if isinstance(event, Delayed) and event.provider_wide:
            self.failed_at = now
            before = self.questions.shared
            unreached = event.cause is Cause.NO_CONNECTION
            self.questions.failed(job, now, alone=unreached, lost=False)
            if self.questions.shared and not before:
                # Questions will find out when it is back, and cost nothing. If they fail for reasons of their own, a
                # submit shows it later.
                self.submits.close(now, LONGEST_LOST_GAP)
            return
        if self.questions.closed:
            self.submits.try_now(now)
        self.questions.open()

    def submitted(self, event: Event, job: int, now: float) -> None:
        """Draw conclusions from what the submit of a job came to."""
        match event:
            case Unclear():
                self.submits.failed(job, now, alone=False, lost=True)
            case Refused(cause=Cause.NO_CONNECTION, provider_wide=True):
                self.submits.failed(job, now, alone=True, lost=False)
            case Refused(cause=Cause.NO_CONNECTION | Cause.RATE_LIMITED):
                pass  # its right to be sent was over, or a proxy is busy: neither says that jobs are taken
            case _ if self.submits.closed and not self.submits.is_tried_by(job):
                pass  # it left before the gate was closed
            case _:
                self.submits.open()
                self._bought_at = now

    def set_back(self, seconds: float) -> None:
        """The clock was set back by so much: all times go with it."""
        self.questions.set_back(seconds)
        self.submits.set_back(seconds)
        self.failed_at -= seconds
        self._bought_at -= seconds
