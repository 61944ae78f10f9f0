"""Which batches and jobs a command is about, by the names that were typed."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from runner.causes import Cause
from runner.cli.words import plain
from runner.errors import UsageError
from runner.job import Job
from runner.store.contract import Batch
from runner.store.reader import Reader


def chosen(reader: Reader, names: Sequence[str]) -> list[Batch]:
    """The batches of these names, or all.

    Raises:
        UsageError: there is none of a name.
    """
    batches = reader.batches()
    known = [batch.name for batch in batches]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 3) or known[:5]
            hint = f" Did you mean: {', '.join(near)}?" if near else ""
            raise UsageError(f"there is no batch {name!r} here.{hint} runner status shows them all")
    return [batch for batch in batches if not names or batch.name in names]


def numbers(reader: Reader, batch: str | None) -> list[int]:
    """The number of the batch of this name, or those of all.

    Raises:
        UsageError: there is none of the name.
    """
    return [each.number for each in chosen(reader, [] if batch is None else [batch])]


def the_one(reader: Reader, name: str) -> Job:
    """The job that a name means.

    Raises:
        UsageError: no job, or more than one, is called that.
    """
    found = reader.find(name)
    if len(found) == 1:
        return found[0]
    if found:
        names = "\n".join(f"  {job.spec.key[:12]}  {called(job)}  {job.state}" for job in found)
        raise UsageError(f"{name!r} can be several jobs. Name one by its key:\n{names}")
    ids = {each for batch in reader.batches() for each in reader.names(batch.number)}
    wanted = name.rpartition("/")[2]
    near = [each for each in sorted(ids) if each.startswith(wanted)][:3] or get_close_matches(
        wanted, ids, 3
    )
    hint = f" Did you mean: {', '.join(near)}?" if near else ""
    raise UsageError(f"there is no job {name!r} here.{hint} runner jobs lists them")


def those(reader: Reader, names: Sequence[str]) -> list[Job]:
    """The jobs that these names mean, each once.

    Raises:
        UsageError: a name means no job, or more than one.
    """
    found = {job.number: job for job in (the_one(reader, name) for name in names)}
    return list(found.values())


def called(job: Job) -> str:
    """`batch/id`, as every command takes it."""
    return plain(f"{job.spec.batch}/{job.spec.id}")


def cause_called(text: str | None) -> str | None:
    """A cause as it was typed.

    Raises:
        UsageError: there is no such cause.
    """
    known = [cause.value for cause in Cause]
    if text is not None and text not in known:
        near = get_close_matches(text, known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"{text!r} is not a cause.{hint} There are: {', '.join(known)}")
    return text
