"""Getting the bytes of one result, all of them, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Protocol, TypeVar
from urllib.parse import urlsplit

from runner import media
from runner.causes import Cause
from runner.clock import Clock
from runner.errors import DownloadError
from runner.events import Artifact
from runner.files.body import Body
from runner.files.part import Part, Whole

TRIES = 3
"""Connections that one call makes, as long as each brings something."""
SLOWEST = 10_000
"""Bytes per second, on average over `PATIENCE` seconds."""
PATIENCE = 60.0
_RANGE = re.compile(r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+|\*)")


class Source(Protocol):
    """A result being read: status, headers (names in lower case), and the bytes as they come."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as sent; raises DownloadError where it breaks off."""


Result = TypeVar("Result")


async def in_thread(work: Callable[..., Result], *args: Any) -> Result:
    """Do blocking work in a thread. Cancelled, it waits until the thread is done: two must never hold one file."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


Opener = Callable[[str, Mapping[str, str]], AbstractAsyncContextManager[Source]]
"""Opens a URL with these headers (Range, If-Range); raises DownloadError where it can't."""


@dataclass(frozen=True, slots=True)
class Download:
    """How one result is fetched. `cap` is in bytes; `room` raises where that many bytes find no place."""

    artifact: Artifact
    open_url: Opener
    clock: Clock
    cap: int
    room: Callable[[int], None]

    async def into(self, part: Part) -> Body:
        """Fetch it whole; the last of it may still be in memory. What is there already is not fetched again.

        Raises:
            DownloadError: it is gone, too large, no media, or did not come; what came is kept where it is of use.
        """
        for tries_left in reversed(range(TRIES)):
            had = part.note.synced
            try:
                return await self._receive(part)
            except DownloadError as error:
                gained = part.note.synced > had
                if not (tries_left and gained and error.cause == Cause.DOWNLOAD_FAILED):
                    raise
        raise AssertionError  # the last try returns or raises

    async def _receive(self, part: Part) -> Body:
        """Go on from where `part` ends."""
        source = urlsplit(self.artifact.url)._replace(query="", fragment="").geturl()
        offset = part.prepare(hashlib.sha256(source.encode()).hexdigest()[:32])
        body = Body(part, offset)
        if offset:  # read now: an answer that has to wait for it may break off meanwhile
            await in_thread(body.read_start)
        headers = {"Range": f"bytes={offset}-", "If-Range": part.note.validator} if offset else {}
        async with self.open_url(self.artifact.url, headers) as answer:
            if offset and answer.status == 416 and _total(answer.headers) == offset:
                body.total = offset
                return body
            start = _agree(answer, part, offset)
            if start != offset:
                body = Body(part, start)
            body.total = _length(answer, start)
            self._refuse_large(body.total or 0, self.cap)
            self.room((body.total or self.artifact.size or 0) - start)
            if start == 0:
                part.begin(_validator(answer.headers))
            await self._take(body, answer)
            return body

    async def _take(self, body: Body, answer: Source) -> None:
        """Take all that comes. What came before it broke off is kept."""
        pace, cap, known = Pace(self.clock), self.cap, False
        try:
            async for chunk in answer.chunks():
                body.add(chunk)
                self._refuse_large(body.size, cap)
                if not known and body.size >= media.HEAD:
                    cap, known = min(cap, _kind(body).largest), True
                pace.count(len(chunk))
                if body.full:
                    await in_thread(body.write)
            _refuse_short(body)
        except DownloadError as error:
            await in_thread(body.part.discard if error.cause == Cause.CORRUPT_MEDIA else body.pause)
            raise
        except (asyncio.CancelledError, Exception):
            await in_thread(body.pause)
            raise

    def _refuse_large(self, size: int, cap: int) -> None:
        if size > cap:
            raise DownloadError(
                f"the result has {size:,} bytes or more, and the cap is {cap:,}",
                cause=Cause.TOO_LARGE,
                again=False,
            )

    def finish(self, body: Body) -> Whole:
        """Check what came and make it safe. Blocks: run it in a thread.

        Raises:
            DownloadError: it is no media, or not whole; it is thrown away.
        """
        try:
            kind = _kind(body)
            return body.finish(kind, partial(self._check, body, kind))
        except DownloadError:
            body.part.discard()
            raise

    def _check(self, body: Body, kind: media.Kind, file: BinaryIO) -> None:
        try:
            self._check_length(body, proven=media.check(file, kind))
        except media.Damaged as error:
            raise _corrupt(f"the {kind.ext} file is not whole: {error}") from None

    def _check_length(self, body: Body, *, proven: bool) -> None:
        """A length that HTTP states is exact and was compared before; else the provider's and the file's own count."""
        size, stated = body.size, self.artifact.size
        if body.total is not None or (proven and (stated is None or size >= stated)):
            return
        if stated is None:
            raise media.Damaged("nobody said how long it is, and this kind of file doesn't tell")
        if size != stated:
            raise media.Damaged(f"{size} of {stated} bytes came")


class Pace:
    """Watches that a download is not so slow that it never ends."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._bytes = 0

    def count(self, size: int) -> None:
        """Count bytes that came.

        Raises:
            DownloadError: too few of them came over the last minute.
        """
        self._bytes += size
        seconds = self._clock.monotonic() - self._since
        if seconds < PATIENCE:
            return
        if self._bytes < SLOWEST * seconds:
            raise _failed(f"slower than {SLOWEST // 1000} kB/s for {seconds:.0f} s")
        self._since += seconds
        self._bytes = 0


def _kind(body: Body) -> media.Kind:
    kind = media.sniff(body.head)
    if kind is None:
        raise _corrupt(f"the result's server sent {media.describe(body.head)}")
    return kind


def _refuse_short(body: Body) -> None:
    if body.total not in {None, body.size}:
        raise _failed(f"{body.size} of {body.total} bytes came")


def _agree(answer: Source, part: Part, offset: int) -> int:
    """The byte at which an answer begins: 0, or where the part ends. After another, the next try asks for all."""
    if answer.status == 416 and offset:
        part.begin("")
    _refuse_bad_status(answer.status)
    start = 0 if answer.status == 200 else _start(answer.headers)
    if start is None or start not in {0, offset}:
        part.begin("")
        raise _failed(f"the result's server was asked to go on at byte {offset} and did not")
    return start


def _refuse_bad_status(status: int) -> None:
    if status in {403, 404, 410}:
        text = f"the result's address answers {status}"
        raise DownloadError(text, cause=Cause.EXPIRED, gone=True)
    if status not in {200, 206}:
        raise _failed(f"the result's address answers {status}")


def _length(answer: Source, start: int) -> int | None:
    stated = answer.headers.get("content-length", "")
    if stated.isascii() and stated.isdecimal():
        return start + int(stated)
    return _total(answer.headers)


def _start(headers: Mapping[str, str]) -> int | None:
    match = _RANGE.fullmatch(headers.get("content-range", ""))
    return int(match[1]) if match and match[1] else None


def _total(headers: Mapping[str, str]) -> int | None:
    match = _RANGE.fullmatch(headers.get("content-range", ""))
    return int(match[2]) if match and match[2] != "*" else None


def _validator(headers: Mapping[str, str]) -> str:
    """What If-Range takes: a strong ETag, else the date; empty where there is neither."""
    etag = headers.get("etag", "")
    return etag if etag.startswith('"') else headers.get("last-modified", "")


def _failed(text: str) -> DownloadError:
    return DownloadError(text, cause=Cause.DOWNLOAD_FAILED)


def _corrupt(text: str) -> DownloadError:
    return DownloadError(text, cause=Cause.CORRUPT_MEDIA)
