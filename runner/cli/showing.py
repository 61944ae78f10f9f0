"""`show`: everything about one job."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text

from runner.budget import Money
from runner.cli.choosing import the_one
from runner.cli.general import General
from runner.cli.piles import fix_for
from runner.cli.session import Session
from runner.cli.words import moment, plain
from runner.errors import UsageError
from runner.job import Job
from runner.store.folder import StateFolder
from runner.store.reader import reading

Rows = Sequence[Mapping[str, Any]]
History = Sequence[tuple[float, str, str, str]]


def show(general: General, name: str) -> None:
    """Print a job's request, state, attempts, files and history.

    Raises:
        UsageError: no job, or more than one, is called that.
    """
    session = Session(general)
    with reading(StateFolder(session.settings.state)) as reader:
        if reader is None:
            raise UsageError(f"{session.state} holds no jobs yet. Begin with: runner run MANIFEST")
        job = the_one(reader, name)
        attempts, artifacts = reader.attempts(job.number), reader.artifacts(job.number)
        history = reader.history(job.number)
        batch = next(each for each in reader.batches() if each.name == job.spec.batch)
    fix = fix_for(session, job.cause.fix, batch, job.spec.id) if job.cause else ""
    if session.out.json:
        session.out.record(_facts(session, job, fix, attempts, artifacts, history))
    else:
        session.out.say(*_shown(session, job, fix, attempts, artifacts, history))


def _shown(
    session: Session, job: Job, fix: str, attempts: Rows, artifacts: Rows, history: History
) -> Iterable[Text]:
    yield Text(plain(f"{job.spec.batch}/{job.spec.id}"), style="bold")
    yield from _lines(
        {
            "state": f"{job.state} since {moment(job.changed_at)}",
            "key": job.spec.key,
            "provider": job.provider,
            "model": job.spec.model,
            "remote id": job.remote.id if job.remote else "",
            "output": job.spec.output,
        }
    )
    if job.cause is not None:
        yield Text()
        yield Text.assemble((job.cause.value, "yellow"), f"  {job.cause.explanation}")
        if job.detail:
            yield Text(f"  “{plain(job.detail)}”")
        yield Text(f"  fix: {fix}")
    yield Text()
    yield Text("Request", style="bold")
    for line in json.dumps(job.spec.params, ensure_ascii=False, indent=2).splitlines():
        yield Text(f"  {_visible(line)}")
    yield from _attempts(attempts)
    yield from _artifacts(session, artifacts)
    yield Text("History", style="bold")
    for at, event, state, data in history:
        yield Text(f"  {moment(at)}  {event:<10}  {state:<10}  {plain(data, 400)}".rstrip())


def _visible(line: str) -> str:
    """A line of JSON with its indentation."""
    bare = line.lstrip(" ")
    return " " * (len(line) - len(bare)) + plain(bare, 4_000)


def _attempts(attempts: Rows) -> Iterable[Text]:
    for row in attempts:
        yield Text(f"Attempt {row['number']}", style="bold")
        yield from _lines(
            {
                "provider": row["provider"],
                "sent": moment(_seconds(row["intended_at"])),
                "answered": moment(_seconds(row["answered_at"])),
                "outcome": row["outcome"] or "no answer is known",
                "remote id": row["remote_id"] or "",
                "price": _price(row),
                "billed": {0: "no", 1: "yes"}.get(row["billed"], "not known"),
                "reference": row["client_ref"],
                "digest": row["digest"],
            }
        )


def _artifacts(session: Session, artifacts: Rows) -> Iterable[Text]:
    for number, row in enumerate(artifacts, 1):
        yield Text(f"File {number}", style="bold")
        saved = session.state / "outputs" / row["path"] if row["path"] else None
        yield from _lines(
            {
                "saved": str(saved) if saved else "not yet",
                "size": f"{row['saved_size']:,} bytes" if row["saved_size"] else "",
                "sha256": row["sha256"] or "",
                "address": row["url"].partition("?")[0],
                "expires": moment(_seconds(row["expires_at"])) if row["expires_at"] else "",
            }
        )


def _lines(facts: Mapping[str, str]) -> Iterable[Text]:
    for name, value in facts.items():
        if value:
            yield Text.assemble((f"  {name:<10}", "dim"), plain(str(value)))


def _price(row: Mapping[str, Any]) -> str:
    if row["price_micros"] is None:
        return "not known"
    return str(Money(row["price_micros"], row["currency"] or "USD"))


def _seconds(millis: int | None) -> float | None:
    return None if millis is None else millis / 1000


def _facts(
    session: Session, job: Job, fix: str, attempts: Rows, artifacts: Rows, history: History
) -> dict[str, object]:
    return {
        "type": "job",
        "batch": job.spec.batch,
        "id": job.spec.id,
        "key": job.spec.key,
        "index": job.spec.index,
        "repeat": job.spec.repeat,
        "state": job.state.value,
        "cause": job.cause.value if job.cause else None,
        "explanation": job.cause.explanation if job.cause else None,
        "fix": fix or None,
        "detail": job.detail,
        "provider": job.provider,
        "model": job.spec.model,
        "params": dict(job.spec.params),
        "output": job.spec.output,
        "outputs": str(session.state / "outputs"),
        "remote_id": job.remote.id if job.remote else None,
        "due_at": job.due_at,
        "changed_at": job.changed_at,
        "attempts": [
            {
                **{name: value for name, value in row.items() if not name.endswith("_at")},
                "intended_at": _seconds(row["intended_at"]),
                "answered_at": _seconds(row["answered_at"]),
            }
            for row in attempts
        ],
        "artifacts": [
            {**row, "url": row["url"].partition("?")[0], "expires_at": _seconds(row["expires_at"])}
            for row in artifacts
        ],
        "history": [
            {"at": at, "event": event, "state": state, "data": json.loads(data) if data else None}
            for at, event, state, data in history
        ],
    }
