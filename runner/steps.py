"""What to do with a job in a state: each step takes what it needs, goes to the edges, and returns an event.

A step touches no state and no store: the engine records what it returns. Failures of the edges become events here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runner.causes import Cause
from runner.clock import Clock
from runner.errors import DownloadError, KeyMissing, MaybeSent, NotSent, TransportError
from runner.events import Delayed, Event, Gone, Refused, Rejected, Saved, Unclear
from runner.files import Files
from runner.http import Http
from runner.job import Job
from runner.providers import Dialect, Order, Provider
from runner.store import Claimed
from runner.wire import Exchange, Image, dump_json


@dataclass(frozen=True, slots=True)
class Edges:
    """The outside: network, disk and time."""

    http: Http
    files: Files
    clock: Clock


class _RightExpired(Exception):
    """The time in which a submit may leave is over."""


async def converse(
    http: Http, provider: Provider, exchange: Exchange, allowed: Callable[[], bool] = lambda: True
) -> Event:
    """Carry a dialect's conversation to the network and back; `allowed` is asked before each request.

    Raises:
        TransportError: a request got no answer.
        KeyMissing: there is no key to send with.
    """
    try:
        request = next(exchange)
        while True:
            if not allowed():
                raise _RightExpired
            request = exchange.send(await http.send(provider, request))
    except StopIteration as stop:
        event: Event = stop.value
        return event
    finally:
        exchange.close()


def digest(params: Mapping[str, Any]) -> str:
    """SHA-256 of a request as it is stored, in hex: pictures stand in it by their own hash."""
    return hashlib.sha256(dump_json(params).encode()).hexdigest()


async def prepare(job: Job, params: Mapping[str, Any], client_ref: str) -> Order | Rejected:
    """Make the request ready to leave: load its local pictures and see that they are what was planned."""
    try:
        loaded = await asyncio.to_thread(_load_images, params) if _has_image(params) else params
    except OSError as error:
        return Rejected(Cause.INVALID_INPUT, f"{error.filename}: {error.strerror}", billed=False)
    except ValueError as error:
        return Rejected(Cause.INVALID_INPUT, str(error), billed=False)
    return Order(job.spec.model, loaded, client_ref)


async def submit(
    edges: Edges, provider: Provider, dialect: Dialect, order: Order, right: tuple[float, float]
) -> Event:
    """Send the paid request, once, if there still is the right to.

    `right` ends on the clock on the wall and on the monotonic one, whichever comes first: the one can be set back, the
    other stands still while the machine sleeps.
    """
    send_by, ends = right

    def in_time() -> bool:
        return edges.clock.now() <= send_by and edges.clock.monotonic() <= ends

    try:
        return await converse(edges.http, provider, dialect.submit(order), in_time)
    except _RightExpired:  # before the first request, or after one that was refused for its token
        return Refused(Cause.NO_CONNECTION, "the right to send had expired", retry_after=0.0)
    except KeyMissing as error:
        return Refused(Cause.BAD_KEY, str(error), provider_wide=True)
    except NotSent as error:
        return Refused(Cause.NO_CONNECTION, str(error), provider_wide=True)
    except MaybeSent as error:
        return Unclear(str(error))


async def ask(http: Http, provider: Provider, exchange: Exchange) -> Event:
    """Poll, look up or cancel: conversations that cost nothing and may be had again."""
    try:
        return await converse(http, provider, exchange)
    except KeyMissing as error:
        return Delayed(Cause.BAD_KEY, str(error))
    except TransportError as error:
        return Delayed(Cause.NO_CONNECTION, str(error), provider_wide=True)


async def fetch(edges: Edges, provider: Provider, claim: Claimed) -> Event:
    """Turn the provider's artifacts into files under their final names."""
    spec = claim.job.spec
    try:
        files = await edges.files.save(
            spec.output,
            claim.artifacts,
            key=spec.key,
            attempt=claim.job.attempt,
            sidecar=_sidecar(claim),
            open_url=partial(edges.http.download, provider),
            cap=provider.max_result,
        )
    except DownloadError as error:
        cause = Cause(error.cause)
        if error.gone:
            return Gone(str(error))
        return (
            Delayed(cause, str(error)) if error.again else Rejected(cause, str(error), billed=True)
        )
    return Saved(files)


def _sidecar(claim: Claimed) -> dict[str, Any]:
    """What stands beside the clip: enough to know where it is from and to make it again."""
    job = claim.job
    return {
        "batch": job.spec.batch,
        "id": job.spec.id,
        "key": job.spec.key,
        "prompt": job.spec.prompt,
        "model": job.spec.model,
        "params": dict(job.spec.params),
        "provider": job.provider,
        "remote_id": job.remote.id if job.remote else None,
        "attempt": job.attempt,
        "price": str(claim.price) if claim.price else None,
        "submitted_at": claim.submitted_at,
    }


def _has_image(value: Any) -> bool:
    """Whether a file has to be read: a thread costs more than most requests do."""
    if isinstance(value, Mapping):
        return "$image" in value or any(_has_image(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_has_image(item) for item in value)


def _load_images(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"$image"}:
            return _load_image(value["$image"])
        return {name: _load_images(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_load_images(item) for item in value]
    return value


def _load_image(planned: Mapping[str, Any]) -> Image:
    path = Path(planned["path"])
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != planned["sha256"]:
        raise ValueError(
            f"{path} is not the picture that was planned: it changed since. Run the manifest again"
        )
    return Image(data, planned["media_type"])
