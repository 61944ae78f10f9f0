"""The outputs folder: which file is whose, and saving a job's results in it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from runner.causes import Cause
from runner.clock import Clock
from runner.errors import DownloadError
from runner.events import Artifact, SavedFile
from runner.files.download import Download, Opener, in_thread
from runner.files.part import PART_NAME, Part, part_tag
from runner.files.publish import digest, names, publish, replace_text, sync_folder
from runner.manifest.outputs import EXT, clean

FREE_FLOOR = 200_000_000
"""Bytes that stay free on the disk, so that the database always has room."""
_LOOK_BACK = 20
_FULL = frozenset(
    {errno.ENOSPC, errno.EFBIG, *([errno.EDQUOT] if hasattr(errno, "EDQUOT") else [])}
)
_FAILING = frozenset({errno.EIO, errno.EROFS})
"""A disk that fails, or that the system made read-only since: no clip will be saved until somebody looks at it."""


class Files:
    """Saves results under `root`, which is made when it is needed. `free_floor` is in bytes."""

    def __init__(self, root: Path, clock: Clock, *, free_floor: int = FREE_FLOOR) -> None:
        self.root = root
        self._clock = clock
        self._free_floor = free_floor
        self._safe: set[Path] = set()

    def output_path(self, output: str, ext: str, number: int = 1) -> Path:
        """Where the `number`-th result of a job goes: `output` with its `${{ ext }}` put in, always under the root.

        Raises:
            DownloadError: a link in the outputs folder leads out of it.
        """
        parts = [clean(part) for part in output.removesuffix(f".{EXT}").split("/") if part.strip()]
        *folders, stem = parts or ["_"]
        name = f"{stem}-{number}.{ext}" if number > 1 else f"{stem}.{ext}"
        path = self.root.joinpath(*folders, name)
        if not path.parent.resolve().is_relative_to(self.root.resolve()):
            raise DownloadError(
                f"{path.parent} is a link that leads out of {self.root}. Remove it, then: runner resume",
                cause=Cause.DOWNLOAD_FAILED,
            )
        return path

    async def save(
        self,
        output: str,
        artifacts: Sequence[Artifact],
        *,
        key: str,
        attempt: int,
        sidecar: Mapping[str, Any],
        open_url: Opener,
        cap: int,
    ) -> tuple[SavedFile, ...]:
        """Bring a job's results to disk, and `sidecar` beside the first, and say what they are.

        What an earlier run of the same `key` and `attempt` did is not done again. `cap` is bytes for one file.

        Raises:
            DownloadError: `cause` says why, `gone` that a fresh address is needed, `again` whether trying helps.
        """
        tag = part_tag(key, attempt)
        try:
            known = await in_thread(self._saved_before, output, tag, len(artifacts))
            if known:
                for number in range(1, len(artifacts) + 1):
                    self._part(output, tag, number).discard()
                return known
            saved: list[SavedFile] = []
            parts: list[Part] = []
            for number, artifact in enumerate(artifacts, 1):
                part = self._part(output, tag, number)
                parts.append(part)
                taken = frozenset(self.root / file.path for file in saved)
                download = Download(artifact, open_url, self._clock, cap, self._room)
                saved.append(await self._save_one(download, part, output, number, taken))
            await in_thread(self._write_sidecar, saved, tag, sidecar)
        except OSError as error:
            raise _from_system(error) from None
        for part in parts:
            part.discard()
        return tuple(saved)

    async def _save_one(
        self, download: Download, part: Part, output: str, number: int, taken: frozenset[Path]
    ) -> SavedFile:
        for _ in range(2):
            if not part.note.whole:
                await download.into(part)
            saved = await in_thread(self._publish, part, output, number, taken)
            if saved is not None:
                return saved
            part.discard()  # noted as whole, but somebody took the file away
        raise DownloadError(f"{part.path} disappears", cause=Cause.DOWNLOAD_FAILED)

    def _publish(
        self, part: Part, output: str, number: int, taken: frozenset[Path]
    ) -> SavedFile | None:
        note = part.note
        final = self.output_path(output, note.ext, number)
        path = publish(part.path, final, note.sha256, taken)
        if path is None:
            return None
        relative = path.relative_to(self.root).as_posix()
        return SavedFile(relative, note.sha256, note.size, note.media_type)

    def _part(self, output: str, tag: str, number: int) -> Part:
        """The partial file stands in the folder of the final one, so that a rename is enough."""
        final = self.output_path(output, "part", number)
        self._make_folder(final.parent)
        return Part(final.with_name(f"{final.stem}.{tag}.part"))

    def _make_folder(self, folder: Path) -> None:
        """Make a folder, and its name safe: a file that is synced in a folder whose name is lost is lost with it."""
        folder.mkdir(parents=True, exist_ok=True)
        if folder in self._safe:
            return
        for above in folder.relative_to(self.root).parents:
            sync_folder(self.root / above)
        self._safe.add(folder)

    def _room(self, size: int) -> None:
        free = shutil.disk_usage(self.root).free
        if free - max(size, 0) < self._free_floor:
            raise DownloadError(
                f"{free:,} bytes are free at {self.root}; the result needs {max(size, 0):,} "
                f"and {self._free_floor:,} are kept free",
                cause=Cause.DISK_FULL,
            )

    def _write_sidecar(
        self, saved: Sequence[SavedFile], tag: str, sidecar: Mapping[str, Any]
    ) -> None:
        """Write NAME.json; the mark in it tells a later run that the files are this job's."""
        first = self.root / saved[0].path
        path = next(
            name
            for name in names(first.with_suffix(".json"))
            if not os.path.lexists(name) or _read(name).get("saved_by") == tag
        )
        files = [
            {"path": file.path, "sha256": file.sha256, "size": file.size, "type": file.media_type}
            for file in saved
        ]
        text = json.dumps(
            {**sidecar, "files": files, "saved_by": tag}, ensure_ascii=False, indent=2
        )
        replace_text(path, text + "\n", first.with_name(f"{first.stem}.{tag}.part.new"))

    def _saved_before(self, output: str, tag: str, count: int) -> tuple[SavedFile, ...]:
        """What this job saved before it could say so: by its sidecar, checked byte for byte."""
        plain = self.output_path(output, "json")
        for path in islice(names(plain), _LOOK_BACK):
            noted = _read(path)
            if noted.get("saved_by") != tag:
                continue
            try:
                found = tuple(
                    SavedFile(one["path"], one["sha256"], one["size"], one["type"])
                    for one in noted["files"]
                )
                same = all(digest(self._inside(file.path)) == file.sha256 for file in found)
            except (OSError, LookupError, TypeError, ValueError):
                continue
            if same and len(found) == count:
                return found
        return ()

    def _inside(self, relative: str) -> Path:
        path = self.root / relative
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise ValueError("it leads out of the outputs folder")
        return path

    def sweep_parts(self, known: Collection[str]) -> int:
        """Remove partial files of jobs that no longer need them; `known` are the tags that do. Says how many.

        Only names that `part_tag` made are looked at.
        """
        removed = 0
        for path in self.root.rglob("*.part*"):
            match = PART_NAME.fullmatch(path.name)
            if match and match["tag"] not in known and path.is_file() and not path.is_symlink():
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _from_system(error: OSError) -> DownloadError:
    text = f"{error.filename or 'the outputs folder'}: {error.strerror}"
    if error.errno in _FAILING:
        return DownloadError(f"the disk fails: {text}", cause=Cause.DISK_FULL)
    cause = Cause.DISK_FULL if error.errno in _FULL else Cause.DOWNLOAD_FAILED
    return DownloadError(text, cause=cause)
