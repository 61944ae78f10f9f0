"""The simulator's own pages under /_sim: ledger, log and faults over HTTP, for other processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from .faults import Fault
from .reply import Reply, json_reply
from .world import World


def answer(world: World, method: str, path: str, query: Mapping[str, str], raw: bytes) -> Reply:
    """Answer a request below /_sim. Errors are `{"error": text}` with 400 or 404."""
    page = path.removeprefix("/_sim").strip("/")
    pages: dict[tuple[str, str], Callable[[], Reply]] = {
        ("GET", "ledger"): lambda: json_reply(_ledger(world, query.get("system"))),
        ("GET", "log"): lambda: json_reply([entry.as_dict() for entry in world.log]),
        ("GET", "faults"): lambda: json_reply(world.faults.listing()),
        ("GET", "jwks"): lambda: json_reply(world.signer.jwks()),
        ("POST", "faults"): lambda: _add(world, raw),
        ("DELETE", "faults"): lambda: _clear(world),
        ("POST", "reset"): lambda: _reset(world),
    }
    if (method, page) in pages:
        return pages[method, page]()
    known = ", ".join(f"{verb} {name}" for verb, name in pages)
    return json_reply({"error": f"no such page. Below /_sim there are: {known}"}, 404)


def _clear(world: World) -> Reply:
    world.faults.clear()
    return json_reply([])


def _reset(world: World) -> Reply:
    world.reset()
    return json_reply({"reset": True})


def _ledger(world: World, system: str | None) -> dict[str, object]:
    now = world.clock()
    chosen = [task for task in world.ledger if system in (None, task.system)]
    billed = [task for task in chosen if task.billed(now)]
    return {
        "accepted": len(chosen),
        "billed": len(billed),
        "usd": round(sum(task.price for task in billed), 6),
        "tasks": [task.as_dict(now) for task in chosen],
    }


def _add(world: World, raw: bytes) -> Reply:
    """Put one fault or a list of them in force; all or none."""
    try:
        document = json.loads(raw)
        items = document if isinstance(document, list) else [document]
        faults = [
            Fault.parse(item) if isinstance(item, str) else Fault.from_mapping(item)
            for item in items
        ]
    except (ValueError, TypeError) as error:
        return json_reply({"error": str(error)}, 400)
    for fault in faults:
        world.faults.add(fault)
    return json_reply(world.faults.listing(), 201)
