"""The state folder: where it is, who may read it, whether it can be used at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StoreError, StoreFull

_HEADER = 100  # bytes that every SQLite file begins with


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The home of the database, the lock and the outputs."""

    root: Path

    @property
    def database(self) -> Path:
        """The database file."""
        return self.root / "runner.db"

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.root / "runner.lock"

    @property
    def outputs(self) -> Path:
        """The folder that results are saved in."""
        return self.root / "outputs"

    def is_empty(self) -> bool:
        """Whether there is no database yet.

        Raises:
            StoreError: there was one: what is left of it, SQLite would take for none and begin anew.
        """
        size = self.database.stat().st_size if self.database.exists() else 0
        if size >= _HEADER:
            return False
        if size or self._left_behind():
            raise StoreError(
                f"{self.database} is damaged: only {size} bytes of it are left. Restore it from a copy, "
                "or remove it and runner.db-wal to begin anew: jobs that it knew would then be bought again"
            )
        return True

    def _left_behind(self) -> bool:
        """Whether a database that is empty or gone held something: its log is there, or it was emptied amid clips."""
        log = self.database.with_name("runner.db-wal")
        if log.exists() and log.stat().st_size:
            return True
        return self.database.exists() and any(
            entry.is_file() and not entry.name.startswith(".") for entry in self.outputs.rglob("*")
        )

    def prepare(self) -> None:
        """Create what is missing, private to the user whatever the umask, and prove that it can be written.

        Raises:
            StoreError: the folder can't be created or written; nothing was sent yet.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.outputs.mkdir(mode=0o755, exist_ok=True)
            if not self.database.exists():
                # The folder may be one that was made by hand, or that came with a checkout.
                with contextlib.suppress(OSError):
                    self.root.chmod(0o700)
            # Always the same name, so that kills right here leave no heap of them.
            probe = self.outputs / ".probe"
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)
            for folder in (self.root, self.root.absolute().parent):
                _sync(folder)
        except OSError as error:
            raise StoreError(
                f"{self.root} can't be used for state: {error.strerror}. "
                "Give a folder that you may write to: --state DIR"
            ) from None

    def begin(self) -> None:
        """Create the database's file if there is none; under the lock, or another runner may be just doing that.

        Raises:
            StoreError: there was one, or it can't be created.
        """
        try:
            self.is_empty()
            # SQLite gives its -wal and -shm files the database file's own mode.
            os.close(os.open(self.database, os.O_RDWR | os.O_CREAT, 0o600))
            _sync(self.root)
        except OSError as error:
            raise StoreError(
                f"{self.database} can't be used for state: {error.strerror}. "
                "Give a folder that you may write to: --state DIR"
            ) from None


def _sync(folder: Path) -> None:
    """Make the names in a folder safe: a database whose name is lost with the power is lost with it."""
    if os.name == "nt":  # has no such call and needs none
        return
    with contextlib.suppress(PermissionError):  # the folder above may be another user's
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def translate(error: sqlite3.Error | UnicodeDecodeError, database: Path) -> StoreError:
    """Turn SQLite's error into ours, saying what to do. A message that is no text is one about a damaged schema."""
    code = getattr(error, "sqlite_errorname", "") or ""
    if code in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"):
        return StoreFull(
            f"{database} can't be written ({code}): the disk or the quota is used up, or the disk fails. "
            "Nothing more was submitted. Free some space, then: runner resume"
        )
    if code in ("SQLITE_NOTADB", "SQLITE_CORRUPT") or isinstance(error, UnicodeDecodeError):
        return StoreError(
            f"{database} is damaged or no database of runner's ({error}). Restore it from a copy, "
            "or move it away to begin anew: jobs that it knew would then be bought again"
        )
    return StoreError(
        f"{database}: {error}. See that the folder is on a local disk and may be written"
    )
