"""The fal queue protocol, spoken by fal itself and by its resellers."""

from __future__ import annotations

from collections.abc import Generator

from runner.causes import Cause
from runner.errors import UsageError
from runner.events import (
    Accepted,
    Cancelled,
    Delayed,
    Event,
    Finished,
    Progressed,
    Rejected,
    Remote,
)
from runner.providers import codes
from runner.providers.answers import ID_PATHS, error_text, error_types, usable_id
from runner.providers.artifacts import named_artifacts
from runner.providers.checks import normalise
from runner.providers.failures import failure_of
from runner.providers.images import data_uri, encoded
from runner.providers.phases import Phase
from runner.providers.provider import Order, Provider
from runner.providers.routes import app_of_model, routes, routes_of, unknown_app
from runner.providers.task import Task, accepted_id, read_task
from runner.providers.verdict import judge, retryable
from runner.wire import Exchange, Request, Response, pick_text

_ID_PATHS = ("request_id", "data.request_id", *ID_PATHS, "data")


class Fal:
    """A dialect: submit to a model's path, then ask about the request under owner and alias."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._traits = provider.fal

    def submit(self, order: Order) -> Exchange:
        """Send the paid request. Returns Accepted, Finished, Refused, Rejected or Unclear."""
        params = normalise(self._provider, order.model, order.params)
        answer = yield Request(
            "POST", "/" + order.model.strip("/"), encoded(params, data_uri), paid=True
        )
        return self._receipt(order.model, answer)

    def poll(self, remote: Remote) -> Exchange:
        """Ask how far it is, and for the result as soon as it is there.

        A status route that is not there (404, 405, or the web page that some gateways answer unknown paths with)
        falls back to the result, and that to the route that finds a job by its id alone.
        """
        status = yield Request("GET", remote.paths["status"])
        task = read_task(status)
        event = self._news(task, status)
        if event is not None:
            return event
        if task is None and status.status not in (404, 405) and not 200 <= status.status < 300:
            return self._failed(status, of_status=True) or judge(status).of_poll()
        return (yield from self._result(remote))

    def lookup(self, model: str, client_ref: str) -> Exchange | None:
        """There is no way to find a request whose id is not known."""
        del model, client_ref
        return None

    def cancel(self, remote: Remote) -> Exchange | None:
        """Ask to stop. A request that runs already may still finish, and is billed then."""
        return self._cancel(remote) if self._traits.cancel else None

    def remote(self, model: str, remote_id: str) -> Remote:
        """Build the paths of a request from its id alone.

        Raises:
            UsageError: it can't be an id.
        """
        if usable_id(remote_id) is None:
            raise UsageError(
                f"{remote_id[:80]!r} is not a request id. Copy it from the provider's history"
            )
        return routes(app_of_model(model), remote_id)

    def _receipt(self, model: str, answer: Response) -> Event:
        """Decide what became of the paid request: an id means that it was taken, whatever else is said."""
        remote_id = accepted_id(answer, *_ID_PATHS)
        if remote_id is not None:
            return Accepted(
                routes_of(answer.json, model, remote_id), max(5.0, self._traits.min_poll)
            )
        files = named_artifacts(answer.json) if 200 <= answer.status < 300 else ()
        if files:
            return Finished(files, self._traits.result_lifetime)
        return judge(answer).of_submit(check_after=None)

    def _result(self, remote: Remote) -> Generator[Request, Response, Event]:
        answer = yield Request("GET", remote.paths["result"])
        auto = unknown_app(remote)
        if answer.status in (404, 405) and auto is not None:
            other = yield Request("GET", auto)
            unfinished = other.status == 400 and codes.says_unfinished(error_text(other))
            answer = other if unfinished or read_task(other) is not None else answer
        task = read_task(answer)
        event = self._news(task, answer) or self._failed(answer)
        if event is not None:
            return event
        if 200 <= answer.status < 300:
            text = "no JSON" if answer.json is None else "a result that names no file"
            return Delayed(Cause.PROVIDER_ERROR, f"HTTP {answer.status}, {text}: {answer.text}")
        return judge(answer).of_poll()

    def _news(self, task: Task | None, answer: Response) -> Event | None:
        """Say what an answer tells about the job; None where the result has to be asked for."""
        if task is None:
            unfinished = answer.status >= 400 and codes.says_unfinished(error_text(answer))
            return Progressed("running") if unfinished else None
        if task.phase.pending:
            return Progressed(task.phase.value)
        if task.phase is Phase.UNKNOWN:
            return Progressed("running", note=f"unknown status word {task.word!r}")
        if task.phase is Phase.DONE:
            if task.artifacts:
                return Finished(task.artifacts, self._traits.result_lifetime, task.units)
            return None
        return failure_of(task)

    def _failed(self, answer: Response, *, of_status: bool = False) -> Rejected | None:
        """Read the error of a result that will not come.

        fal reports a failed job as the HTTP error of its result: 422 from the model, 499 to 504 with an error type
        from the platform. The latter are documented as not billed. Without a type it is only a bad moment.
        """
        types = error_types(answer, answer.json)
        cause = codes.fal_cause(types)
        detail = f"HTTP {answer.status}: {error_text(answer)}"
        about_key = answer.status in (401, 402, 403, 404, 405, 408, 409, 429)
        typed = 400 <= answer.status < 499 and cause is not None and not about_key
        refused = answer.status == 422 and (cause is not None or not of_status)
        if refused or (typed and not of_status):
            return Rejected(cause or codes.by_status(422, detail).cause, detail)
        if of_status or answer.status < 499:
            return None
        if any(name in codes.FAL_CANCELLED for name in types):
            return Rejected(Cause.CANCELLED, detail)
        if cause is None and retryable(answer) is None:
            return None
        again = ". fal says that sending it again may work" if retryable(answer) else ""
        return Rejected(cause or Cause.PROVIDER_ERROR, detail + again, billed=False, passing=True)

    def _cancel(self, remote: Remote) -> Exchange:
        answer = yield Request("PUT", remote.paths["cancel"])
        word = (pick_text(answer.json, "status") or "").upper()
        if word == "CANCELLATION_REQUESTED" or (answer.status in (200, 202, 204) and not word):
            return Cancelled(
                "the provider was asked to stop; what already runs may still finish and be billed"
            )
        if word == "ALREADY_COMPLETED":
            return Delayed(Cause.CANCELLED, "too late to cancel: the provider has completed it")
        if word == "NOT_FOUND":
            return Delayed(Cause.LOST_REMOTE, "the provider does not know the request")
        if answer.status in (404, 405):
            return Delayed(
                Cause.NOT_PERMITTED,
                f"the provider can't cancel: HTTP {answer.status}: {answer.text}",
            )
        return judge(answer).of_poll()
