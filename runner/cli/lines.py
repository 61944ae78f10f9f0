"""Displays for everything that is not a terminal: plain lines, JSON lines, silence."""

from __future__ import annotations

from runner.causes import Cause
from runner.cli.progress import Progress, trouble
from runner.cli.session import Session
from runner.cli.words import hour, plain
from runner.events import (
    Absent,
    Accepted,
    Cancelled,
    Event,
    Finished,
    Gone,
    Refused,
    Rejected,
    Requeued,
    Saved,
    Unclear,
)
from runner.job import Job

HEARTBEAT = 60.0
"""Seconds between two lines about progress."""

_TOLD = (Accepted, Refused, Rejected, Unclear, Absent, Finished, Saved, Gone, Cancelled, Requeued)


def trouble_line(kind: str, job: Job) -> str:
    """`failed     greeting-3  content_policy: what the provider wrote`."""
    detail = f": {plain(job.detail, 200)}" if job.detail else ""
    return f"{kind:<9}  {plain(job.spec.id)}  {job.cause or job.state}{detail}"


class Silent:
    """Nothing is shown before the end."""

    every = 30.0

    def begin(self, progress: Progress) -> None:
        """Say nothing."""

    def happened(self, job: Job, event: Event) -> None:
        """Say nothing."""

    def held(self, provider: str, cause: Cause, detail: str) -> None:
        """Say nothing."""

    def tick(self, progress: Progress) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Say nothing."""


class Lines(Silent):
    """One line a minute, and one for each failure."""

    every = 1.0

    def __init__(self, session: Session) -> None:
        self._out = session.out
        self._clock = session.clock
        self._said_at = self._clock.now()

    def begin(self, progress: Progress) -> None:
        """Say what there is to do."""
        self._say(progress)

    def happened(self, job: Job, event: Event) -> None:
        """Say what went wrong, as it happens."""
        kind = trouble(job, event)
        if kind is not None:
            self._out.say(trouble_line(kind, job))

    def held(self, provider: str, cause: Cause, detail: str) -> None:
        """Say once that a provider refuses us."""
        text = f": {plain(detail, 200)}" if detail else ""
        self._out.say(f"held       {provider}  {cause}{text}")

    def tick(self, progress: Progress) -> None:
        """Say how far it is, once a minute."""
        if not 0 <= self._clock.now() - self._said_at < HEARTBEAT:
            self._say(progress)

    def _say(self, progress: Progress) -> None:
        self._said_at = self._clock.now()
        lanes = " · ".join(f"{lane.name}: {lane.why}" for lane in progress.lanes)
        self._out.say(f"{hour(self._said_at)}  {progress.line} · {lanes}".removesuffix(" · "))


class JsonLines(Silent):
    """One JSON line for each thing that matters, and one a minute."""

    every = 1.0

    def __init__(self, session: Session) -> None:
        self._out = session.out
        self._clock = session.clock
        self._said_at = self._clock.now()

    def begin(self, progress: Progress) -> None:
        """Say what there is to do."""
        self._out.record({"type": "begin", "at": self._clock.now(), **progress.as_json()})

    def happened(self, job: Job, event: Event) -> None:
        """Report an event."""
        if isinstance(event, _TOLD) or trouble(job, event) is not None:
            self._out.record({"type": "job", "at": self._clock.now(), **job_facts(job, event)})

    def held(self, provider: str, cause: Cause, detail: str) -> None:
        """Report that a provider refuses us."""
        facts = {"provider": provider, "cause": cause, "detail": detail, "fix": cause.fix}
        self._out.record({"type": "held", "at": self._clock.now(), **facts})

    def tick(self, progress: Progress) -> None:
        """Report how far it is, once a minute."""
        now = self._clock.now()
        if not 0 <= now - self._said_at < HEARTBEAT:
            self._said_at = now
            self._out.record({"type": "heartbeat", "at": now, **progress.as_json()})


def job_facts(job: Job, event: Event) -> dict[str, object]:
    """An event of a job as plain values."""
    facts: dict[str, object] = {
        "event": type(event).__name__.lower(),
        "batch": job.spec.batch,
        "id": job.spec.id,
        "state": job.state.value,
        "provider": job.provider,
        "attempt": job.attempt,
    }
    if job.cause is not None:
        facts |= {"cause": job.cause.value, "detail": job.detail}
    if job.remote is not None:
        facts["remote_id"] = job.remote.id
    if isinstance(event, Saved):
        facts["files"] = [file.path for file in event.files]
    return facts
