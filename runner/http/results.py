"""Opening a result for reading: no key, every address checked, redirects followed one checked hop at a time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from runner import addresses
from runner.causes import Cause
from runner.errors import DownloadError
from runner.http.failures import FAILURES, reason
from runner.http.guard import Forbidden, Guard

HOPS = 5
"""Redirects that the way to a result may have."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RESUMING = frozenset({"range", "if-range"})


@dataclass(frozen=True, slots=True)
class Stream:
    """A result being read: status, headers (names in lower case), and the bytes as they come."""

    status: int
    headers: Mapping[str, str]
    _response: aiohttp.ClientResponse

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces, as sent (nothing is decompressed).

        Raises:
            DownloadError: it broke off, or nothing came for half a minute.
        """
        failure: DownloadError | None = None
        try:
            async for piece in self._response.content.iter_any():
                yield piece
        except FAILURES as error:
            host = self._response.url.raw_host or ""
            failure = DownloadError(reason(error, host), cause=Cause.DOWNLOAD_FAILED)
        if failure is not None:
            raise failure


class Results:
    """Opens results; `new_session` makes a session whose connections pass a guard."""

    def __init__(self, resolver: AbstractResolver, new_session: NewSession) -> None:
        self._resolver = resolver
        self._new_session = new_session
        self._sessions: dict[frozenset[str], aiohttp.ClientSession] = {}

    @contextlib.asynccontextmanager
    async def open(
        self, media_hosts: Collection[str], url: str, headers: Mapping[str, str]
    ) -> AsyncIterator[Stream]:
        """Open a result for reading, without any key; of `headers` only Range and If-Range are sent.

        Raises:
            DownloadError: the address may not be visited (`foreign_url`), or does not answer (`download_failed`).
        """
        wanted = {name: value for name, value in headers.items() if name.lower() in _RESUMING}
        response = await self._follow(media_hosts, url, wanted)
        try:
            yield Stream(response.status, plain(response.headers), response)
        finally:
            response.close()

    async def _follow(
        self, media_hosts: Collection[str], url: str, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        for _ in range(HOPS + 1):
            why = addresses.refusal(url, media_hosts)
            if why is not None:
                raise _foreign(why)
            response = await self._open_result(media_hosts, URL(url, encoded=True), headers)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.close()
            url = _next_hop(url, location)
        raise DownloadError(f"more than {HOPS} redirects", cause=Cause.DOWNLOAD_FAILED)

    async def _open_result(
        self, media_hosts: Collection[str], url: URL, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        failure: DownloadError
        try:
            return await self._media_session(frozenset(media_hosts)).get(
                url, headers=headers, allow_redirects=False
            )
        except FAILURES as error:
            cause = getattr(error, "os_error", None)
            if isinstance(cause, Forbidden):
                failure = _foreign(str(cause))
            else:
                text = reason(error, url.raw_host or "")
                failure = DownloadError(text, cause=Cause.DOWNLOAD_FAILED)
        raise failure

    def _media_session(self, media_hosts: frozenset[str]) -> aiohttp.ClientSession:
        """One session for each list of hosts, because a connection that one list allows another may not."""
        if media_hosts not in self._sessions:
            self._sessions[media_hosts] = self._new_session(Guard(self._resolver, media_hosts))
        return self._sessions[media_hosts]


NewSession = Callable[[Guard], aiohttp.ClientSession]


def plain(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with names in lower case; of a repeated one the first."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        found.setdefault(name.lower(), value)
    return found


def _next_hop(url: str, location: str) -> str:
    try:
        here, there = URL(url, encoded=True), URL(location, encoded=True)
        target = here.join(there)
    except ValueError:
        raise _foreign("a redirect leads to something that is not a URL") from None
    if here.scheme == "https" and target.scheme != "https":
        raise _foreign(f"a redirect leads from https to {target.scheme[:20]}")
    return str(target)


def _foreign(why: str) -> DownloadError:
    return DownloadError(f"not visited: {why}", cause=Cause.FOREIGN_URL, again=False)
