"""Rows to values and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from sys import intern
from typing import Any

from runner.causes import Cause
from runner.errors import StoreError
from runner.events import (
    Accepted,
    Artifact,
    Cancelled,
    Event,
    Finished,
    Intended,
    Progressed,
    Refused,
    Rejected,
    Remote,
    Saved,
)
from runner.job import Job, Spec, State
from runner.wire import dump_json, parse_json

JOB_COLUMNS = """
  job.id, job.batch, job.provider, job.state, job.cause, job.detail, job.due_at, job.changed_at, job.fence, job.attempt,
  job.remote, spec.key, batch.name, spec.name, spec.position, spec.repeat, spec.model, spec.params, spec.output
"""


def millis(seconds: float | None) -> int | None:
    """Unix seconds as the whole milliseconds that rows hold."""
    return None if seconds is None else round(seconds * 1000)


def seconds(value: int | None) -> float | None:
    """The milliseconds of a row as Unix seconds."""
    return None if value is None else value / 1000


def remote_text(remote: Remote | None) -> str | None:
    """A remote as the text of its column: its paths are cut where the id stands in them, which halves the row."""
    return None if remote is None else dump_json({"id": remote.id, "forms": remote.forms})


def remote_from(text: str | None) -> Remote | None:
    """The remote of a column's text."""
    if not text:
        return None
    value = parse_json(text.encode())
    remote_id: str = value["id"]
    if "paths" in value:  # as version 0.1.0 wrote it
        return Remote(remote_id, value["paths"])
    return Remote(remote_id, {name: remote_id.join(parts) for name, parts in value["forms"]})


def state_from(text: str) -> State:
    """The state of a column's text.

    Raises:
        StoreError: there is no such state: the text was damaged.
    """
    try:
        return State(text)
    except ValueError:
        raise _damaged(repr(text)) from None


def cause_from(text: str | None) -> Cause | None:
    """The cause of a column's text.

    Raises:
        StoreError: there is no such cause: the text was damaged.
    """
    try:
        return Cause(text) if text else None
    except ValueError:
        raise _damaged(repr(text)) from None


def _damaged(what: str) -> StoreError:
    return StoreError(f"a row is damaged ({what}). Restore runner.db from a copy")


def job_from(row: sqlite3.Row | tuple[Any, ...]) -> Job:
    """A job from a row of `JOB_COLUMNS`.

    Raises:
        StoreError: the row holds what this program never wrote.
    """
    try:
        return _job_from(row)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"the row of job {row[0]} is damaged ({error}). Restore runner.db from a copy"
        ) from None


def _job_from(row: sqlite3.Row | tuple[Any, ...]) -> Job:
    (
        number,
        _,
        provider,
        state,
        cause,
        detail,
        due_at,
        changed_at,
        fence,
        attempt,
        remote,
        *spec,
    ) = row
    key, batch, name, position, repeat, model, params, output = spec
    return Job(
        number=number,
        spec=Spec(
            key=bytes(key).hex(),
            batch=intern(batch),
            id=name,
            index=position,
            repeat=repeat,
            model=intern(model),
            params=dict(parse_json(params.encode()).items()),
            output=output,
        ),
        provider=intern(provider),
        state=State(state),
        fence=fence,
        attempt=attempt,
        cause=Cause(cause) if cause else None,
        detail=detail or "",
        due_at=seconds(due_at),
        changed_at=changed_at / 1000,
        remote=remote_from(remote),
    )


def artifact_from(row: tuple[Any, ...]) -> Artifact:
    """An artifact from url, content_type, size, remote_id, duration."""
    url, content_type, size, remote_id, duration = row
    return Artifact(url, content_type, size, remote_id, duration)


def event_data(event: Event) -> str | None:
    """What the history keeps of an event: enough to read it, not what stands in other tables."""
    facts: Mapping[str, Any]
    match event:
        case Intended(attempt=attempt, provider=provider):
            facts = {"attempt": attempt, "provider": provider}
        case Accepted(remote=remote):
            facts = {"remote_id": remote.id}
        case Refused(cause=cause, detail=detail):
            facts = {"cause": cause, "detail": detail}
        case Rejected(cause=cause, detail=detail, billed=billed):
            facts = {"cause": cause, "detail": detail, "billed": billed}
        case Progressed(phase=phase, note=note):
            facts = {"phase": phase, "note": note} if note else {"phase": phase}
        case Finished(artifacts=artifacts, units=units):
            facts = {"artifacts": len(artifacts), "units": units}
        case Saved(files=files):
            facts = {"paths": [file.path for file in files]}
        case Cancelled(detail=detail):
            facts = {"detail": detail}
        case _:
            facts = {"detail": event.detail}
            why = getattr(event, "cause", None)
            facts = {"cause": why, **facts}
    kept = {name: value for name, value in facts.items() if value not in (None, "")}
    return dump_json(kept) if kept else None
