"""The morning report: how batches stand, why jobs failed, what needs a person, and what to type next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from rich.text import Text

from runner.causes import Cause
from runner.cli.piles import explained, piled
from runner.cli.session import Session
from runner.cli.words import amounts, count, duration, plain, recent, shell, typed
from runner.job import State
from runner.report import BatchReport, Report, needs_person
from runner.store.reader import Group

_RESOLVED = frozenset({Cause.ANSWER_LOST, Cause.LOST_REMOTE})


class Ending(Protocol):
    """What a summary needs to know of how a run ended."""

    @property
    def stopped(self) -> str:
        """Why it ended."""

    @property
    def held(self) -> dict[str, Cause]:
        """Providers that refuse us, and why."""

    @property
    def over_budget(self) -> tuple[str, ...]:
        """Batches whose next job does not fit the budget."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The run that a summary follows, with how long it took (seconds)."""

    ending: Ending
    seconds: float
    exit_code: int


def summarize(session: Session, report: Report, ran: Ran | None = None) -> None:
    """Print a report: after a run (`ran`), or of what is in the state folder."""
    out = session.out
    if out.json:
        out.record(as_json(session, report, ran))
        return
    if out.quiet and ran is not None:
        if ran.exit_code:
            out.say(*_for_a_person(session, report, ran))
        return
    if not report.batches:
        out.say("Nothing to resume: every batch is finished.")
    for number, batch in enumerate(report.batches):
        if number:
            out.say()
        out.say(*_batch(session, batch, ran if len(report.batches) == 1 else None))
    foot = [*_all(report, ran), *_foot(session, report, ran)]
    if foot:
        out.say(*foot)


def as_json(session: Session, report: Report, ran: Ran | None) -> dict[str, object]:
    """The same as plain values."""
    facts: dict[str, object] = {
        "type": "summary",
        "state": str(session.state),
        "outputs": str(session.state / "outputs"),
        "batches": [
            {**batch.as_json(), "ended": batch.ended, "outputs": _outputs(session, batch)}
            for batch in report.batches
        ],
        "needs_person": report.needs_person,
        "next": next_command(session, report, ran),
    }
    if ran is not None:
        facts |= {
            "exit_code": ran.exit_code,
            "seconds": round(ran.seconds, 1),
            "stopped": str(ran.ending.stopped),
            "held": {name: cause.value for name, cause in ran.ending.held.items()},
            "over_budget": list(ran.ending.over_budget),
        }
    return facts


def next_command(session: Session, report: Report, ran: Ran | None = None) -> str | None:
    """What to type next, in one line; None where there is nothing to do."""
    if ran is not None and ran.ending.held:
        return session.command("resume")
    if _example(report, lambda group: needs_person(group) and _to_resolve(group)):
        return session.command("resolve")
    if ran is not None and ran.ending.over_budget:
        return session.command(f"run {shell(plain(_manifest(report, ran)))}")
    bad = _example(report, needs_person)
    if bad is None and any(batch.movable for batch in report.batches):
        return session.command("resume")
    if bad is None and report.count(State.FAILED) > 1:
        return session.command("jobs --state failed")
    bad = bad or _example(report, lambda group: group.state is State.FAILED)
    return None if bad is None else session.command(f"show {bad}")


def _to_resolve(group: Group) -> bool:
    return group.state is State.IN_DOUBT or group.cause in _RESOLVED


def _manifest(report: Report, ran: Ran) -> str:
    """The manifest whose budget is used up."""
    names = ran.ending.over_budget
    found = (each.batch.manifest for each in report.batches if each.batch.name in names)
    return next(found, "MANIFEST")


def _example(report: Report, wanted: Callable[[Group], bool]) -> str | None:
    """One job of the largest pile of such jobs, as `show` takes it."""
    for batch in report.batches:
        for pile in piled(group for group in batch.groups if wanted(group)):
            return shell(f"{plain(batch.batch.name)}/{plain(pile.example)}")
    return None


def _batch(session: Session, batch: BatchReport, ran: Ran | None) -> Iterable[Text]:
    yield _head(session, batch, ran)
    yield _counts(batch)
    yield from _money(batch)
    failed = piled(group for group in batch.groups if group.state is State.FAILED)
    if failed:
        yield Text("Failures by cause", style="bold")
        yield from explained(session, batch, failed, "red")
    person = piled(
        group for group in batch.groups if needs_person(group) and group.state is not State.FAILED
    )
    if person:
        yield Text("Needs you", style="bold")
        yield from explained(session, batch, person, "yellow")
    waiting = piled(
        group for group in batch.groups if not needs_person(group) and not group.state.ended
    )
    if waiting:
        yield Text("Waiting", style="bold")
        yield from explained(session, batch, waiting, "cyan", example=False)
    if batch.counts.get(State.DONE):
        yield Text(f"Outputs  {plain(_outputs(session, batch))}")


def _head(session: Session, batch: BatchReport, ran: Ran | None) -> Text:
    finished = "finished" if batch.ended else "not finished"
    text = Text.assemble(("Batch ", "bold"), (plain(batch.batch.name), "bold"), f" · {finished}")
    if ran is not None:
        text.append(f" · ran {duration(ran.seconds)} · exit {ran.exit_code}")
    elif batch.ended and batch.span is not None:
        first, last = batch.span
        text.append(f" {recent(last, session.clock.now())} · ran {duration(last - first)}")
    return text


def _counts(batch: BatchReport) -> Text:
    counts = batch.counts
    text = Text("  ")
    text.append(f"{counts.get(State.DONE, 0):,} of {batch.total:,} done", style="green")
    person = batch.needs_person
    doubtful = [each for each in batch.groups if each.state is State.IN_DOUBT]
    asked = sum(each.count for each in doubtful if not needs_person(each))
    at_work = counts.get(State.RUNNING, 0) + counts.get(State.SUBMITTING, 0)
    for number, words, style in (
        (counts.get(State.FAILED, 0), "failed", "red"),
        (person, "need you" if person > 1 else "needs you", "yellow"),
        (asked, "looked up at the provider", "cyan"),
        (counts.get(State.QUEUED, 0), "queued", ""),
        (at_work, "at the provider", "cyan"),
        (counts.get(State.READY, 0), "to download", "cyan"),
        (counts.get(State.CANCELLED, 0), "cancelled", ""),
        (batch.orphaned, "no longer in the manifest", "dim"),
    ):
        if number:
            text.append("   ")
            text.append(f"{number:,} {words}", style=style)
    if batch.left is not None:
        text.append(f"   about {duration(batch.left)} left")
    return text


def _all(report: Report, ran: Ran | None) -> Iterable[Text]:
    """One line over several batches."""
    if ran is None or len(report.batches) < 2:
        return
    done, total = report.count(State.DONE), report.total
    yield Text()
    yield Text(
        f"{count(len(report.batches), 'batch', 'batches')} · {done:,} of {total:,} done · "
        f"ran {duration(ran.seconds)} · exit {ran.exit_code}",
        style="bold",
    )


def _money(batch: BatchReport) -> Iterable[Text]:
    if not batch.spent and not batch.unpriced:
        return
    text = Text(f"  spent {_spent(batch)}")
    if batch.in_doubt:
        text.append(f"   in doubt: up to {amounts(batch.in_doubt)}", style="yellow")
    if batch.unpriced:
        text.append(f"   {count(batch.unpriced, 'submit')} without a known price")
    yield text


def _spent(batch: BatchReport) -> str:
    """`18.40 of 25.00 USD`."""
    spent = amounts(money for money in batch.spent if money.micros) or "nothing"
    budget = batch.batch.budget
    if budget is None:
        return spent
    number, _, currency = spent.partition(" ")
    return f"{number if currency == budget.currency else spent} of {budget}"


def _outputs(session: Session, batch: BatchReport) -> str:
    folder = session.state / "outputs" / batch.batch.name
    return str(folder if folder.is_dir() else session.state / "outputs")


def _foot(session: Session, report: Report, ran: Ran | None) -> Iterable[Text]:
    for name, cause in (ran.ending.held if ran else {}).items():
        yield Text(f"{name} refuses us: {_why(cause)}", style="yellow")
    for name in ran.ending.over_budget if ran else ():
        yield Text(f"{plain(name)}: {_why(Cause.BUDGET)}", style="yellow")
    command = next_command(session, report, ran)
    if command is not None:
        first, *rest = typed(command, 9, session.out.width)
        yield Text.assemble(("Next     ", "bold"), first.strip())
        yield from map(Text, rest)


def _why(cause: Cause) -> str:
    """What a cause means, and what has to be done before the command that `Next` names."""
    return f"{cause.explanation}. First {cause.fix.partition(', then: ')[0]}"


def _for_a_person(session: Session, report: Report, ran: Ran) -> Iterable[Text]:
    """What a bad night says under `-q`: only the bad part."""
    disk = ran.ending.stopped == "disk"
    for batch in report.batches:
        bad = [
            group
            for group in batch.groups
            if group.state is State.FAILED
            or needs_person(group)
            or (disk and group.cause == Cause.DISK_FULL)
        ]
        if bad or not batch.ended:
            yield _head(session, batch, ran)
            yield _counts(batch)
            yield from explained(session, batch, piled(bad), "")
    yield from _foot(session, report, ran)
