"""A partial file: the bytes so far, and beside it, once they have to outlive the process, what is needed to go on.

Its note says how many bytes were last synced; it is written when a download breaks off, and every few megabytes. The
draft of the sidecar says that all of them are there. A small clip that simply comes makes neither note nor rest.
"""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from io import BufferedRandom, FileIO
from pathlib import Path

PART_NAME = re.compile(r".*\.(?P<tag>[0-9a-f]{4,16}-[0-9]+)\.part(?:\.json|\.new|\.draft)?")
"""Names of partial files, their notes and drafts; nothing else is ever removed as one."""

_BUFFER = 1 << 16
"""Small packets are put together to this many bytes before they are written."""


def part_tag(key: str, attempt: int) -> str:
    """What marks the partial files of a job's attempt."""
    return f"{key[:16]}-{attempt}"


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a partial file.

    `source` identifies the address (without its query, which changes with each signature), `validator` is the ETag or
    date that a server needs to go on, `synced` counts the bytes that are safe on disk.
    """

    source: str = ""
    validator: str = ""
    synced: int = 0


@dataclass(frozen=True, slots=True)
class Whole:
    """A result that is on disk whole, checked and synced: SHA-256 in hex, size in bytes, media type, extension."""

    sha256: str
    size: int
    media_type: str
    ext: str


class Part:
    """One partial file and its note. Everything here may block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.draft = path.with_name(path.name + ".draft")
        self.spare = path.with_name(path.name + ".new")
        """Where what is to replace a small file is written first."""
        self.whole: Whole | None = None
        self._note_path = path.with_name(path.name + ".json")
        found = self._read_note()
        self._noted = found is not None
        self.note = found or Note()

    def prepare(self, source: str) -> int:
        """Get ready to go on: how many bytes are there already, 0 where it has to begin anew."""
        note = self.note
        known = note.source == source and note.validator and note.synced
        if not known or note.synced > self._size():
            self.note = Note(source)
            self.begin("")
        return self.note.synced

    def begin(self, validator: str) -> None:
        """Start over at byte 0, with what a server needs to go on later. An older note goes before its bytes do."""
        self.note = replace(self.note, validator=validator, synced=0)
        if self._noted:
            self._note_path.unlink(missing_ok=True)
            self._noted = False

    def open(self, offset: int) -> BufferedRandom:
        """Open it for writing at `offset`, without what stood after it and without following a link.

        Raises:
            OSError: what stood before `offset` is no longer there.
        """
        flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        if offset == 0:
            flags |= os.O_CREAT
        file = BufferedRandom(FileIO(os.open(self.path, flags, 0o666), "r+b"), _BUFFER)
        end = file.seek(0, os.SEEK_END)
        if end < offset:
            file.close()
            raise OSError(errno.EINVAL, "somebody else shortened it", str(self.path))
        if end > offset:
            file.truncate(offset)
        file.seek(offset)
        return file

    def sync(self, file: BufferedRandom, size: int) -> None:
        """Make its first `size` bytes safe, which were flushed, then say so in the note."""
        os.fsync(file.fileno())
        self.remember(replace(self.note, synced=size))

    def remember(self, note: Note) -> None:
        """Replace the note; a torn one counts as none."""
        self.spare.write_text(json.dumps(asdict(note)), encoding="utf-8")
        self._noted = True
        self.spare.replace(self._note_path)
        self.note = note

    def discard(self) -> None:
        """Remove it, with its note and its draft."""
        for path in (self.path, self._note_path, self.draft):
            path.unlink(missing_ok=True)
        self._noted = False
        self.note = Note()
        self.whole = None

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def _read_note(self) -> Note | None:
        try:
            found = json.loads(self._note_path.read_bytes())
            return Note(found["source"], found["validator"], found["synced"])
        except (OSError, ValueError, TypeError, LookupError):
            return None
