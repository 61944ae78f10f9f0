"""`resolve` without a decision: what is in doubt, with all that somebody needs who looks for it at the provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rich.text import Text

from runner.budget import Money
from runner.cli.choosing import called, numbers, those
from runner.cli.general import General
from runner.cli.session import Session
from runner.cli.words import amounts, count, plain, prose, shell, typed, zoned
from runner.errors import UsageError
from runner.job import Job, State
from runner.providers import Provider, speaks_kling
from runner.store.folder import StateFolder
from runner.store.reader import Reader, reading

SHOWN = 10
"""Jobs that are shown in full when none was named."""
_ADRIFT = (
    120.0  # seconds after the right to send has ended: by then even a live runner has its answer
)
_WAYS = (
    ("it is there", "--adopt REMOTE_ID"),
    ("it is not: send it again", "--lost"),
    ("billed, and no clip", "--paid"),
)


@dataclass(frozen=True, slots=True)
class Doubt:
    """One job in doubt: its last attempt, and who sells it (None: not declared any more)."""

    job: Job
    attempt: Mapping[str, Any]
    provider: Provider | None

    @property
    def held(self) -> bool:
        """Whether no run looks it up."""
        return self.job.due_at is None

    @property
    def sent_at(self) -> float | None:
        """When the request was sent (Unix seconds)."""
        at = self.attempt.get("intended_at")
        return None if at is None else at / 1000

    @property
    def price(self) -> Money | None:
        """What is at stake."""
        micros = self.attempt.get("price_micros")
        return None if micros is None else Money(micros, self.attempt["currency"] or "USD")

    @property
    def host(self) -> str:
        """Where it was sent."""
        base = self.provider.base_url if self.provider else ""
        return urlsplit(base).netloc or "an address that is not declared any more"

    @property
    def hint(self) -> str:
        """What to look for at the provider."""
        job, remote = self.job, self.job.remote
        if job.state is State.RUNNING and remote is not None:
            return (
                f"{remote.id}: it was accepted, and the provider says now that it does not know it"
            )
        kling = self.provider is not None and speaks_kling(job.spec.model)
        if kling and self.provider is not None and self.provider.kling.external_id:
            return f"a task whose external_task_id is {self.attempt.get('client_ref', '')}"
        when = f" about {zoned(self.sent_at)}" if self.sent_at else ""
        return f"a request to {job.spec.model}{when}, in the account's request history or task log"


def doubts(general: General, names: Sequence[str], batch: str | None) -> None:
    """Print what is in doubt.

    Raises:
        UsageError: there is no such job or batch, or a job is not in doubt.
    """
    session = Session(general)
    with reading(StateFolder(session.settings.state)) as reader:
        found = [] if reader is None else _found(session, reader, names, batch)
        adrift = 0 if reader is None else reader.adrift(session.clock.now() - _ADRIFT)
    if session.out.json:
        session.out.records(_facts(session, doubt) for doubt in found)
        return
    for doubt in found if names else found[:SHOWN]:
        session.out.say(*_shown(session, doubt), "")
    session.out.say(*_foot(session, found, adrift, all_shown=bool(names)))


def _found(
    session: Session, reader: Reader, names: Sequence[str], batch: str | None
) -> list[Doubt]:
    jobs = reader.in_doubt(numbers(reader, batch))
    if names:
        known = {job.number for job in jobs}
        jobs = those(reader, names)
        for job in jobs:
            if job.number not in known:
                raise UsageError(f"{called(job)} is {job.state}, not in doubt")
    providers = session.settings.providers()
    return [
        Doubt(job, (reader.attempts(job.number) or [{}])[-1], providers.get(job.provider))
        for job in jobs
    ]


def _shown(session: Session, doubt: Doubt) -> Iterable[Text]:
    job, width = doubt.job, session.out.width
    state = "in doubt" if job.state is State.IN_DOUBT else "lost by the provider"
    later = "" if doubt.held else ", the next run looks it up"
    yield Text.assemble((called(job), "bold"), f"  {state}{later}")
    for name, value in {
        "sent": f"{zoned(doubt.sent_at)}, attempt {job.attempt}" if doubt.sent_at else "not known",
        "provider": f"{job.provider} at {doubt.host}",
        "model": job.spec.model,
        "reference": str(doubt.attempt.get("client_ref", "")),
        "digest": str(doubt.attempt.get("digest", "")),
        "prompt": plain(job.spec.prompt.replace("\n", " "), 80),
        "price": str(doubt.price or "not known"),
        "came back": f"“{plain(job.detail, 300)}”" if job.detail else "",
        "look for": doubt.hint,
    }.items():
        if value:
            first, *rest = prose(plain(value), 13, width)
            yield Text.assemble((f"  {name:<11}", "dim"), first.strip())
            yield from map(Text, rest)
    for words, command in _commands(session, job):
        first, *rest = typed(command, 28, width)
        yield Text(f"  {words:<24}  {first.strip()}")
        yield from map(Text, rest)


def _commands(session: Session, job: Job) -> list[tuple[str, str]]:
    name = shell(called(job))
    return [(words, session.command(f"resolve {name} {option}")) for words, option in _WAYS]


def _foot(
    session: Session, found: Sequence[Doubt], adrift: int, *, all_shown: bool
) -> Iterable[Text]:
    if adrift:
        how = session.command("resume")
        yield Text(f"{count(adrift, 'job')} in the air when the runner ended. First type: {how}")
    if not found:
        yield Text("Nothing is in doubt." if not adrift else "Nothing else is in doubt.")
        return
    if len(found) > SHOWN and not all_shown:
        more = session.command("jobs --cause answer_lost")
        yield Text(f"… and {len(found) - SHOWN:,} more: {more}")
    stake = amounts(_stakes(found))
    total = f"{count(len(found), 'job')} in doubt" + (f", up to {stake}" if stake else "")
    again = session.command("resolve JOB --resubmit")
    yield Text(f"{total}. To send one again although it may be paid twice: {again}")
    if len(found) > 1:
        many = session.command("resolve --batch BATCH --all --lost")
        yield Text(f"All of a batch at once: {many} (or --paid, --resubmit)")


def _stakes(found: Sequence[Doubt]) -> list[Money]:
    sums: dict[str, Money] = {}
    for doubt in found:
        price = doubt.price
        if price is not None:
            before = sums.get(price.currency)
            sums[price.currency] = price if before is None else before + price
    return list(sums.values())


def _facts(session: Session, doubt: Doubt) -> dict[str, object]:
    job = doubt.job
    return {
        "type": "doubt",
        "batch": job.spec.batch,
        "id": job.spec.id,
        "key": job.spec.key,
        "state": job.state.value,
        "cause": job.cause.value if job.cause else None,
        "held": doubt.held,
        "sent_at": doubt.sent_at,
        "attempt": job.attempt,
        "provider": job.provider,
        "host": doubt.host,
        "model": job.spec.model,
        "remote_id": job.remote.id if job.remote else None,
        "reference": doubt.attempt.get("client_ref"),
        "digest": doubt.attempt.get("digest"),
        "prompt": job.spec.prompt,
        "price": str(doubt.price) if doubt.price else None,
        "detail": job.detail,
        "look_for": doubt.hint,
        "commands": [command for _, command in _commands(session, job)],
    }
