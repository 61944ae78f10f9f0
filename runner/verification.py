"""Whether what `done` promises still holds: every file there, every byte as it was hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path

from runner.job import Job, State
from runner.store.reader import Reader


class Verdict(StrEnum):
    """What became of a file."""

    WHOLE = "whole"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Checked:
    """One file of a done job, compared with what was recorded; `path` is relative to the outputs folder."""

    job: Job
    path: str
    verdict: Verdict


def verify(reader: Reader, outputs: Path, batches: Sequence[int]) -> Iterator[Checked]:
    """Hash every file of every done job."""
    for job in reader.jobs(batches, (State.DONE,)):
        for artifact in reader.artifacts(job.number):
            path = artifact["path"]
            if path is not None:
                yield Checked(job, path, _verdict(outputs / path, artifact["sha256"]))


def set_aside(path: Path) -> Path | None:
    """Keep a damaged file under another name, so that the whole one can take its place. Returns that name.

    Nothing is lost: what was set aside before stays. None where there is no such file.
    """
    for number in count(1):
        tail = "damaged" if number == 1 else f"damaged-{number}"
        aside = path.with_name(f"{path.name}.{tail}")
        if not aside.exists():
            try:
                return path.rename(aside)
            except FileNotFoundError:
                return None
    raise AssertionError


def _verdict(path: Path, sha256: str) -> Verdict:
    try:
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return Verdict.MISSING
    except OSError:
        return Verdict.DAMAGED
    return Verdict.WHOLE if same else Verdict.DAMAGED
