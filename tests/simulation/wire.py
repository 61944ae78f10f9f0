"""The program's `Http` with everything of its own but the sockets: a session that speaks to the network in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from runner.clock import Clock
from runner.http import Http
from runner.keys import Keys
from runner.simulator.reply import Reply
from tests.simulation.network import LATEST, Network, unreachable

CHUNK = 8192
_SILENCE = 30.0


class Wire:
    """Stands for `aiohttp.ClientSession`. `patience` is its limit for a whole exchange, in seconds."""

    def __init__(self, network: Network, patience: float | None) -> None:
        self._net = network
        self._patience = patience

    async def close(self) -> None:
        """Nothing is open."""

    def request(
        self,
        method: str,
        url: URL,
        *,
        data: bytes | None,
        headers: Mapping[str, str],
        allow_redirects: bool,
        trace_request_ctx: SimpleNamespace,
    ) -> Pending:
        """Send a request and wait for its answer."""
        assert not allow_redirects
        return Pending(self._exchange(method, url, headers, data or b"", trace_request_ctx))

    def get(self, url: URL, *, headers: Mapping[str, str], allow_redirects: bool) -> Pending:
        """Ask a question, or for a result."""
        assert not allow_redirects
        return Pending(self._exchange("GET", url, headers, b"", SimpleNamespace(left=False)))

    async def _exchange(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes, sent: SimpleNamespace
    ) -> Answer:
        net, patience = self._net, self._patience or 1e9
        fate = net.fate(url, method)
        await asyncio.sleep(net.delay(""))
        if fate == "unreachable":
            raise unreachable(url.raw_host or "")
        sent.left = True
        suspends, begun = net.sky.suspends, net.sky.awake
        if fate == "lost":
            await asyncio.sleep(net.delay("slow"))
            raise aiohttp.ServerDisconnectedError
        headers = {**headers, "Host": url.raw_host or ""}
        transit = LATEST if fate == "late" else min(net.delay(fate), LATEST)
        letter = net.post(transit, method, url, headers, body)
        first = letter
        if fate == "doubled":
            letter = net.post(net.delay(fate) + 0.3, method, url, headers, body)
            letter.copy = True
        if fate == "late":
            raise aiohttp.ServerDisconnectedError
        await asyncio.sleep(max(0.0, letter.at - net.sky.truth) + 1e-5)
        net.deliver()
        reply = letter.reply
        assert reply is not None
        assert first.reply is not None
        if first.reply.status == 200 and b"external_task_id" not in reply.body:
            reply = first.reply  # whoever repeats a request passes on the answer that helps
        await self._travel_back(reply, fate, patience - (net.sky.awake - begun))
        if net.sky.suspends != suspends and net.throw(0.7):
            raise aiohttp.ServerDisconnectedError
        return PouredAnswer(reply, url, net)

    async def _travel_back(self, reply: Reply, fate: str, left: float) -> None:
        wait = reply.delivery.hang + self._net.delay(fate)
        if wait > left or (self._patience is None and wait > _SILENCE):
            await asyncio.sleep(min(max(left, 0.0), _SILENCE if self._patience is None else left))
            raise TimeoutError
        await asyncio.sleep(wait)
        if reply.delivery.drop or fate == "unanswered":
            raise aiohttp.ServerDisconnectedError


class Pending:
    """Stands for what `aiohttp` returns at once: to be awaited, or to be entered."""

    def __init__(self, exchange: Coroutine[Any, Any, Answer]) -> None:
        self._exchange = exchange

    def __await__(self) -> Generator[Any, Any, Answer]:
        return self._exchange.__await__()

    async def __aenter__(self) -> Answer:
        return await self._exchange

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


class Answer:
    """Stands for `aiohttp.ClientResponse`."""

    def __init__(self, reply: Reply, url: URL) -> None:
        self._reply = reply
        self.status = reply.status
        self.url = url
        self.headers = dict(reply.headers)
        if not reply.delivery.no_length:
            self.headers.setdefault("Content-Length", str(len(reply.body)))
        self.content_length = None if reply.delivery.no_length else len(reply.body)
        self.content = self

    def close(self) -> None:
        """Nothing is open."""

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.iter_any()])

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield the body, all at once."""
        yield self._reply.body


class PouredAnswer(Answer):
    """One whose body comes in pieces, at the pace of the network, or breaks off."""

    def __init__(self, reply: Reply, url: URL, network: Network) -> None:
        super().__init__(reply, url)
        self._net = network

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        how, body = self._reply.delivery, self._reply.body
        if how.cut_at is not None:
            body = body[: how.cut_at]
        step = CHUNK if how.bytes_per_second is None else max(1, int(how.bytes_per_second * 2))
        suspends = self._net.sky.suspends
        for start in range(0, len(body), step):
            await asyncio.sleep(0.002 if how.bytes_per_second is None else 2.0)
            if self._net.sky.suspends != suspends and self._net.throw(0.7):
                raise aiohttp.ClientPayloadError
            yield body[start : start + step]
        if how.cut_at is not None:
            raise aiohttp.ClientPayloadError


class WireHttp(Http):
    """The program's own client, down to where the sockets would begin.

    `session` makes what stands there for `aiohttp.ClientSession`, given its limit for a whole exchange in seconds.
    """

    def __init__(self, session: Callable[[float | None], Any], keys: Keys, clock: Clock) -> None:
        super().__init__(keys, clock, resolver=object())  # type: ignore[arg-type]
        self._new_session = session

    def _connector(self, **settings: Any) -> Any:
        del settings

    def _session(self, timeout: aiohttp.ClientTimeout, *_: Any, **__: Any) -> Any:
        return self._new_session(timeout.total)
