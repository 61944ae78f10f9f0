"""`resolve`, `retry` and `cancel`: what a person decides about jobs is carried out, and told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from runner.actions import Actions, Done, Retry
from runner.cli.asking import agreed
from runner.cli.choosing import called, cause_called, numbers, those
from runner.cli.general import General
from runner.cli.session import Session
from runner.cli.words import amounts, count, plain, prose, typed
from runner.errors import UsageError
from runner.job import Job, State
from runner.store.folder import StateFolder
from runner.store.reader import Reader, reading

_NAMES = 5
_CANCELLABLE = (State.QUEUED, State.RUNNING)


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a doubt is to end: exactly one of these."""

    adopt: str | None = None
    lost: bool = False
    paid: bool = False
    resubmit: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Which jobs were meant: by name, or by batch and cause. `every` was typed as --all."""

    names: Sequence[str] = ()
    batch: str | None = None
    cause: str | None = None
    every: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing was said."""
        return not self.names and self.batch is None and self.cause is None


def resolve(general: General, choice: Choice, how: Settlement, *, yes: bool) -> int:
    """Settle doubts; returns the exit code.

    Raises:
        UsageError: it isn't clear what is to be done with which jobs; nothing was changed.
    """
    session = Session(general)
    if sum((how.adopt is not None, how.lost, how.paid, how.resubmit)) != 1:
        raise UsageError("choose one of --adopt, --lost, --paid and --resubmit")
    jobs = _doubtful(session, choice)
    actions = Actions(session.settings, session.clock)
    if how.adopt is not None:
        if len(jobs) != 1:
            raise UsageError("--adopt is for one job: an id belongs to one. Name the job")
        return _tell(session, [asyncio.run(actions.adopt(jobs[0], how.adopt))])
    if how.resubmit and jobs:
        cost = _cost(actions, jobs)
        text = f"{count(len(jobs), 'job')}, {cost}, and perhaps paid twice: nobody knows whether the first was taken"
        if not agreed(session, text, yes=yes):
            return 0
    work = actions.lost if how.lost else actions.paid if how.paid else actions.resubmit
    return _tell(session, asyncio.run(work(jobs)))


def _doubtful(session: Session, choice: Choice) -> list[Job]:
    """The jobs that a settlement is for: those that were named, or with --all those that no run looks up."""
    if bool(choice.names) == choice.every:
        raise UsageError("name the jobs, or write --all (with --batch NAME for one batch only)")
    with reading(StateFolder(session.settings.state)) as reader:
        if reader is None:
            raise _no_jobs(session)
        if choice.names:
            return those(reader, choice.names)
        held = reader.in_doubt(numbers(reader, choice.batch))
    return [job for job in held if job.due_at is None]


def retry(general: General, choice: Choice, *, buy: bool, yes: bool) -> int:
    """Queue failed and cancelled jobs again; returns the exit code.

    Raises:
        UsageError: it isn't clear which jobs are meant; nothing was changed.
    """
    session = Session(general)
    if choice.empty:
        raise UsageError(
            "say which: name jobs, or write --cause CAUSE or --batch BATCH. runner jobs --state failed lists them"
        )
    with reading(StateFolder(session.settings.state)) as reader:
        if reader is None:
            raise _no_jobs(session)
        jobs = _retried(reader, choice)
    actions = Actions(session.settings, session.clock)
    plan = actions.plan_retry(jobs, buy=buy)
    text = _priced(actions, plan)
    if plan.bought:
        if not agreed(session, text, yes=yes):
            return 0
    elif plan.fetched and not session.out.quiet:
        session.out.say(text)
    return _tell(session, asyncio.run(actions.retry(plan)))


def _retried(reader: Reader, choice: Choice) -> list[Job]:
    """The jobs that a retry is for. What was cancelled is retried when it is named, or by its cause."""
    if choice.names:
        return those(reader, choice.names)
    cause = cause_called(choice.cause)
    states = (State.FAILED,) if cause is None else (State.FAILED, State.CANCELLED)
    return list(reader.jobs(numbers(reader, choice.batch), states, cause))


def cancel(general: General, choice: Choice, *, queued: bool) -> int:
    """Give jobs up; returns the exit code.

    Raises:
        UsageError: it isn't clear which jobs are meant; nothing was changed.
    """
    session = Session(general)
    if choice.empty and not queued:
        raise UsageError("say which: name jobs, or write --batch BATCH or --queued")
    with reading(StateFolder(session.settings.state)) as reader:
        if reader is None:
            raise _no_jobs(session)
        if choice.names:
            jobs = those(reader, choice.names)
        else:
            jobs = list(reader.jobs(numbers(reader, choice.batch), _CANCELLABLE))
    if queued:
        jobs = [job for job in jobs if job.state is State.QUEUED]
    return _tell(session, asyncio.run(Actions(session.settings, session.clock).cancel(jobs)))


def _no_jobs(session: Session) -> UsageError:
    return UsageError(
        f"{session.state} holds no jobs yet. Begin with: {session.command('run MANIFEST')}"
    )


def _priced(actions: Actions, plan: Retry) -> str:
    """`3 jobs, about 1.05 USD; 2 more are fetched again free of charge`."""
    bought = f"{count(len(plan.bought), 'job')}, {_cost(actions, plan.bought)}"
    number = len(plan.fetched)
    are = "is" if number == 1 else "are"
    free = f"{are} fetched again free of charge"
    if not plan.bought:
        return f"{count(number, 'job')} {free}"
    return f"{bought}; {number:,} more {free}" if number else bought


def _cost(actions: Actions, jobs: Sequence[Job]) -> str:
    money, unknown = actions.price_of(jobs)
    if not money:
        return "price not known"
    about = f"about {amounts(money)}"
    return f"{about} and {count(unknown, 'job')} without a known price" if unknown else about


def _tell(session: Session, done: Sequence[Done]) -> int:
    """Say what became of the jobs and what to type next; 3 where some were left as they were."""
    out = session.out
    if out.json:
        out.records(_facts(each) for each in done)
    piles: dict[tuple[bool, str], list[Done]] = {}
    for each in done:
        piles.setdefault((each.changed, each.note), []).append(each)
    for (changed, note), pile in piles.items():
        if not changed or not out.quiet:
            style = "" if changed else "yellow"
            for line in prose(f"{_who(pile)}: {plain(note)}", 0, out.width):
                out.say(line, style=style)
    if not done and not out.quiet:
        out.say("No such jobs.")
    if any(each.changed for each in done) and not out.quiet:
        first, *rest = typed(session.command(_next(session, done)), 9, out.width)
        out.say(f"Next     {first.strip()}", *rest)
    return 0 if all(each.changed for each in done) else 3


def _who(pile: Sequence[Done]) -> str:
    names = ", ".join(called(each.job) for each in pile[:_NAMES])
    if len(pile) == 1:
        return names
    return f"{count(len(pile), 'job')} ({names}{', …' if len(pile) > _NAMES else ''})"


def _next(session: Session, done: Sequence[Done]) -> str:
    if any(not each.state.ended or each.job.due_at is not None for each in done if each.changed):
        return "resume"
    with reading(StateFolder(session.settings.state)) as reader:
        doubtful = reader is not None and reader.in_doubt(numbers(reader, None))
    return "resolve" if doubtful else "status"


def _facts(done: Done) -> dict[str, object]:
    return {
        "type": "decision",
        "batch": done.job.spec.batch,
        "id": done.job.spec.id,
        "state": done.state.value,
        "changed": done.changed,
        "note": done.note,
    }
