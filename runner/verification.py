"""Whether what `done` promises still holds: every file there, every byte as it was hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
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
    """One file of a done job, compared with what was recorded."""

    job: Job
    path: Path
    verdict: Verdict


def verify(reader: Reader, outputs: Path, batches: Sequence[int]) -> Iterator[Checked]:
    """Hash every file of every done job."""
    for job in reader.jobs(batches, (State.DONE,)):
        for artifact in reader.artifacts(job.number):
            if artifact["path"] is not None:
                path = outputs / artifact["path"]
                yield Checked(job, path, _verdict(path, artifact["sha256"]))


def set_aside(path: Path) -> None:
    """Keep a damaged file under another name, so that the whole one can take its place."""
    if path.exists():
        path.replace(path.with_name(f"{path.name}.damaged"))


def _verdict(path: Path, sha256: str) -> Verdict:
    try:
        with path.open("rb") as file:
            return (
                Verdict.WHOLE
                if hashlib.file_digest(file, "sha256").hexdigest() == sha256
                else Verdict.DAMAGED
            )
    except OSError:
        return Verdict.MISSING
