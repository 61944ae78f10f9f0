"""Giving finished bytes their final name, so that a crash at any moment leaves either nothing or all of it."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


def publish(
    part: Path, final: Path, sha256: str, taken: frozenset[Path], note: Callable[[Path], None]
) -> Path | None:
    """Move `part` to `final`, or to `final` with `-2`, `-3` and so on where that name is used.

    A file that is there already with the same bytes is the answer itself: an earlier run got this far. `taken` are
    names given to other bytes of the same job. `note` is told the name before anything gets it. The folder is not
    synced yet. Returns the name; None where neither file nor part is there.
    """
    for name in names(final):
        if name in taken:
            continue
        if os.path.lexists(name):
            if name.is_file() and not name.is_symlink() and digest(name) == sha256:
                note(name)
                part.unlink(missing_ok=True)
                return name
            continue
        if not part.is_file():
            return None
        note(name)
        try:
            _move(part, name)
        except FileExistsError:
            continue
        return name
    raise AssertionError  # names never end


def replace_text(path: Path, text: str, temporary: Path) -> None:
    """Write a small file whole or not at all. Its bytes are safe; its name is once the folder is synced."""
    with temporary.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def digest(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make names in a folder safe. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _move(part: Path, name: Path) -> None:
    """Rename without ever replacing: a second name first, then the old one away."""
    if os.name == "nt":
        part.rename(name)  # Windows refuses where the name is used
        return
    try:
        name.hardlink_to(part)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        part.rename(name)  # no links here (exFAT, some network drives); the caller has just looked
        return
    part.unlink()


def names(final: Path) -> Iterator[Path]:
    """Yield `NAME.mp4`, `NAME-2.mp4`, `NAME-3.mp4` and so on."""
    yield final
    for number in count(2):
        yield final.with_name(f"{final.stem}-{number}{final.suffix}")
