"""The job, its states, and the one table that moves it.

Rules:

1. A job's state changes only by `transition(state, event)`; an unknown pair raises and changes nothing.
2. `submitting` is durable before the request leaves, so a job found there after a crash can only be in doubt.
3. Whether a job waits for a time or for a person is a column (`due_at`), not a state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from runner import events
from runner.causes import Cause
from runner.errors import RunnerError
from runner.events import Event, Remote
from runner.wire import dump_json


class State(StrEnum):
    """Where a job is in the world."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    RUNNING = "running"
    READY = "ready"
    DONE = "done"
    IN_DOUBT = "in_doubt"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing moves the job any more unless a person asks for it."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)


TRANSITIONS: dict[State, dict[type[Event], State]] = {
    State.QUEUED: {
        events.Intended: State.SUBMITTING,
        events.Delayed: State.QUEUED,
        events.Rejected: State.FAILED,
        events.Cancelled: State.CANCELLED,
    },
    State.SUBMITTING: {
        events.Accepted: State.RUNNING,
        events.Finished: State.READY,
        events.Refused: State.QUEUED,
        events.Rejected: State.FAILED,
        events.Unclear: State.IN_DOUBT,
    },
    State.IN_DOUBT: {
        events.Accepted: State.RUNNING,
        events.Finished: State.READY,
        events.Absent: State.QUEUED,
        events.Unclear: State.IN_DOUBT,
        events.Delayed: State.IN_DOUBT,
        events.Rejected: State.FAILED,
        events.Requeued: State.QUEUED,
        events.Cancelled: State.CANCELLED,
    },
    State.RUNNING: {
        events.Progressed: State.RUNNING,
        events.Delayed: State.RUNNING,
        events.Finished: State.READY,
        events.Rejected: State.FAILED,
        events.Cancelled: State.CANCELLED,
    },
    State.READY: {
        events.Saved: State.DONE,
        events.Delayed: State.READY,
        events.Gone: State.RUNNING,
        events.Rejected: State.FAILED,
        events.Cancelled: State.CANCELLED,
    },
    State.DONE: {
        events.Gone: State.RUNNING,
    },
    State.FAILED: {
        events.Requeued: State.QUEUED,
        events.Accepted: State.RUNNING,
    },
    State.CANCELLED: {
        events.Requeued: State.QUEUED,
        events.Finished: State.READY,
        events.Rejected: State.CANCELLED,
    },
}


class IllegalTransition(RunnerError):
    """An event that can't happen in the state the job is in: a mistake in this program."""


def transition(state: State, event: Event) -> State:
    """Say which state `event` leads to.

    Raises:
        IllegalTransition: the table has no such pair.
    """
    try:
        return TRANSITIONS[state][type(event)]
    except KeyError:
        raise IllegalTransition(f"{type(event).__name__} can't happen to a {state} job") from None


@dataclass(frozen=True, slots=True)
class Spec:
    """One paid request, as the manifest asks for it; never changes once it is stored.

    `params` is the request body in the API's own field names, prompt included; a local image stands in it as
    `{"$image": {"path", "sha256", "media_type", "size"}}`. `output` is a path relative to the outputs folder, with `/`
    between its parts and `${{ ext }}` still in it. `id` is unique within the batch.
    """

    key: str
    batch: str
    id: str
    index: int
    repeat: int
    model: str
    params: Mapping[str, Any]
    output: str

    @property
    def prompt(self) -> str:
        """The prompt, or an empty string where the model needs none."""
        return str(self.params.get("prompt", ""))


@dataclass(frozen=True, slots=True)
class Job:
    """A stored job: its spec, who makes it, and where it is.

    `number` is its row; `fence` the counter every write has to name; `attempt` how often it was submitted (answers
    that cost nothing are not counted); `due_at` when to look at it next (Unix seconds; None: a person has to);
    `changed_at` when it came into this state.
    """

    number: int
    spec: Spec
    provider: str
    state: State
    fence: int
    attempt: int = 0
    cause: Cause | None = None
    detail: str = ""
    due_at: float | None = 0.0
    changed_at: float = 0.0
    remote: Remote | None = None


def advanced(job: Job, state: State, event: Event, now: float, due_at: float | None) -> Job:
    """The job as it stands after `event` was recorded and led to `state`; says nothing about whether it may."""
    provider, fence, attempt, remote = job.provider, job.fence, job.attempt, job.remote
    match event:
        case events.Intended():
            provider, fence, attempt = event.provider, job.fence + 1, event.attempt
        case events.Accepted():
            remote = event.remote
        case events.Refused() | events.Absent():
            attempt -= 1
        case _:
            pass
    cancelled = isinstance(event, events.Cancelled)
    cause = Cause.CANCELLED if cancelled else getattr(event, "cause", None)
    return Job(
        number=job.number,
        spec=job.spec,
        provider=provider,
        state=state,
        fence=fence,
        attempt=attempt,
        cause=cause,
        detail=getattr(event, "detail", "") if cause else "",
        due_at=None if state.ended else due_at,
        changed_at=job.changed_at if state is job.state else now,
        remote=remote,
    )


def job_key(batch: str, model: str, params: Mapping[str, Any], written_id: str, repeat: int) -> str:
    """Identify a job: the same request of the same batch has the same key, whoever sells it.

    `5` and `"5"` are the same request (which of the two an API wants is its dialect's business), so scalars are
    compared by their text. 32 hex digits.
    """
    canonical = dump_json([batch, model, _by_text(params), written_id, repeat])
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _by_text(value: Any) -> Any:
    if type(value) is str:  # nearly always, and the checks below take their time
        return value
    if isinstance(value, Mapping):
        if set(value) == {"$image"}:
            return {"$image": value["$image"]["sha256"]}
        return {str(name): _by_text(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_text(item) for item in value]
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
