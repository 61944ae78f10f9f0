"""The fal queue protocol, as fal and its resellers speak it."""

from __future__ import annotations

from dataclasses import dataclass

from . import complaints
from .checks import fal_problem
from .media import size_of
from .reply import Call, Json, Reply, json_reply
from .task import Task
from .world import World

_NAMESPACES = ("workflows", "comfy")
_ERROR_STATUS = {
    "request_timeout": 504, "startup_timeout": 504, "runner_incomplete_response": 502,
    "runner_server_error": 500, "internal_error": 500, "client_cancelled": 499, "bad_request": 400,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """Where a path leads."""

    operation: str
    app: str
    task_id: str = ""


def route(call: Call) -> Route:
    """Split a path into app, id and what is wanted; trailing slashes are served too."""
    parts = call.path.strip("/").split("/")
    if "requests" not in parts:
        return Route("submit", "/".join(parts))
    at = parts.index("requests")
    app, rest = "/".join(parts[:at]), parts[at + 1 :]
    if not rest or not rest[0]:
        return Route("other", app)
    wanted = {(): "result", ("status",): "status", ("cancel",): "cancel",
              ("status", "stream"): "stream"}  # fmt: skip
    return Route(wanted.get(tuple(rest[1:]), "other"), app, rest[0])


def home_of(path: str) -> str:
    """Owner and alias of an endpoint path: all that status, result and cancel keep of it."""
    parts = path.strip("/").split("/")
    return "/".join(parts[: 3 if parts[0] in _NAMESPACES else 2])


def answer(world: World, call: Call, to: Route) -> Reply:
    """Answer one request of the fal protocol."""
    submits = to.operation == "submit"
    if to.operation == "other" or (submits and "/" not in to.app):
        return complaints.unknown_route(world, call)
    method = {"submit": "POST", "cancel": "PUT"}.get(to.operation, "GET")
    if call.method != method or (not submits and to.app != home_of(to.app)):
        return complaints.fal(405, "Method Not Allowed")
    return _submit(world, call) if submits else _about(world, call, to)


def _about(world: World, call: Call, to: Route) -> Reply:
    """Answer a request about one task."""
    task = _find(world, call, to)
    if task is None:
        if to.operation == "cancel":
            return json_reply({"status": "NOT_FOUND"}, 404)
        return complaints.fal(404, "Request not found")
    handlers = {"status": _status, "stream": _stream, "result": _result, "cancel": _cancel}
    return handlers[to.operation](world, call, task)


def _find(world: World, call: Call, to: Route) -> Task | None:
    system = call.system
    task = world.ledger.find(system.name, to.task_id)
    if task is None or task.protocol != "fal" or world.faults.fires("task-forgotten", call):
        return None
    owner = to.app.split("/")[0]
    if to.app == task.home:
        return task
    if system.auto_app and to.app == f"{owner}/auto" and to.operation == "result":
        return task
    if system.placeholder_works and to.app == f"{owner}/{system.placeholder}":
        return task
    return None


def _urls(world: World, call: Call, task: Task) -> dict[str, str]:
    system = call.system
    prefix = "" if system.name == "any" else f"/as/{system.name}"
    base = system.url_host or world.base_url + prefix
    if fault := world.faults.fires("foreign-urls", call):
        base = str(fault.value or f"{world.other_host}/elsewhere").rstrip("/")
    app = task.home
    if system.placeholder:
        app = f"{app.split('/')[0]}/{system.placeholder}"
    response = f"{base}/{app}/requests/{task.id}"
    urls = {"response_url": response, "status_url": f"{response}/status"}
    if system.cancel_url:
        urls["cancel_url"] = f"{response}/cancel"
    return urls


def _submit(world: World, call: Call) -> Reply:
    body = call.json()
    if problem := fal_problem(call.path, body):
        given = body.get(problem.field) if isinstance(body, dict) else None
        context = {"given": given, "permitted": list(problem.permitted)}
        extra = {"ctx": context} if problem.permitted else {}
        loc = ["body", *([problem.field] if problem.field else [])]
        return complaints.invalid(loc, problem.message, problem.kind, **extra)
    shape = "digits" if world.faults.fires("integer-ids", call) else "uuid"
    outcome = world.fate(call, str(body.get("prompt", "")))
    task = world.accept(
        call, home=home_of(call.path), id_shape=shape, external_id=None, outcome=outcome
    )
    world.plan_webhook(task, call, call.query.get("fal_webhook"))
    document: dict[str, Json] = {"status": "IN_QUEUE", "request_id": task.id}
    document |= _urls(world, call, task)
    position = world.slots(task.system, "fal").position(task, call.now)
    document |= {"logs": None, "metrics": {}, "queue_position": position}
    if task.webhook:
        document["gateway_request_id"] = task.id
    return json_reply(document, x_fal_request_id=task.id)


def _document(world: World, call: Call, task: Task) -> dict[str, Json]:
    """The status object, which `status` and the stream share."""
    state, odd = world.shown(task, call)
    word = {"queued": "IN_QUEUE", "running": "IN_PROGRESS"}.get(state, "COMPLETED")
    document: dict[str, Json] = {"status": odd or word, "request_id": task.id}
    document |= _urls(world, call, task)
    if word == "IN_QUEUE":
        position = world.slots(task.system, "fal").position(task, call.now)
        return document | {"queue_position": position}
    wants_logs = call.query.get("logs", "0").lower() in ("1", "true")
    document["logs"] = [_log_line(task)] if wants_logs else None
    if word == "IN_PROGRESS":
        return document
    failed = state == "cancelled" or task.outcome.kind in ("error", "failed", "swept")
    document["metrics"] = {"inference_time": None if failed else round(task.runs, 2)}
    if state == "cancelled":
        return document | {"error": "Request cancelled", "error_type": "client_cancelled"}
    if failed:
        return document | {"error": task.outcome.message, "error_type": task.outcome.code}
    return document


def _log_line(task: Task) -> Json:
    return {
        "message": f"Task {task.serial} has begun",
        "level": "INFO",
        "source": "USER",
        "timestamp": "2026-01-10T08:00:03.123456",
    }


def _status(world: World, call: Call, task: Task) -> Reply:
    if fault := world.faults.fires("status-route-missing", call):
        return complaints.fal(int(fault.number), "Not Found")
    document = _document(world, call, task)
    flat = call.system.flat_status or world.faults.fires("always-200", call) is not None
    done = document["status"] == "COMPLETED"
    return json_reply(document, 200 if done or flat else 202, x_fal_request_id=task.id)


def _stream(world: World, call: Call, task: Task) -> Reply:
    """One event with the state as it is; a client that wants the next one connects again."""
    reply = json_reply(_document(world, call, task))
    headers = {"Content-Type": "text/event-stream"}
    return reply.but(body=b"data: " + reply.body + b"\n\n", headers=headers)


def _early(world: World, call: Call, task: Task) -> Reply:
    fault = world.faults.fires("early-result", call)
    status = int(fault.number) if fault else 400
    if status == 200:
        return json_reply(_document(world, call, task))
    return complaints.fal(status, "Request is still in progress")


def _result(world: World, call: Call, task: Task) -> Reply:
    outcome, state = task.outcome, task.state(call.now)
    if state in ("queued", "running"):
        return _early(world, call, task)
    task.polls += 1
    if state == "cancelled":
        return complaints.fal(499, "Request cancelled", "client_cancelled")
    if outcome.kind in ("error", "failed", "swept"):
        status = _ERROR_STATUS.get(outcome.code, 503)
        return complaints.fal(status, outcome.message, outcome.code)
    if fault := world.faults.fires("result-error", call):
        kind = str(fault.value)
        return complaints.fal(_ERROR_STATUS.get(kind, 503), kind.replace("_", " "), kind)
    return result_of(world, call, task)


def result_of(world: World, call: Call, task: Task) -> Reply:
    """The model's own answer for a finished task: a file, or a 422."""
    outcome = task.outcome
    if outcome.kind in ("policy", "refused"):
        kind = outcome.code or "content_policy_violation"
        return complaints.invalid(["body", "prompt"], outcome.message, kind, input=task.body)
    if outcome.kind == "empty":
        return json_reply({"video": None})
    names: dict[str, Json] = {"content_type": "video/mp4", "file_name": "output.mp4",
                              "file_size": size_of(task)}  # fmt: skip
    if world.faults.fires("minimal-file", call):
        names = dict.fromkeys(names)
    document = {"video": {"url": world.media_url(task), **names}}
    return json_reply(document, x_fal_request_id=task.id, x_fal_billable_units="1")


def _cancel(world: World, call: Call, task: Task) -> Reply:
    if task.final(call.now):
        return json_reply({"status": "ALREADY_COMPLETED"}, 400)
    if not world.faults.fires("cancel-ignored", call):
        world.slots(task.system, "fal").leave(task, call.now)
    return json_reply({"status": "CANCELLATION_REQUESTED"}, 202)
