"""Whether the write-ahead log of a run that was killed could be read to its end.

SQLite reads such a log up to the first frame that is not whole, and takes what follows for a write that was cut off by
the end of the process. That is right for the last transaction only: each is synced before the next one begins, so two
ends of transactions behind the first damaged frame prove that durable ones are lost, receipts among them. The layout
is documented in SQLite's "WAL-mode File Format".
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from runner.errors import StoreError

_HEADER, _FRAME = 32, 24
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # the order of bytes that checksums are made in
_READ_TO = slice(16, 20)  # of the index: the number of the last frame that is part of the database


def check_log(database: Path) -> None:
    """Refuse a log that durable transactions were lost from. Called under the lock, before anything is written.

    Raises:
        StoreError: the log is damaged.
        sqlite3.Error: the database is.
    """
    log = database.with_name(f"{database.name}-wal")
    if not log.exists() or log.stat().st_size <= _HEADER:
        return
    # Read-only: the last connection to close would else put what it could read into the database and remove the log.
    with closing(
        sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    ) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        index = database.with_name(f"{database.name}-shm").read_bytes()
    if _lost(log, struct.unpack("=I", index[_READ_TO])[0]):
        raise StoreError(
            f"{log} is damaged: the latest writes in it can't be read. Restore {database.name} and "
            f"{log.name} from a copy. Without one, remove {log.name} to go on with what is older: jobs "
            "that were submitted since would then be bought again"
        )


def _lost(log: Path, last: int) -> bool:
    """Whether two transactions or more stand behind the frame of this number, or the log has no valid beginning."""
    with log.open("rb") as file:
        header = file.read(_HEADER)
        if not _whole(header):
            return True
        page, salts = struct.unpack(">8xI", header[:12])[0], header[16:24]
        file.seek(_HEADER + last * (_FRAME + page))
        ends = 0
        while len(frame := file.read(_FRAME)) == _FRAME:
            # Others were written before the log was begun anew.
            ends += frame[8:16] == salts and frame[4:8] != bytes(4)
            file.seek(page, 1)
    return ends > 1


def _whole(header: bytes) -> bool:
    """Whether the header's checksum is right."""
    order = _MAGIC.get(struct.unpack(">I", header[:4])[0])
    if order is None:
        return False
    words = struct.unpack(f"{order}6I", header[:24])
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return (first, second) == struct.unpack(">2I", header[24:])
