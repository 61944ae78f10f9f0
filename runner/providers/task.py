"""A task as a provider describes it: one value for the ten shapes in which it is described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.events import Artifact
from runner.providers.answers import (
    ID_PATHS,
    STRONG_ID_PATHS,
    error_code,
    error_text,
    error_types,
    find_id,
    says_fine,
)
from runner.providers.artifacts import all_artifacts, named_artifacts
from runner.providers.phases import Phase, phase_of
from runner.wire import Response, excerpt, pick, pick_text

_WORD_PATHS = ("data.task_status", "data.status", "task_status", "status")
_ERROR_PATHS = ("error", "error_type", "data.error")
_UNIT_PATHS = ("data.final_unit_deduction", "data.data.data.final_unit_deduction")


@dataclass(frozen=True, slots=True)
class Task:
    """How far a job is, in the provider's words and in ours.

    `codes` are what a failure is classified by, `message` is safe to show. `refunded` says that the shape is one whose
    maker is known to refund failures (new-api gateways, seen in their source); `sweeper` that the gateway gave up
    waiting, which says nothing about the upstream job.
    """

    phase: Phase
    word: str = ""
    artifacts: tuple[Artifact, ...] = ()
    message: str = ""
    codes: tuple[str, ...] = ()
    refunded: bool = False
    sweeper: bool = False
    units: str | None = None


def read_task(answer: Response) -> Task | None:
    """Find the status word and the files; None where the answer describes no task.

    The body decides, not the HTTP status: proxies flatten 202 to 200, and Kling answers 200 for a failed task. Only
    bad news needs both: a failure is believed from a successful answer that names the task, because gateways write
    `"status": "error"` about the request, too.
    """
    body = answer.json
    if not isinstance(body, dict):
        return None
    word = next(
        (item for item in (pick(body, path) for path in _WORD_PATHS) if isinstance(item, str)), None
    )
    if word is None:
        artifacts = named_artifacts(body) if 200 <= answer.status < 300 else ()
        return Task(Phase.DONE, "", artifacts, units=_units(answer, body)) if artifacts else None
    phase = phase_of(word)
    shown = excerpt(word, 40)
    if phase.pending:
        return Task(phase, shown)
    artifacts = all_artifacts(body) if phase is Phase.DONE else ()
    if phase is Phase.UNKNOWN:
        artifacts = named_artifacts(body)
        phase = Phase.DONE if artifacts else phase
    if phase is Phase.DONE and not artifacts and any(pick(body, path) for path in _ERROR_PATHS):
        phase = Phase.FAILED
    if phase in (Phase.FAILED, Phase.CANCELLED, Phase.EXPIRED):
        return _failed(phase, shown, answer, body)
    if phase is Phase.UNKNOWN and not 200 <= answer.status < 300:
        return None
    return Task(phase, shown, artifacts, units=_units(answer, body))


def accepted_id(answer: Response, *paths: str) -> str | None:
    """Return the id of the task that a paid request made; None where the answer doesn't plainly say that it did.

    It says so with a success that reports no error, with a task that is pending whatever the HTTP status, and with
    the id of a task beside any code.
    """
    body, success = answer.json, 200 <= answer.status < 300
    task = read_task(answer)
    if (task is not None and task.phase.pending) or (success and says_fine(body)):
        return find_id(body, *paths)
    return find_id(body, *STRONG_ID_PATHS) if success else None


def _failed(phase: Phase, word: str, answer: Response, body: Mapping[str, Any]) -> Task | None:
    if not _about_a_task(answer, body):
        return None
    data = body.get("data")
    gateway = isinstance(data, Mapping) and "fail_reason" in data
    return Task(
        phase,
        word,
        message=error_text(answer, body),
        codes=(*error_types(answer, body), *filter(None, (error_code(body),))),
        refunded=gateway or body.get("object") == "video",
        sweeper=gateway and isinstance(data, Mapping) and data.get("data", ...) is None,
        units=_units(answer, body),
    )


def _about_a_task(answer: Response, body: Mapping[str, Any]) -> bool:
    if not 200 <= answer.status < 300:
        return False
    named = pick(body, "data.task_status", "task_status")
    return (
        named is not None or find_id(body, "request_id", "data.request_id", *ID_PATHS) is not None
    )


def _units(answer: Response, body: Any) -> str | None:
    """What the provider says it charged, in its own units."""
    units = answer.headers.get("x-fal-billable-units") or pick_text(body, *_UNIT_PATHS)
    return excerpt(units, 40) if units else None
