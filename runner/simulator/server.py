"""The simulator as a server: sockets in, sockets out; what to say is decided at the desk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from aiohttp import web

from . import admin, desk, sandbox, webhooks
from .faults import Fault
from .ledger import Ledger
from .reply import Call, Reply, json_reply
from .settings import Settings
from .systems import locate
from .world import LogEntry, World


class Simulator:
    """A loopback server that speaks like the real providers and misbehaves on demand.

    Use it as `async with Simulator(settings, faults) as sim:`; `sim.url` is its address, and
    `sim.base_url("kling")` the base URL under which it imitates one system.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        faults: Sequence[Fault] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing listens yet. Port 0 takes a free one. `clock` gives Unix seconds."""
        self.settings = Settings() if settings is None else settings
        self._world = World(self.settings, clock)
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._postman: asyncio.Task[None] | None = None
        for fault in faults:
            self.add_fault(fault)

    @property
    def url(self) -> str:
        """The address, without a slash at the end; also the base URL of the system `any`."""
        return self._world.base_url

    @property
    def ledger(self) -> Ledger:
        """Every accepted task, in order."""
        return self._world.ledger

    @property
    def log(self) -> deque[LogEntry]:
        """Every request, oldest first."""
        return self._world.log

    @property
    def now(self) -> float:
        """The simulator's time, Unix seconds."""
        return self._world.clock()

    @property
    def faults(self) -> list[dict[str, object]]:
        """The faults in force, with how often each fired."""
        return self._world.faults.listing()

    def base_url(self, system: str) -> str:
        """The base URL under which `system` is imitated."""
        if system not in self.settings.systems:
            known = ", ".join(self.settings.systems)
            raise ValueError(f"{system!r} is not a system. Use one of: {known}")
        return self.url if system == "any" else f"{self.url}/as/{system}"

    @property
    def base_urls(self) -> dict[str, str]:
        """The base URL of every system, by name."""
        return {name: self.base_url(name) for name in self.settings.systems}

    def write_files(self, folder: Path) -> list[Path]:
        """Write a providers.yaml and a .env that lead here into `folder`. Raises OSError."""
        return sandbox.write(folder, self.settings, self.base_urls)

    def add_fault(self, fault: Fault) -> None:
        """Put one more fault in force."""
        self._world.faults.add(fault)

    def clear_faults(self) -> None:
        """Take all faults out of force."""
        self._world.faults.clear()

    def reset(self) -> None:
        """Forget tasks, requests and faults."""
        self._world.reset()

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        app = web.Application(client_max_size=self.settings.max_body)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        port = self._runner.addresses[0][1]
        self._world.base_url = f"http://{self._host}:{port}"
        self._world.other_host = f"http://localhost:{port}"
        self._postman = asyncio.create_task(webhooks.deliver_forever(self._world))

    async def stop(self) -> None:
        """Stop listening; requests that still hang are let go after a tenth of a second."""
        if self._postman is not None:
            self._postman.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._postman
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Simulator:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def deliver_webhooks(self) -> int:
        """Deliver what is due by the clock now and return how many; for virtual time."""
        return await webhooks.deliver_due(self._world)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Read one request, have it answered, and send the answer as its delivery says."""
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return web.json_response({"detail": "Request body too large"}, status=413)
        if request.path.startswith("/_sim"):
            reply = admin.answer(self._world, request.method, request.path, request.query, raw)
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        system, path = locate(self.settings.systems, request.path)
        if system is None:
            known = ", ".join(self.settings.systems)
            return _plain(json_reply({"detail": f"Unknown system. There are: {known}"}, 404))
        call = Call(system, request.method, path, _query(request), request.headers, raw, self.now)
        return await self._send(request, desk.answer(self._world, call, request.host))

    async def _send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        how = reply.delivery
        if how.hang:
            await asyncio.sleep(how.hang)
        if how.drop:
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        if how.cut_at is None and how.bytes_per_second is None and not how.no_length:
            return _plain(reply)
        return await self._stream(request, reply)

    async def _stream(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        """Send a body in pieces: slowly, without a length, or not to its end."""
        how, body = reply.delivery, reply.body
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        if not how.no_length:
            response.content_length = len(body)
        await response.prepare(request)
        if how.cut_at is not None:
            body = body[: how.cut_at]
        step = max(1, int(how.bytes_per_second / 10)) if how.bytes_per_second else len(body) or 1
        for start in range(0, len(body), step):
            await response.write(body[start : start + step])
            if how.bytes_per_second:
                await asyncio.sleep(0.1)
        if how.cut_at is not None and request.transport is not None:
            request.transport.close()
        return response


def _plain(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


def _query(request: web.Request) -> Mapping[str, str]:
    return request.query
