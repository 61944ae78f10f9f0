"""Crashing at an exact place: decorators around the real store, network and files, put on from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import aiohttp

from runner.clock import Clock
from runner.engine import Engine
from runner.events import Accepted, Event, Finished, Intended, Saved
from runner.files import Files
from runner.http import Http, Stream
from runner.job import Job, State
from runner.keys import Keys
from runner.providers import Provider
from runner.store import Claimed, Intent, SqliteStore, StateFolder
from runner.wire import Request, Response


class Place(StrEnum):
    """Where a run can be hit: the eleven boundaries of a job's way, two more between them, and two of a recovery."""

    BEFORE_INTENT = "before intent"
    AFTER_INTENT = "after intent"
    HEADERS_SENT = "headers sent"
    BODY_SENT = "body sent"
    ANSWERED = "answer received, unrecorded"
    ID_RECORDED = "id recorded"
    END_SEEN = "terminal status seen, unrecorded"
    RESULT_RECORDED = "result recorded"
    MID_DOWNLOAD = "mid-download"
    SYNCED = "synced, not renamed"
    NAMED = "renamed, no sidecar"
    SAVED = "renamed, not committed"
    COMMITTED = "committed, before notify"
    TAKEN_OVER = "taken over"
    LOOKED_UP = "looked up, unrecorded"


BOUNDARIES = tuple(Place)[:13]


class Way(StrEnum):
    """How a run is hit."""

    KILL = "kill"
    EXCEPTION = "exception"
    CANCEL = "cancel"
    STOP = "stop"  # what a second Ctrl-C does


class Blow(Exception):
    """An error that nothing in the product expects."""


class Trap:
    """Hits the run once, when it comes to `place`; None never does."""

    def __init__(self, place: Place | None, way: Way) -> None:
        self._place, self._way = place, way
        self.task: asyncio.Task[Any] | None = None
        """The run itself: what a cancellation hits."""
        self.engine: Engine | None = None
        """What a stop is asked of."""

    async def here(self, place: Place) -> None:
        """The run comes by in its loop."""
        if self._springs(place):
            self._hit()
            self._end()
            await asyncio.sleep(0)  # where the cancellation comes, if this is a task that it is for

    def here_in_thread(self, place: Place, loop: asyncio.AbstractEventLoop) -> None:
        """The run comes by in a thread; a cancellation hits the loop, the thread goes on."""
        if self._springs(place):
            self._hit()
            loop.call_soon_threadsafe(self._end)

    def _springs(self, place: Place) -> bool:
        if place is not self._place:
            return False
        self._place = None
        return True

    def _hit(self) -> None:
        if self._way is Way.KILL:
            die()
        if self._way is Way.EXCEPTION:
            raise Blow

    def _end(self) -> None:
        if self._way is Way.CANCEL:
            assert self.task is not None
            self.task.cancel()
        elif self.engine is not None:
            self.engine.stop()
            self.engine.stop()


def die() -> NoReturn:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)
    sys.exit("not reached")


class TrappedStore(SqliteStore):
    """The store with traps before and after what moves a job."""

    def __init__(self, trap: Trap, folder: StateFolder, now: float) -> None:
        super().__init__(folder, now)
        self._trap = trap

    async def claim_open(self, batches: Sequence[int], now: float, *page: int) -> list[Claimed]:
        """See `Store.claim_open`."""
        claims = await super().claim_open(batches, now, *page)
        await self._trap.here(Place.TAKEN_OVER)
        return claims

    async def intend(self, job: Job, intended: Intended, run: int, now: float) -> Intent:
        """See `Store.intend`."""
        await self._trap.here(Place.BEFORE_INTENT)
        outcome = await super().intend(job, intended, run, now)
        await self._trap.here(Place.AFTER_INTENT)
        return outcome

    async def record(
        self, job: Job, event: Event, now: float, due_at: float | None, **more: Any
    ) -> State | None:
        """See `Store.record`."""
        before = {Finished: Place.END_SEEN, Saved: Place.SAVED}.get(type(event))
        after = {
            Accepted: Place.ID_RECORDED,
            Finished: Place.RESULT_RECORDED,
            Saved: Place.COMMITTED,
        }.get(type(event))
        if before is not None:
            await self._trap.here(before)
        state = await super().record(job, event, now, due_at, **more)
        if after is not None:
            await self._trap.here(after)
        return state


class TrappedHttp(Http):
    """The network with traps while a paid request is on its way, and in the middle of a download."""

    def __init__(self, trap: Trap, keys: Keys, clock: Clock) -> None:
        super().__init__(keys, clock)
        self._trap = trap

    async def send(self, provider: Provider, request: Request) -> Response:
        """See `Http.send`."""
        answer = await super().send(provider, request)
        if request.paid:
            await self._trap.here(Place.ANSWERED)
        elif request.path.endswith("-1"):  # our own reference of a first attempt: a look-up
            await self._trap.here(Place.LOOKED_UP)
        return answer

    def _session(self, *parts: Any, **more: Any) -> aiohttp.ClientSession:
        session = super()._session(*parts, **more)
        watch = aiohttp.TraceConfig()
        watch.on_request_headers_sent.append(self._headers_sent)
        watch.on_request_chunk_sent.append(self._chunk_sent)
        watch.freeze()
        session.trace_configs.append(watch)
        return session

    async def _headers_sent(
        self, _session: object, _context: object, sent: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        if sent.method == "POST":
            await self._trap.here(Place.HEADERS_SENT)

    async def _chunk_sent(
        self, _session: object, _context: object, sent: aiohttp.TraceRequestChunkSentParams
    ) -> None:
        if sent.method == "POST":
            await self._trap.here(Place.BODY_SENT)

    def download(
        self, provider: Provider, url: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """See `Http.download`."""
        return self._torn(super().download(provider, url, headers))

    @asynccontextmanager
    async def _torn(self, opening: AbstractAsyncContextManager[Stream]) -> AsyncIterator[Stream]:
        async with opening as stream:
            yield TornStream(stream.status, stream.headers, stream._response, self._trap)


@dataclass(frozen=True, slots=True)
class TornStream(Stream):
    """A result whose every piece comes in two halves, with a trap between them."""

    trap: Trap

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `Stream.chunks`."""
        async for piece in Stream.chunks(self):
            yield piece[: len(piece) // 2]
            await self.trap.here(Place.MID_DOWNLOAD)
            yield piece[len(piece) // 2 :]


class TrappedFiles(Files):
    """The files with traps before and after a clip gets its final name."""

    def __init__(self, trap: Trap, root: Path, clock: Clock) -> None:
        super().__init__(root, clock, free_floor=0)
        self._trap = trap
        self._loop = asyncio.get_running_loop()

    def _publish(self, *args: Any) -> Any:
        self._trap.here_in_thread(Place.SYNCED, self._loop)
        saved = super()._publish(*args)
        self._trap.here_in_thread(Place.NAMED, self._loop)
        return saved
