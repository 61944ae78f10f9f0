"""Kling's task protocol, spoken by Kling itself and by gateways that re-wrap it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from runner.causes import Cause
from runner.errors import UsageError
from runner.events import (
    Absent,
    Accepted,
    Delayed,
    Event,
    Finished,
    Progressed,
    Rejected,
    Remote,
    Unclear,
)
from runner.providers import codes
from runner.providers.answers import ID_PATHS, error_code, error_text, find_id, segment, usable_id
from runner.providers.checks import normalise
from runner.providers.failures import failure_of
from runner.providers.images import bare_base64, encoded
from runner.providers.patience import server_now
from runner.providers.phases import Phase
from runner.providers.provider import Order, Provider
from runner.providers.task import Task, accepted_id, read_task
from runner.providers.verdict import Verdict, judge
from runner.wire import Exchange, Request, Response, pick, pick_text

_LOOK_AGAIN = 30.0
"""Seconds between two looks for a submit whose answer was lost, and before the first: Kling may still be at it."""


class Kling:
    """A dialect: a task is created under a path and asked about under the same path."""

    def __init__(self, provider: Provider) -> None:
        self._traits = provider.kling
        self._provider = provider

    def submit(self, order: Order) -> Exchange:
        """Send the paid request. Returns Accepted, Refused, Rejected or Unclear.

        Where the API takes an `external_task_id`, it is ours and no other: the look-up depends on it.
        """
        params = normalise(self._provider, order.model, order.params)
        body = encoded(params, bare_base64)
        if self._traits.external_id:
            body["external_task_id"] = order.client_ref
        answer = yield from self._ask(
            Request("POST", "/" + order.model.strip("/"), body, paid=True)
        )
        return self._receipt(order.model, answer)

    def poll(self, remote: Remote) -> Exchange:
        """Ask how far it is. Returns Progressed, Finished, Rejected or Delayed."""
        answer = yield from self._ask(Request("GET", remote.paths["query"]))
        task = read_task(answer)
        if task is None:
            return self._no_task(answer)
        if task.phase.pending:
            return Progressed(task.phase.value)
        if task.phase is Phase.UNKNOWN:
            return Progressed("running", note=f"unknown status word {task.word!r}")
        if task.phase is not Phase.DONE:
            return failure_of(task)
        return self._done(task, answer)

    def lookup(self, model: str, client_ref: str) -> Exchange | None:
        """Ask for the task by our own reference (documented: the query takes `external_task_id` as well)."""
        if not (self._traits.lookup and self._traits.external_id):
            return None
        return self._lookup(model, client_ref)

    def cancel(self, remote: Remote) -> Exchange | None:
        """Kling has no way to cancel a task."""
        del remote
        return None

    def remote(self, model: str, remote_id: str) -> Remote:
        """Build the path of a task from its id alone; it hangs under the path that created it.

        Raises:
            UsageError: it can't be an id.
        """
        if usable_id(remote_id) is None:
            raise UsageError(
                f"{remote_id[:80]!r} is not a task id. Copy it from the provider's history"
            )
        return Remote(remote_id, {"query": f"/{model.strip('/')}/{segment(remote_id)}"})

    def _ask(self, request: Request) -> Generator[Request, Response, Response]:
        """Ask, and once more with a new token where the old one was the trouble.

        A refused token proves that the request was not taken, so this is safe for a paid one, too; an answer that holds
        a task's id refuses nothing. Where this machine's clock is wrong, the new token is minted for Kling's own time.
        """
        answer = yield request
        taken = request.paid and accepted_id(answer, *ID_PATHS, "data") is not None
        if self._provider.auth.minted and not taken and judge(answer).stale_token:
            now = server_now(answer.headers)
            answer = yield replace(request, fresh_token=True, server_now=now)
        return answer

    def _receipt(self, model: str, answer: Response) -> Event:
        """Decide what became of the paid request: a task's id means that it was taken, whatever else is said."""
        remote_id = accepted_id(answer, *ID_PATHS, "data")
        if remote_id is not None:
            return Accepted(self.remote(model, remote_id), max(5.0, self._traits.min_poll))
        check_after = _LOOK_AGAIN if self._traits.lookup and self._traits.external_id else None
        verdict = judge(answer)
        if answer.status in (400, 409) and codes.says_duplicate(verdict.detail):
            return Unclear(
                f"our reference is taken, so it was sent before: {verdict.detail}",
                check_after=check_after,
            )
        return verdict.of_submit(check_after)

    def _done(self, task: Task, answer: Response) -> Finished | Delayed:
        if task.artifacts:
            return Finished(task.artifacts, self._traits.result_lifetime, task.units)
        return Delayed(
            Cause.PROVIDER_ERROR,
            f"the provider says {task.word!r}, but names no file: {answer.text}",
        )

    def _no_task(self, answer: Response) -> Delayed | Rejected:
        """Read an answer to a poll that describes no task: an error, or nothing that can be used."""
        if 200 <= answer.status < 300 and error_code(answer.json) is None:
            return Delayed(
                Cause.PROVIDER_ERROR, f"HTTP {answer.status} without a task: {answer.text}"
            )
        known = codes.KLING.get(error_code(answer.json) or "")
        if known is not None and known.cause is Cause.CONTENT_POLICY:
            return Rejected(Cause.CONTENT_POLICY, error_text(answer))
        return judge(answer).of_poll()

    def _lookup(self, model: str, client_ref: str) -> Exchange:
        answer = yield from self._ask(Request("GET", f"/{model.strip('/')}/{segment(client_ref)}"))
        task = _ours(pick(answer.json, "data"), client_ref)
        if task is not None and 200 <= answer.status < 300 and error_code(answer.json) is None:
            remote_id = find_id(task, "task_id", "id")
            if remote_id is not None:
                return Accepted(self.remote(model, remote_id), self._traits.min_poll)
        verdict = judge(answer)
        if _proves_absence(answer, verdict):
            return Absent(verdict.detail)
        told = verdict.of_poll()
        # "No such job" by anybody but Kling itself is no more than an answer without use.
        cause = Cause.PROVIDER_ERROR if told.cause is Cause.LOST_REMOTE else told.cause
        pause = max(_LOOK_AGAIN, verdict.retry_after or 0.0)
        return Delayed(cause, verdict.detail, pause, verdict.down)


def _ours(data: Any, client_ref: str) -> Mapping[str, Any] | None:
    """Return the task that carries our reference: the answer is one task or, from list routes, several."""
    for item in data if isinstance(data, list) else [data]:
        if isinstance(item, Mapping):
            named = pick_text(item, "task_info.external_task_id", "external_task_id")
            if named == client_ref or (named is None and not isinstance(data, list)):
                return item
    return None


def _proves_absence(answer: Response, verdict: Verdict) -> bool:
    """Whether Kling itself says that it has no such task; a path that is not there says nothing."""
    code = error_code(answer.json)
    if answer.status == 404 and code == "1203":
        return True
    return (
        answer.status in (400, 404)
        and code in ("1201", "1203")
        and codes.says_missing(verdict.detail)
    )
