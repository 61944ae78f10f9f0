"""The outputs folder: which file is whose, and saving a job's results in it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from runner.causes import Cause
from runner.clock import Clock
from runner.errors import DownloadError
from runner.events import Artifact, SavedFile
from runner.files.body import Body
from runner.files.download import Download, Opener, in_thread
from runner.files.part import PART_NAME, Part, Whole, part_tag
from runner.files.publish import digest, names, publish, replace_text, sync_folder
from runner.files.sidecar import Sidecar
from runner.manifest.outputs import EXT, clean

FREE_FLOOR = 200_000_000
"""Bytes that stay free on the disk, so that the database always has room."""
_LOOK_BACK = 20
_FULL = frozenset(
    {errno.ENOSPC, errno.EFBIG, *([errno.EDQUOT] if hasattr(errno, "EDQUOT") else [])}
)
_FAILING = frozenset({errno.EIO, errno.EROFS})
"""A disk that fails, or that the system made read-only since: no clip will be saved until somebody looks at it."""


@dataclass(slots=True)
class Saving:
    """The results of one attempt on their way: `count` of them, their parts, and the files that have their names."""

    output: str
    sidecar: Sidecar
    count: int
    parts: list[Part] = field(default_factory=list)
    files: list[SavedFile] = field(default_factory=list)


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
        folder = self.root
        for part in folders:
            folder /= part
            if _may_lead_away(folder) and not self._holds(folder):
                raise DownloadError(
                    f"{folder} is a link that leads out of {self.root}. Remove it, then: runner resume",
                    cause=Cause.DOWNLOAD_FAILED,
                )
        return folder / name

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
        saving = Saving(output, Sidecar(part_tag(key, attempt), sidecar), len(artifacts))
        try:
            await in_thread(self._look, saving)
            for artifact in artifacts[len(saving.files) :]:
                download = Download(artifact, open_url, self._clock, cap, self._room)
                await self._save_one(saving, download)
        except OSError as error:
            raise _from_system(error) from None
        return tuple(saving.files)

    async def _save_one(self, saving: Saving, download: Download) -> None:
        part = saving.parts[len(saving.files)]
        for _ in range(2):
            body = None if part.whole else await download.into(part)
            if await in_thread(self._keep, saving, part, download, body):
                return
        raise DownloadError(f"{part.path} disappears", cause=Cause.DOWNLOAD_FAILED)

    def _look(self, saving: Saving) -> None:
        """See what an earlier run did: saved it all, or left parts."""
        saving.files.extend(self._saved_before(saving))
        for number in range(1, saving.count + 1):
            part = self._part(saving, number)
            if saving.files:
                part.discard()
            saving.parts.append(part)

    def _keep(self, saving: Saving, part: Part, download: Download, body: Body | None) -> bool:
        """Give what came its name, and after a job's last file the sidecar its own; False where it disappeared."""
        if body is not None:
            part.whole = download.finish(body)
        saved = self._publish(saving, part)
        if saved is None:
            part.discard()  # its draft says that it is whole, but somebody took it away
            return False
        saving.files.append(saved)
        if len(saving.files) == saving.count:
            self._seal(saving)
        return True

    def _publish(self, saving: Saving, part: Part) -> SavedFile | None:
        whole = part.whole
        assert whole is not None
        found: list[SavedFile] = []
        final = self.output_path(saving.output, whole.ext, len(saving.files) + 1)

        def note(name: Path) -> None:
            relative = name.relative_to(self.root).as_posix()
            found[:] = [SavedFile(relative, whole.sha256, whole.size, whole.media_type)]
            replace_text(part.draft, saving.sidecar.text([*saving.files, *found]), part.spare)

        taken = frozenset(self.root / file.path for file in saving.files)
        return found[0] if publish(part.path, final, whole.sha256, taken, note) else None

    def _seal(self, saving: Saving) -> None:
        """Make the last draft the sidecar, NAME.json, and all the names safe."""
        first = self.root / saving.files[0].path
        path = next(
            name
            for name in names(first.with_suffix(".json"))
            if not os.path.lexists(name) or saving.sidecar.files(name) is not None
        )
        saving.parts[-1].draft.replace(path)
        sync_folder(first.parent)
        for part in saving.parts:
            part.discard()

    def _part(self, saving: Saving, number: int) -> Part:
        """The partial file stands in the folder of the final one, so that a rename is enough."""
        final = self.output_path(saving.output, "part", number)
        self._make_folder(final.parent)
        part = Part(final.with_name(f"{final.stem}.{saving.sidecar.tag}.part"))
        if drafted := saving.sidecar.files(part.draft):
            last = drafted[-1]
            ext = last.path.rpartition(".")[2]
            part.whole = Whole(last.sha256, last.size, last.media_type, ext)
        return part

    def _make_folder(self, folder: Path) -> None:
        """Make a folder, and its name safe: a file that is synced in a folder whose name is lost is lost with it."""
        if folder in self._safe and folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
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

    def _saved_before(self, saving: Saving) -> tuple[SavedFile, ...]:
        """What this job saved before it could say so: by its sidecar, checked byte for byte."""
        plain = self.output_path(saving.output, "json")
        for path in islice(names(plain), _LOOK_BACK):
            found = saving.sidecar.files(path) if os.path.lexists(path) else None
            try:
                same = found and all(digest(self._inside(one.path)) == one.sha256 for one in found)
            except (OSError, TypeError, ValueError):
                continue
            if found and same and len(found) == saving.count:
                sync_folder(path.parent)
                return found
        return ()

    def _inside(self, relative: str) -> Path:
        path = self.root / relative
        if not self._holds(path):
            raise ValueError("it leads out of the outputs folder")
        return path

    def _holds(self, path: Path) -> bool:
        """Whether a path, its links followed, stands under the root."""
        return path.resolve().is_relative_to(self.root.resolve())

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


def _may_lead_away(folder: Path) -> bool:
    """Whether it is worth following. Windows has more kinds of links than Python 3.11 can tell from folders."""
    return os.name == "nt" or folder.is_symlink()


def _from_system(error: OSError) -> DownloadError:
    text = f"{error.filename or 'the outputs folder'}: {error.strerror}"
    if error.errno in _FAILING:
        return DownloadError(f"the disk fails: {text}", cause=Cause.DISK_FULL)
    cause = Cause.DISK_FULL if error.errno in _FULL else Cause.DOWNLOAD_FAILED
    return DownloadError(text, cause=cause)
