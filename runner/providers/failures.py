"""The event for a job that a provider took and did not make."""

from __future__ import annotations

from runner.causes import Cause
from runner.events import Rejected
from runner.providers import codes
from runner.providers.phases import Phase
from runner.providers.task import Task


def failure_of(task: Task) -> Rejected:
    """Say why there will be no clip, and whether it is billed where that is documented."""
    detail = task.message or f"the provider says {task.word!r}"
    if task.phase is Phase.EXPIRED:
        return Rejected(Cause.EXPIRED, detail)
    if task.phase is Phase.CANCELLED or any(code in codes.FAL_CANCELLED for code in task.codes):
        return Rejected(Cause.CANCELLED, f"the provider says that it was cancelled there: {detail}")
    cause = codes.fal_cause(task.codes)
    platform = any(code in codes.FAL_PLATFORM or code == "internal_error" for code in task.codes)
    if cause is None:
        known = next((codes.KLING[code] for code in task.codes if code in codes.KLING), None)
        content = known is not None and known.cause is Cause.CONTENT_POLICY
        cause = (
            Cause.CONTENT_POLICY
            if content or codes.says_refused_content(detail)
            else Cause.PROVIDER_ERROR
        )
    if task.sweeper:
        detail += " (the gateway gave up waiting; the upstream may still have made it)"
    return Rejected(cause, detail, billed=False if platform or task.refunded else None)
