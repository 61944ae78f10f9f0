"""`status` and `jobs`: looks at what is stored, also while a runner works on it."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from runner.cli.choosing import cause_called, chosen
from runner.cli.general import General
from runner.cli.session import Session
from runner.cli.summary import summarize
from runner.cli.words import columns, count, moment, plain
from runner.errors import UsageError
from runner.job import Job, State
from runner.looking import look_at
from runner.store.folder import StateFolder
from runner.store.reader import reading

_EVERY_STATE = ", ".join(State)


def status(general: General, names: Sequence[str]) -> None:
    """Print how batches stand.

    Raises:
        UsageError: there is no such batch.
    """
    session = Session(general)
    with reading(StateFolder(session.settings.state)) as reader:
        if reader is not None:
            chosen(reader, names)
    report = look_at(session.settings, names, session.clock.now())
    if report.batches or session.out.json:
        summarize(session, report)
    else:
        _nothing(session)


def jobs(
    general: General, names: Sequence[str], *, states: Sequence[str], cause: str | None, limit: int
) -> None:
    """Print jobs, one a line.

    Raises:
        UsageError: there is no such batch, state or cause.
    """
    session = Session(general)
    wanted, out = _states(states), session.out
    with reading(StateFolder(session.settings.state)) as reader:
        if reader is None:
            _nothing(session)
            return
        numbers = [batch.number for batch in chosen(reader, names)]
        found = list(reader.jobs(numbers, wanted, cause_called(cause), limit + 1))
    more = len(found) > limit
    found = found[:limit]
    if out.json:
        out.records(_facts(job) for job in found)
        return
    if not found:
        out.say("No such jobs.")
        return
    head, *rows = columns([_HEAD, *map(_row, found)], out.width)
    out.say(head, style="bold")
    out.say(*rows)
    if more:
        out.note(f"More than {count(limit, 'job')}: show more with --limit N")


def _nothing(session: Session) -> None:
    if not session.out.json:
        text = f"{session.state} holds no jobs yet. Begin with: {session.command('run MANIFEST')}"
        session.out.say(text)


def _states(texts: Sequence[str]) -> list[State]:
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    known = {state.value: state for state in State}
    for word in words:
        if word not in known:
            near = get_close_matches(word, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"{word!r} is not a state of jobs.{hint} There are: {_EVERY_STATE}. "
                "A state folder goes before the command: runner --state DIR jobs"
            )
    return [known[word] for word in words]


_HEAD = ("JOB", "STATE", "CAUSE", "PROVIDER", "SINCE", "PROMPT")


def _row(job: Job) -> tuple[str, ...]:
    return (
        plain(f"{job.spec.batch}/{job.spec.id}"),
        job.state.value,
        job.cause.value if job.cause else "",
        job.provider,
        moment(job.changed_at),
        plain(" ".join(job.spec.prompt.split()), 160),
    )


def _facts(job: Job) -> dict[str, object]:
    return {
        "type": "job",
        "batch": job.spec.batch,
        "id": job.spec.id,
        "key": job.spec.key,
        "state": job.state.value,
        "cause": job.cause.value if job.cause else None,
        "detail": job.detail,
        "provider": job.provider,
        "model": job.spec.model,
        "attempts": job.attempt,
        "remote_id": job.remote.id if job.remote else None,
        "changed_at": job.changed_at,
        "prompt": job.spec.prompt,
    }
