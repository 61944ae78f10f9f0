"""Kling's own protocol, as Kling and its resellers speak it."""

from __future__ import annotations

from dataclasses import dataclass

from . import complaints
from .checks import kling_problem, kling_values
from .reply import Call, Json, Reply, json_reply
from .shapes import envelope, fetched, native, submitted
from .task import Outcome, Task
from .world import World

_VIDEO = (
    "text2video", "image2video", "multi-image2video", "multi-elements", "omni-video",
    "video-extend", "lip-sync", "effects", "motion-control", "avatar/image2video",
    "advanced-lip-sync",
)  # fmt: skip
ACTIONS = frozenset(
    [f"videos/{name}" for name in _VIDEO]
    + ["images/generations", "images/kolors-virtual-try-on", "images/omni-image"]
)
"""The collections that tasks are made in."""

_ID_SHAPES = {"K4": "public", "K5": "ulid"}


@dataclass(frozen=True, slots=True)
class Route:
    """Where a path leads."""

    operation: str
    collection: str = ""
    task_id: str = ""


def route(call: Call) -> Route | None:
    """Split a path below one of the system's Kling prefixes; None when it isn't below any."""
    path = call.path.rstrip("/")
    if path == "/account/costs" and call.system.auth in ("JWT", "any"):
        return Route("costs")
    for prefix in call.system.kling:
        if path.startswith(prefix + "/"):
            rest = path.removeprefix(prefix + "/")
            if rest in ACTIONS:
                return Route("submit" if call.method == "POST" else "list", rest)
            collection, _, task_id = rest.rpartition("/")
            return Route("fetch" if collection in ACTIONS else "other", collection, task_id)
    return None


def answer(world: World, call: Call, to: Route) -> Reply:
    """Answer one request of the Kling protocol."""
    if to.operation == "submit" and call.method == "POST":
        return _submit(world, call, to)
    if call.method == "GET" and to.operation == "fetch":
        return _fetch(world, call, to)
    if call.method == "GET" and to.operation == "list" and call.system.lists:
        return _list(world, call, to)
    if call.method == "GET" and to.operation == "costs":
        return _costs(world)
    return complaints.unknown_route(world, call)


def _refusal(world: World, call: Call, action: str, body: Json) -> Reply | None:
    """What the validation of this system says against the body."""
    checks = call.system.checks
    if checks == "stock":
        if not isinstance(body, dict) or not body.get("prompt"):
            return complaints.relay(400, "invalid_request", "prompt is required")
        if not isinstance(body.get("duration", "5"), str):
            message = "json: cannot unmarshal number into Go struct field .duration of type string"
            return complaints.relay(500, "build_request_failed", message)
        problem = kling_values(body, strict=False) if "video" in action else None
        return complaints.relay(400, "task_failed", problem) if problem else None
    problem = kling_problem(action, body, strict=checks == "kling")
    return complaints.kling(world, 1201, problem) if problem else None


def _submit(world: World, call: Call, to: Route) -> Reply:
    body, system = call.json(), call.system
    if refusal := _refusal(world, call, to.collection.split("/", 1)[1], body):
        return refusal
    external = body.get("external_task_id")
    external = str(external) if external else None
    if external and _is_duplicate(world, call, external):
        return complaints.kling(world, 1201, f"external_task_id {external!r} already exists")
    fault = world.faults.fires("over-concurrency", call)
    places = int(fault.number) if fault else world.settings.concurrency
    if world.slots(system.name, "kling").open(call.now) >= places:
        return complaints.crowded(world, call)
    outcome = world.fate(call, str(body.get("prompt", "")))
    if outcome.kind == "policy":
        outcome = Outcome("policy", "Failure to pass the risk control system", "1301")
    numeric = world.faults.fires("integer-ids", call) is not None
    shape = "digits" if numeric else _ID_SHAPES.get(system.submit, "digits")
    task = world.accept(
        call, home=to.collection, id_shape=shape, external_id=external, outcome=outcome
    )
    callback = body.get("callback_url")
    world.plan_webhook(task, call, str(callback) if callback else None)
    return json_reply(submitted(world, system.submit, task))


def _is_duplicate(world: World, call: Call, external: str) -> bool:
    if world.ledger.find_external(call.system.name, external) is None:
        return False
    if world.faults.fires("duplicates-accepted", call):
        return False
    if world.faults.fires("duplicates-refused", call):
        return True
    return call.system.unique_external


def _find(world: World, call: Call, to: Route) -> Task | None:
    task = world.ledger.find(call.system.name, to.task_id)
    if task is None and call.system.external_lookup:
        task = world.ledger.find_external(call.system.name, to.task_id)
    if task is None or task.home != to.collection or world.faults.fires("task-forgotten", call):
        return None
    return task


def _fetch(world: World, call: Call, to: Route) -> Reply:
    task = _find(world, call, to)
    if task is None:
        if call.system.checks == "stock":
            return complaints.relay(400, "task_not_exist", "task_not_exist")
        return complaints.kling(world, 1203, f"task {to.task_id!r} is not found")
    state, odd = world.shown(task, call)
    return json_reply(fetched(world, call.system.fetch, task, state, odd))


def _list(world: World, call: Call, to: Route) -> Reply:
    """A page of the collection, newest first."""
    try:
        page, size = int(call.query.get("pageNum", 1)), int(call.query.get("pageSize", 30))
    except ValueError:
        page = size = 0
    if not (1 <= page <= 1000 and 1 <= size <= 500):
        return complaints.kling(world, 1201, "pageNum or pageSize is invalid")
    tasks = [task for task in world.ledger.of(call.system.name) if task.home == to.collection]
    chosen = tasks[::-1][(page - 1) * size : page * size]
    rows = [native(world, task, task.state(call.now), None) for task in chosen]
    return json_reply(envelope(world, rows))


def _costs(world: World) -> Reply:
    """The account's resource packs: a free call that tells whether a key works."""
    pack = {
        "resource_pack_name": "Simulated pack",
        "resource_pack_id": "0",
        "resource_pack_type": "decreasing_total",
        "total_quantity": 1000.0,
        "remaining_quantity": max(0.0, 1000.0 - len(world.ledger)),
        "status": "online",
    }
    document = {"code": 0, "msg": "SUCCEED", "resource_pack_subscribe_infos": [pack]}
    return json_reply(envelope(world, document))
