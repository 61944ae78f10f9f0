"""A partial file: the bytes so far, and beside it a note of what is needed to go on.

The note survives the process: after a crash the next run goes on where the bytes were last synced.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from io import BufferedRandom
from pathlib import Path

PART_NAME = re.compile(r".*\.(?P<tag>[0-9a-f]{4,16}-[0-9]+)\.part(?:\.json|\.new)?")
"""Names of partial files and their notes; nothing else is ever removed as one."""


def part_tag(key: str, attempt: int) -> str:
    """What marks the partial files of a job's attempt."""
    return f"{key[:16]}-{attempt}"


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a partial file.

    `source` identifies the address (without its query, which changes with each signature), `validator` is the ETag or
    date that a server needs to go on, `synced` counts the bytes that are safe on disk. Once the file is whole,
    `sha256`, `size` and `ext` say what it is.
    """

    source: str = ""
    validator: str = ""
    synced: int = 0
    sha256: str = ""
    size: int = -1
    media_type: str = ""
    ext: str = ""

    @property
    def whole(self) -> bool:
        """Whether every byte was there, checked and synced."""
        return bool(self.sha256)


class Part:
    """One partial file and its note."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note_path = path.with_name(path.name + ".json")
        self.note = self._read_note()

    def prepare(self, source: str) -> int:
        """Get ready to go on: how many bytes are there already, 0 where it has to begin anew."""
        size = self.path.stat().st_size if self.path.is_file() else 0
        if self.note.source != source or not self.note.validator or self.note.synced > size:
            self.remember(Note(source))
        return self.note.synced

    def begin(self, validator: str) -> None:
        """Start over at byte 0, with what a server needs to go on later."""
        self.remember(replace(self.note, validator=validator, synced=0))

    def open(self, offset: int) -> BufferedRandom:
        """Open it for writing at `offset`, without what stood after it and without following a link."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        file = os.fdopen(os.open(self.path, flags, 0o666), "r+b")
        file.truncate(offset)
        file.seek(offset)
        return file

    def sync(self, file: BufferedRandom) -> None:
        """Make what was written safe, then say so in the note."""
        file.flush()
        os.fsync(file.fileno())
        self.remember(replace(self.note, synced=file.tell()))

    def remember(self, note: Note) -> None:
        """Replace the note; a torn one counts as none."""
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text(json.dumps(asdict(note)), encoding="utf-8")
        fresh.replace(self._note_path)
        self.note = note

    def discard(self) -> None:
        """Remove it, note and all."""
        self.path.unlink(missing_ok=True)
        self._note_path.unlink(missing_ok=True)
        self.note = Note()

    def _read_note(self) -> Note:
        try:
            return Note(**json.loads(self._note_path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return Note()
