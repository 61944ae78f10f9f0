"""Deliveries to `fal_webhook` and `callback_url` when a task has ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
from urllib.parse import urlsplit

import aiohttp

from . import fal
from .reply import Call, Json
from .shapes import native
from .task import Task
from .world import World

_LOOK_EVERY = 0.2
_TIMEOUT = aiohttp.ClientTimeout(total=15)


def document(world: World, task: Task, now: float) -> Json:
    """What is delivered: fal's envelope around the result, Kling's bare task object."""
    state = task.state(now)
    if task.protocol == "kling":
        return native(world, task, state, None)
    head = {"request_id": task.id, "gateway_request_id": task.id}
    if task.outcome.kind in ("error", "failed", "swept") or state == "cancelled":
        return head | {"status": "ERROR", "error": task.outcome.message, "payload": None}
    call = Call(world.settings.systems[task.system], "GET", task.model, {}, {}, b"", now)
    reply = fal.result_of(world, call, task)
    payload = json.loads(reply.body)
    if reply.status == 200:
        return head | {"status": "OK", "payload": payload}
    error = f"Invalid status code: {reply.status}"
    return head | {"status": "ERROR", "error": error, "payload": payload}


def signature(world: World, task: Task, body: bytes, now: float) -> dict[str, str]:
    """Fal's four headers: the signature covers the other three and the body's SHA-256."""
    parts = [task.id, "simulated-user", str(int(now)), hashlib.sha256(body).hexdigest()]
    signed = world.signer.sign("\n".join(parts).encode())
    if "webhook-bad-signature" in task.webhook_plan:
        signed = signed[::-1]
    names = ("Request-Id", "User-Id", "Timestamp")
    headers = {f"X-Fal-Webhook-{name}": part for name, part in zip(names, parts, strict=False)}
    return headers | {"X-Fal-Webhook-Signature": signed.hex()}


async def deliver_due(world: World) -> int:
    """Deliver to everybody whose task has ended; return how many deliveries were made."""
    now = world.clock()
    due = [task for task in world.webhooks if now >= task.end_at + task.webhook_delay]
    if not due:
        return 0
    world.webhooks = [task for task in world.webhooks if task not in due]
    made = 0
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        for task in due:
            for _ in range(2 if "webhook-twice" in task.webhook_plan else 1):
                made += await _post(world, session, task, now)
    return made


async def _post(world: World, session: aiohttp.ClientSession, task: Task, now: float) -> int:
    """Make one delivery; one that can't be made is not tried again."""
    url = task.webhook or ""
    if urlsplit(url).scheme not in ("http", "https"):
        return 0
    body = json.dumps(document(world, task, now), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json"}
    if task.protocol == "fal":
        headers |= signature(world, task, body, now)
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False):
            task.deliveries += 1
            return 1
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return 0


async def deliver_forever(world: World) -> None:
    """Deliver by the wall clock until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        if world.webhooks:
            await deliver_due(world)
