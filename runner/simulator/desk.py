"""The desk: takes one request, lets the faults in force act on it, and decides on the reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate

from . import complaints, fal, keys, kling, media
from .faults import Fault
from .reply import DROPPED, Call, Delivery, Reply, html_reply, json_reply
from .world import LogEntry, World

POLLS = frozenset(["status", "stream", "result", "fetch", "list"])
"""The operations that only look."""

_REDIRECTS = ("redirect-301", "redirect-302", "redirect-307", "redirect-308")
_WIRE = ("hang", "nginx-error", *_REDIRECTS)
_API = ("too-many-once", "too-many")
_SUBMIT = ("server-error-on-submit", "out-of-money", "no-channel", "content-refused")
_LOST = ("dropped", "hang", "500", "502", "504", "408", "empty", "html", "truncated", "no-id")
_ACCEPTED = tuple(f"accepted-then-{how}" for how in _LOST)


def answer(world: World, call: Call, host: str) -> Reply:
    """Decide on the reply to one request and write it into the log."""
    handle = _router(world, call)
    reply = _wire_fault(world, call) or _admitted(world, call) or handle()
    if call.operation == "submit" or call.operation in POLLS:
        reply = _answer_fault(world, call, reply)
    if fault := world.faults.fires("slow-answer", call):
        reply = reply.but(delivery=replace(reply.delivery, hang=fault.number))
    _note(world, call, host, reply)
    return reply.adding(Date=formatdate(call.now, usegmt=True))


def _router(world: World, call: Call) -> Callable[[], Reply]:
    """Find who answers, and write protocol and operation into the call."""
    if call.path.startswith("/media/"):
        call.operation = "media"
        return lambda: media.answer(world, call)
    if call.path.startswith("/elsewhere"):
        return lambda: json_reply({"detail": "This is another host; no key belongs here."}, 404)
    if (to := kling.route(call)) is not None:
        call.protocol, call.operation = "kling", to.operation
        return lambda: kling.answer(world, call, to)
    if not call.system.fal:
        call.protocol = "kling"
        return lambda: complaints.unknown_route(world, call)
    place = fal.route(call)
    call.operation = place.operation if call.method != "HEAD" else "other"
    return lambda: fal.answer(world, call, place)


def _wire_fault(world: World, call: Call) -> Reply | None:
    """Faults of the road: the request never reaches anybody who accepts it."""
    if call.operation == "submit" and world.faults.fires("drop-before-accept", call):
        return DROPPED
    fault = world.faults.first(_WIRE, call)
    if fault is None:
        return None
    if fault.name == "hang":
        return DROPPED.but(delivery=Delivery(drop=True, hang=fault.number))
    if fault.name == "nginx-error":
        return complaints.proxy_page(int(fault.number))
    target = str(fault.value or f"{world.other_host}/elsewhere").rstrip("/")
    return html_reply("Moved", int(fault.name[-3:])).adding(Location=target + call.path)


def _admitted(world: World, call: Call) -> Reply | None:
    """Refusals before the request is looked at: the key, the rate, the faults that imitate them."""
    if call.operation == "media" or call.path.startswith("/elsewhere"):
        return None
    if reply := keys.refusal(world, call):
        return reply
    if reply := _over_rate(world, call):
        return reply
    names: tuple[str, ...] = _API
    if call.operation == "submit":
        names = _API + _SUBMIT
    elif call.operation in POLLS:
        names = (*_API, "server-error-on-poll")
    fault = world.faults.first(names, call)
    return _refusal(world, call, fault) if fault else None


def _refusal(world: World, call: Call, fault: Fault) -> Reply:
    """The reply that a fault of admission asks for."""
    if fault.name == "too-many-once":
        return complaints.too_many(world, call, None)
    if fault.name == "too-many":
        return complaints.too_many(world, call, fault.number or None)
    if fault.name == "out-of-money":
        return complaints.no_money(world, call, int(fault.number))
    if fault.name == "no-channel":
        return complaints.no_channel(world)
    if fault.name == "content-refused":
        return complaints.refused_content(world, call)
    return complaints.server_error(world, call, int(fault.number))


def _over_rate(world: World, call: Call) -> Reply | None:
    limit = world.settings.rate_limit
    if limit is None or (limit.scope == "submits" and call.operation != "submit"):
        return None
    limiter = world.limiter(call.system.name, call.credential[1])
    wait = limiter.admit(call.now) if limiter else 0.0
    if not wait:
        return None
    return complaints.too_many(world, call, max(1.0, wait) if limit.retry_after else None)


def _answer_fault(world: World, call: Call, reply: Reply) -> Reply:
    """Faults of the answer: what was done stays done, the answer gets lost or bent."""
    if call.operation == "submit":
        if reply.status != 200:
            return reply
        if "integer-ids" in call.faults:
            reply = reply.with_bare_ids()
        fault = world.faults.first(_ACCEPTED, call)
        return _lost(world, call, reply, fault) if fault else reply
    if reply.delivery.drop:
        return reply
    if world.faults.fires("integer-ids", call):
        reply = reply.with_bare_ids()
    fault = world.faults.first(("truncated-json", "empty-answer", "html-answer"), call)
    how = {"truncated-json": "truncated", "empty-answer": "empty", "html-answer": "html"}
    return _useless(reply, how[fault.name]) if fault else reply


def _useless(reply: Reply, how: str) -> Reply:
    """A 200 that says nothing."""
    if how == "html":
        return html_reply("Web console")
    half = len(reply.body) // 2 if how == "truncated" else 0
    return reply.but(status=200, body=reply.body[:half])


def _lost(world: World, call: Call, reply: Reply, fault: Fault) -> Reply:
    """The answer to an accepted submit, lost in the way that the fault says."""
    how = fault.name.removeprefix("accepted-then-")
    if how == "dropped":
        return DROPPED
    if how == "hang":
        return DROPPED.but(delivery=Delivery(drop=True, hang=fault.number))
    if how in ("502", "504"):
        return complaints.proxy_page(int(how))
    if how in ("500", "408"):
        return complaints.server_error(world, call, int(how))
    if how == "no-id":
        return json_reply({"status": "IN_QUEUE"} if call.protocol == "fal" else {"code": 0})
    return _useless(reply, how)


def _note(world: World, call: Call, host: str, reply: Reply) -> None:
    """Write the request into the log."""
    if world.log.maxlen == 0:
        return
    scheme, key = call.credential
    body = call.record() if call.raw else None
    world.log.append(
        LogEntry(call.now, call.system.name, host, call.method, call.path, dict(call.query), scheme, key, body,
                 0 if reply.delivery.drop else reply.status, call.operation, tuple(call.faults))
    )  # fmt: skip
