"""A disk that may lose power: replays logged operations and shows what can be left of them.

What a disk promises here is what POSIX does, and no more: bytes of a file are safe after a sync of the file, names in
a folder after a sync of the folder. What was not synced may be there or not, in part and in any order; names of one
folder come in their order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the log."""

    kind: str
    path: str
    to: str
    offset: int
    data: bytes


def read_log(path: Path) -> Iterator[Operation]:
    """Read what `op_log.c` wrote."""
    with path.open("rb") as file:
        while line := file.readline():
            kind, name, to, offset, length = line.decode().rstrip("\n").split("\t")
            yield Operation(kind, name, to, int(offset), file.read(int(length)))


@dataclass(slots=True)
class File:
    """A file's safe bytes, and what was done to it since its last sync."""

    safe: bytes = b""
    since: list[Operation] = field(default_factory=list)

    def bytes(self, chosen: list[Operation]) -> bytes:
        """The safe bytes with some of the later operations done."""
        content = bytearray(self.safe)
        for each in chosen:
            if each.kind == "truncate":
                del content[each.offset :]
                content.extend(bytes(each.offset - len(content)))
            else:
                content.extend(bytes(max(0, each.offset - len(content))))
                content[each.offset : each.offset + len(each.data)] = each.data
        return bytes(content)


@dataclass(slots=True)
class Folder:
    """A folder's safe names, and the changes since its last sync; a name leads to a File or a Folder."""

    safe: dict[str, File | Folder] = field(default_factory=dict)
    since: list[tuple[str, File | Folder | None]] = field(default_factory=list)

    def names(self, count: int | None = None) -> dict[str, File | Folder]:
        """The safe names with the first `count` changes done; all of them by default."""
        found = dict(self.safe)
        for name, thing in self.since[:count]:
            if thing is None:
                found.pop(name, None)
            else:
                found[name] = thing
        return found


class Disk:
    """Everything under one root."""

    def __init__(self, root: str) -> None:
        self._root = PurePosixPath(root)
        self.top = Folder()
        self.posts = 0

    def do(self, operation: Operation) -> None:
        """Do one operation."""
        if operation.kind == "post":
            self.posts += 1
            return
        thing = self._find(operation.path)
        match operation.kind:
            case "create":
                self._name(operation.path, File())
            case "mkdir":
                self._name(operation.path, Folder())
            case "unlink":
                self._name(operation.path, None)
            case "link":
                self._name(operation.to, thing)
            case "rename":
                self._name(operation.to, thing)
                self._name(operation.path, None)
            case "sync" if isinstance(thing, Folder):
                thing.safe, thing.since = thing.names(), []
            case "sync" if isinstance(thing, File):
                thing.safe, thing.since = thing.bytes(thing.since), []
            case "write" | "truncate" if isinstance(thing, File):
                thing.since.append(operation)

    def left(self, folder: Path, dice: random.Random | None, *, all_of_it: bool = False) -> None:
        """Write what is left after a loss of power: what is safe, all of it, or something in between by `dice`."""
        self._write(self.top, folder, dice, all_of_it=all_of_it)

    def _write(
        self, top: Folder, path: Path, dice: random.Random | None, *, all_of_it: bool
    ) -> None:
        path.mkdir()
        some = len(top.since) if all_of_it else dice.randint(0, len(top.since)) if dice else 0
        for name, thing in top.names(some).items():
            if isinstance(thing, Folder):
                self._write(thing, path / name, dice, all_of_it=all_of_it)
            else:
                chosen = thing.since if all_of_it else _some_of(thing.since, dice) if dice else []
                (path / name).write_bytes(thing.bytes(chosen))

    def _find(self, path: str) -> File | Folder | None:
        thing: File | Folder | None = self.top
        for part in PurePosixPath(path).relative_to(self._root).parts:
            thing = thing.names().get(part) if isinstance(thing, Folder) else None
        return thing

    def _name(self, path: str, thing: File | Folder | None) -> None:
        above = self._find(str(PurePosixPath(path).parent))
        assert isinstance(above, Folder), path
        above.since.append((PurePosixPath(path).name, thing))


def _some_of(operations: list[Operation], dice: random.Random) -> list[Operation]:
    """Some of them, and of a write perhaps only its first sectors."""
    chosen = []
    for each in operations:
        fate = dice.random()
        if fate < 0.5:
            chosen.append(each)
        elif fate < 0.7 and len(each.data) > SECTOR:
            cut = dice.randrange(SECTOR, len(each.data), SECTOR)
            chosen.append(Operation(each.kind, each.path, each.to, each.offset, each.data[:cut]))
    return chosen
