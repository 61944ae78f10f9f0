"""Getting the bytes of one result into its partial file, all of them, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from io import BufferedRandom
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from runner import media
from runner.causes import Cause
from runner.clock import Clock
from runner.errors import DownloadError
from runner.events import Artifact
from runner.files.part import Note, Part

TRIES = 3
"""Connections that one call makes, as long as each brings something."""
SLOWEST = 10_000
"""Bytes per second, on average over `PATIENCE` seconds."""
PATIENCE = 60.0
SYNC_EVERY = 4_000_000
"""Bytes after which a crash of the machine loses no more than these."""
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

    async def into(self, part: Part) -> Note:
        """Fetch it whole and return what it is. What is there already is not fetched again.

        Raises:
            DownloadError: it is gone, too large, no media, or did not come; what came is kept where it is of use.
        """
        for tries_left in reversed(range(TRIES)):
            had = part.note.synced
            try:
                total = await self._receive(part)
                break
            except DownloadError as error:
                gained = part.note.synced > had
                if not (tries_left and gained and error.cause == Cause.DOWNLOAD_FAILED):
                    raise
        return await in_thread(self._finish, part, total)

    async def _receive(self, part: Part) -> int | None:
        """Go on from where `part` ends. Returns how long the whole file is; None where nobody said."""
        source = urlsplit(self.artifact.url)._replace(query="", fragment="").geturl()
        offset = part.prepare(hashlib.sha256(source.encode()).hexdigest()[:32])
        headers = {"Range": f"bytes={offset}-", "If-Range": part.note.validator} if offset else {}
        async with self.open_url(self.artifact.url, headers) as answer:
            if answer.status == 416 and offset:
                if _total(answer.headers) == offset:
                    return offset
                part.begin("")
            _refuse_bad_status(answer.status)
            start = 0 if answer.status == 200 else _start(answer.headers)
            if start is None or start not in {0, offset}:
                part.begin("")  # so that the next try asks for all of it
                raise _failed(
                    f"the result's server was asked to go on at byte {offset} and did not"
                )
            total = _length(answer, start)
            self._refuse_large(total or 0, self.cap)
            self.room((total or self.artifact.size or 0) - start)
            if start == 0:
                part.begin(_validator(answer.headers))
            with part.open(start) as file:
                await self._write(part, file, answer)
                size = file.tell()
        if total is not None and size != total:
            raise _failed(f"{size} of {total} bytes came")
        return total

    async def _write(self, part: Part, file: BufferedRandom, answer: Source) -> None:
        pace, cap = Pace(self.clock), self.cap
        try:
            async for chunk in answer.chunks():
                before = file.tell()
                file.write(chunk)
                self._refuse_large(before + len(chunk), cap)
                if before < media.HEAD <= file.tell():
                    cap = min(cap, self._kind(part, file).largest)
                pace.count(len(chunk))
                if file.tell() - part.note.synced >= SYNC_EVERY:
                    await in_thread(part.sync, file)
        finally:
            if part.path.exists():
                part.sync(file)

    def _kind(self, part: Part, file: BufferedRandom) -> media.Kind:
        """What the first bytes are; leaves the file's position alone."""
        position = file.tell()
        file.seek(0)
        head = file.read(media.HEAD)
        file.seek(position)
        kind = media.sniff(head)
        if kind is None:
            part.discard()
            raise _corrupt(f"the result's server sent {media.describe(head)}")
        return kind

    def _refuse_large(self, size: int, cap: int) -> None:
        if size > cap:
            raise DownloadError(
                f"the result has {size:,} bytes or more, and the cap is {cap:,}",
                cause=Cause.TOO_LARGE,
                again=False,
            )

    def _finish(self, part: Part, total: int | None) -> Note:
        """Check what came, hash it as it stands on disk, and note that it is whole. Blocks: run it in a thread."""
        with part.open(part.note.synced) as file:
            size = file.tell()
            kind = self._kind(part, file)
            try:
                self._check_length(size, total, proven=media.check(file, kind))
            except media.Damaged as error:
                part.discard()
                raise _corrupt(f"the {kind.ext} file is not whole: {error}") from None
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        note = replace(
            part.note, sha256=sha256, size=size, media_type=kind.media_type, ext=kind.ext
        )
        part.remember(note)
        return note

    def _check_length(self, size: int, total: int | None, *, proven: bool) -> None:
        """A length that HTTP states is exact and was compared before; else the provider's and the file's own count."""
        stated = self.artifact.size
        if total is not None or (proven and (stated is None or size >= stated)):
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
