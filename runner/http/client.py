"""Sending requests to providers, with their keys."""

from __future__ import annotations

import contextlib
import ssl
import zlib
from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace, TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from aiohttp.abc import AbstractResolver
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_after_delay
from tenacity import wait_random_exponential as jitter
from yarl import URL

from runner import addresses
from runner.clock import Clock
from runner.errors import KeyMissing, MaybeSent, NotSent, TransportError, UsageError
from runner.http.failures import FAILURES, once, reason
from runner.http.guard import Guard
from runner.http.results import Results, Stream, plain
from runner.keys import Keys
from runner.providers.provider import Provider
from runner.tokens import TokenCache
from runner.wire import Request, Response, dump_json

BODY_CAP = 5_000_000
"""Bytes of an answer; a larger one counts as garbage."""
_POLL = aiohttp.ClientTimeout(total=60, sock_connect=15)
_PAID = aiohttp.ClientTimeout(total=120, connect=15)
_MEDIA = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=30)
_JSON = "application/json"
_LONG_LINE = 65_536  # signed URLs in a Location header are longer than aiohttp's usual 8 kB


class Http:
    """Everything that leaves this machine leaves through here. Use it with `async with`.

    `tls` is for a certificate authority of one's own, `resolver` for other ways to look names up.
    """

    def __init__(
        self,
        keys: Keys,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._tls = tls
        self._resolver = resolver
        self._tokens = TokenCache()
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._resolver is None:
            self._resolver = aiohttp.DefaultResolver()
            self._open.push_async_callback(self._resolver.close)
        self._questions = self._session(_POLL, self._connector(limit=100), _JSON, once)
        apart = self._connector(limit=0, force_close=True)
        self._unshared = self._session(_PAID, apart, _JSON, once, trace_configs=[_watching()])
        self._results = Results(self._resolver, self._media_session)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def send(self, provider: Provider, request: Request) -> Response:
        """Send a request to its provider, with its key, and return the answer; a redirect is an answer too.

        A GET is tried three times within seconds. Anything else is sent once.

        Raises:
            NotSent: it never left.
            MaybeSent: it left, or may have, and has no answer.
            KeyMissing: there is no key for the provider.
            UsageError: the provider's base URL is none that a key may be sent to.
        """
        url = _url_of(provider, request)
        if request.paid or request.method != "GET":
            return await self._send_once(provider, request, url)
        try:
            return await self._ask(provider, request, url)
        except TransportError as error:
            failed = [error]

        async def again() -> Response:
            """The failure that was seen already counts as the first attempt: what works does not pay for tenacity."""
            if failed:
                raise failed.pop()
            return await self._ask(provider, request, url)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(3) | stop_after_delay(20),
            wait=jitter(multiplier=0.3, max=2),
            retry=retry_if_exception_type(TransportError),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return await retrying(again)

    async def _send_once(self, provider: Provider, request: Request, url: URL) -> Response:
        """Send what costs or changes something: once, on a connection of its own, and know whether it left."""
        headers = self._authorization(provider, url, request)
        if request.body is not None:
            headers["Content-Type"] = _JSON
        data = None if request.body is None else dump_json(request.body).encode()
        sent = SimpleNamespace(left=False)
        failure: TransportError
        try:
            async with self._unshared.request(
                request.method, url, data=data, headers=headers, allow_redirects=False, trace_request_ctx=sent
            ) as answer:  # fmt: skip
                return Response(answer.status, plain(answer.headers), await _read(answer))
        except FAILURES as error:
            kind = MaybeSent if sent.left else NotSent
            failure = kind(f"{request.method} {url.path}: {reason(error, url.raw_host or '')}")
        raise failure  # outside the handler, so that the original is not even its context

    async def _ask(self, provider: Provider, request: Request, url: URL) -> Response:
        """Send a question, over a connection that is kept: nothing depends on whether it left."""
        headers = self._authorization(provider, url, request)
        failure: TransportError
        try:
            async with self._questions.get(url, headers=headers, allow_redirects=False) as answer:
                return Response(answer.status, plain(answer.headers), await _read(answer))
        except FAILURES as error:
            failure = TransportError(f"GET {url.path}: {reason(error, url.raw_host or '')}")
        raise failure  # outside the handler, as above

    def _authorization(self, provider: Provider, url: URL, request: Request) -> dict[str, str]:
        """The only place that attaches a key. The URL must have the scheme, host and port of the base URL."""
        if (url.scheme, url.raw_host, url.port) != _origin(provider.base_url):
            raise NotSent(f"the key of {provider.name} does not go to {url.raw_host}")
        if not provider.auth.needs_key:
            return {}
        found = self._keys.find(provider.auth)
        if found.scheme != "JWT":
            return {"Authorization": f"{found.scheme} {found.key.reveal()}".strip()}
        if found.secret is None:
            raise KeyMissing(f"{provider.name}: auth JWT needs secret_env: in providers.yaml")
        token = self._tokens.token(
            found.key.reveal(),
            found.secret.reveal(),
            self._clock.now(),
            fresh=request.fresh_token,
            server_now=request.server_now,
        )
        return {"Authorization": f"Bearer {token}"}

    def download(
        self, provider: Provider, url: str, headers: Mapping[str, str] | None = None
    ) -> contextlib.AbstractAsyncContextManager[Stream]:
        """Open a result for reading, without any key; of `headers` only Range and If-Range are sent.

        Raises:
            DownloadError: the address may not be visited (`foreign_url`), or does not answer (`download_failed`).
        """
        return self._results.open(provider.media_hosts, url, headers or {})

    def _connector(self, **settings: Any) -> aiohttp.TCPConnector:
        settings.setdefault("resolver", self._resolver)
        return aiohttp.TCPConnector(ssl=self._tls or True, **settings)

    def _media_session(self, guard: Guard) -> aiohttp.ClientSession:
        connector = self._connector(resolver=guard, socket_factory=guard.socket)
        return self._session(_MEDIA, connector, "*/*")

    def _session(
        self,
        timeout: aiohttp.ClientTimeout,
        connector: aiohttp.TCPConnector,
        accept: str,
        *middlewares: aiohttp.ClientMiddlewareType,
        trace_configs: list[aiohttp.TraceConfig] | None = None,
    ) -> aiohttp.ClientSession:
        """A session that takes nothing from outside: no proxy, no netrc, no cookies."""
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            trace_configs=trace_configs,
            middlewares=middlewares,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=_LONG_LINE,
            max_field_size=_LONG_LINE,
            read_bufsize=2**18,
            headers={
                "User-Agent": "runner",
                "Accept": accept,
                "Accept-Encoding": "identity",
            },
        )
        self._open.push_async_callback(session.close)
        return session


def _watching() -> aiohttp.TraceConfig:
    """Marks in its context when the headers are on their way; from here on the request may have arrived."""

    async def mark_as_left(_session: object, context: Any, _params: object) -> None:
        context.trace_request_ctx.left = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(mark_as_left)
    return trace


@lru_cache(maxsize=64)
def _origin(base_url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port."""
    base = URL(base_url, encoded=True)
    return base.scheme, base.raw_host, base.port


def _url_of(provider: Provider, request: Request) -> URL:
    query = urlencode(request.query) if request.query else ""
    why = addresses.base_refusal(provider.base_url, private=provider.private)
    if why is not None:
        raise UsageError(f"base_url of {provider.name} can't be used: {why}")
    try:
        return addresses.join(provider.base_url, request.path, query, private=provider.private)
    except ValueError as error:
        raise NotSent(f"{request.method} to {provider.name}: {error}") from None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, decompressed by hand so that it stays under the cap; empty where it doesn't."""
    told = answer.content_length
    if told is not None and told <= BODY_CAP:
        body = await answer.read()
    else:
        body = await _read_capped(answer)
    coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in {"identity", ""}:
        return body
    if coding not in {"gzip", "x-gzip", "deflate"}:
        return b""
    try:
        plain_body = zlib.decompressobj(wbits=47).decompress(body, BODY_CAP + 1)
    except zlib.error:
        return b""
    return plain_body if len(plain_body) <= BODY_CAP else b""


async def _read_capped(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > BODY_CAP:
            answer.close()
            return b""
    return bytes(body)
