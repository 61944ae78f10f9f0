"""One runner per state folder, by a kernel lock that dies with its process and names its holder."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.errors import StoreError, StoreLocked
from runner.wire import dump_json, parse_json

if sys.platform == "win32":  # pragma: no cover - not run on this project's machines
    import msvcrt

    def _lock(handle: int) -> None:
        # A byte far behind the text, because Windows locks keep others from reading what they cover.
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunnerLock:
    """The lock of a state folder, held from construction until `release` or the end of the process.

    It stands on a file beside the database, never on the database itself: closing any handle of that file would drop
    the locks SQLite holds on it.

    Raises:
        StoreLocked: another process holds it; the message names it.
        StoreError: the file can't be opened.
    """

    def __init__(self, path: Path, now: float) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        try:
            self._handle: int | None = os.open(path, flags, 0o600)
        except OSError as error:
            raise StoreError(
                f"{path} can't be used: {error.strerror}. Move it away, or give another --state DIR"
            ) from None
        try:
            _lock(self._handle)
        except OSError:
            os.close(self._handle)
            self._handle = None
            raise StoreLocked(_holder(path)) from None
        note = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.ftruncate(self._handle, 0)
        os.write(self._handle, dump_json(note).encode())

    def release(self) -> None:
        """Let the next runner in. The file stays: removing it would let two runners hold two files of one name."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


def _holder(path: Path) -> str:
    note: Any = None
    with contextlib.suppress(OSError):
        note = parse_json(path.read_bytes())
    try:
        since = datetime.fromtimestamp(float(note["since"]), UTC).astimezone()
    except (TypeError, KeyError, ValueError, OverflowError, OSError):
        return f"another runner holds {path.parent}. Wait for it, or use another --state folder"
    return (
        f"another runner holds {path.parent}: process {note.get('pid')} on {note.get('host')}, "
        f"since {since:%Y-%m-%d %H:%M:%S}. Wait for it, stop it, or use another --state folder"
    )
