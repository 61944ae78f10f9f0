"""The bytes of one result on their way into the part: gathered, written in large pieces, hashed as they pass.

A piece goes to a thread when there is a megabyte of it, so memory stays flat however large the result is, and a thread
is asked once per megabyte and not once per packet. The bytes of an earlier connection are hashed from the disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from io import BufferedRandom
from typing import BinaryIO

from runner import media
from runner.files.part import Part, Whole

PIECE = 1 << 20
"""Bytes that are gathered before they are written."""
SYNC_EVERY = 4_000_000
"""Bytes after which a crash of the machine loses no more than these, and what is still in memory."""
_BLOCK = 1 << 18


class Body:
    """The bytes of a result that go on at byte `start` of its part.

    `size` counts those that are there, `total` is how many a server said there are; None where none did.
    """

    def __init__(self, part: Part, start: int) -> None:
        self.part = part
        self.size = start
        self.total: int | None = None
        self.head = b""
        """The first bytes, by which the kind of a file is told."""
        self._written = start
        self._pieces: list[bytes] = []
        self._hash = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """Take what came."""
        self._pieces.append(piece)
        self.size += len(piece)
        if len(self.head) < media.HEAD:
            self.head += piece[: media.HEAD - len(self.head)]

    @property
    def full(self) -> bool:
        """Whether it is time to write."""
        return self.size - self._written >= PIECE

    def read_start(self) -> None:
        """Read what is there already. Blocks, like all that follow."""
        with self.part.open(self._written) as file:
            file.seek(0)
            while block := file.read(_BLOCK):
                self._hash.update(block)
                self.head = self.head or block[: media.HEAD]

    def write(self) -> None:
        """Bring to disk what was gathered. Where that fails, it may be tried again."""
        with self.part.open(self._written) as file:
            self._write(file)
            if self._written - self.part.note.synced >= SYNC_EVERY:
                self.part.sync(file, self._written)

    def pause(self) -> None:
        """Make safe what came, for somebody to go on with it."""
        if self._written == self.size == self.part.note.synced:
            return
        with self.part.open(self._written) as file:
            try:
                self._write(file)
            finally:
                self.part.sync(file, self._written)

    def finish(self, kind: media.Kind, check: Callable[[BinaryIO], None]) -> Whole:
        """Let all of it be checked, which may raise, and make it safe."""
        with self.part.open(self._written) as file:
            self._write(file)
            file.seek(0)
            check(file)
            os.fsync(file.fileno())
        return Whole(self._hash.hexdigest(), self.size, kind.media_type, kind.ext)

    def _write(self, file: BufferedRandom) -> None:
        file.writelines(self._pieces)
        file.flush()
        for piece in self._pieces:
            self._hash.update(piece)
            self._written += len(piece)
        self._pieces.clear()
