"""`run` and `resume`: starts an engine, shows it, and says how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.app import App, Outcome
from runner.budget import Money
from runner.cli import garbage
from runner.cli.display import Display, Watch
from runner.cli.general import General
from runner.cli.lines import JsonLines, Lines, Silent
from runner.cli.session import Session
from runner.cli.signals import Stopper
from runner.cli.summary import Ran, summarize
from runner.cli.words import count, plain
from runner.engine import Options, Stopped
from runner.errors import StoreLocked, UsageError
from runner.job import State
from runner.limits import parse_duration

Work = Callable[[App, Watch], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was typed for a run."""

    until: str | None = None
    max_duration: str | None = None
    budget: str | None = None
    limit: int | None = None
    max_jobs: int | None = None
    skip: bool = False

    def options(self, now: float) -> Options:
        """The same for the engine.

        Raises:
            UsageError: a time or a duration can't be read.
        """
        ends = [] if self.until is None else [next_moment(self.until, now)]
        if self.max_duration is not None:
            ends.append(now + _seconds(self.max_duration))
        return Options(until=min(ends, default=None), limit=self.limit)

    @property
    def money(self) -> Money | None:
        """The budget of the run.

        Raises:
            UsageError: it isn't an amount with a currency.
        """
        if self.budget is None:
            return None
        try:
            money = Money.parse(self.budget)
        except ValueError as error:
            raise UsageError(f"--budget: {error}") from None
        if money.micros <= 0:
            raise UsageError("--budget has to be more than nothing. Write --budget '25 USD'")
        return money


def next_moment(text: str, now: float) -> float:
    """The next time, in Unix seconds, that the clock on the wall says `07:00`.

    In the night in which clocks are set back it may say so twice; a time that is left out when they are set forward
    comes as long after midnight as on other days.

    Raises:
        UsageError: it isn't a time of day.
    """
    try:
        wanted = datetime.strptime(text.strip(), "%H:%M").time()  # noqa: DTZ007 - a time of day has no zone
    except ValueError:
        raise UsageError(f"--until {text!r} is not a time of day. Write --until 07:00") from None
    today = datetime.fromtimestamp(now, UTC).astimezone().date()
    for days in range(3):
        first = datetime.combine(today + timedelta(days=days), wanted)
        for moment in (first, first.replace(fold=1)):
            at = moment.timestamp()
            shown = datetime.fromtimestamp(at, UTC).astimezone().time()
            if at > now and (shown == wanted or not moment.fold):
                return at
    raise AssertionError(text)


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--max-duration: {error}") from None
    if seconds <= 0:
        raise UsageError("--max-duration has to be longer than nothing. Write --max-duration 6h")
    return seconds


def run(general: General, manifests: Sequence[Path], wishes: Wishes) -> int:
    """Run manifests; returns the exit code."""
    session = Session(general)
    options, budget = wishes.options(session.clock.now()), wishes.money

    def warned(text: str) -> None:
        if not session.out.quiet:
            session.out.note(plain(text), style="yellow")

    async def work(app: App, watch: Watch) -> Outcome:
        return await app.run(
            manifests, options, budget=budget, max_jobs=wishes.max_jobs,
            observer=watch.observe, started=watch.started, warned=warned,
        )  # fmt: skip

    return _conduct(session, work, wishes)


def resume(general: General, wishes: Wishes) -> int:
    """Continue every unfinished batch; returns the exit code."""
    session = Session(general)
    options, budget = wishes.options(session.clock.now()), wishes.money

    async def work(app: App, watch: Watch) -> Outcome:
        return await app.resume(
            options, budget=budget, observer=watch.observe, started=watch.started
        )

    return _conduct(session, work, wishes)


def _conduct(session: Session, work: Work, wishes: Wishes) -> int:
    garbage.usually()
    began = session.clock.now()
    conductor = _Conductor(session, wishes.money)
    try:
        outcome = asyncio.run(conductor.perform(work))
    except StoreLocked as error:
        if not wishes.skip:
            raise
        if session.out.verbose:
            session.out.note(plain(str(error)))
        return 0
    signal = conductor.stopper.number
    if outcome is None:
        if not session.out.quiet:
            session.out.note("Stopped before anything was sent.")
        return 128 + (signal or 2)
    stopped = signal is not None and outcome.ending.stopped is Stopped.SIGNAL
    code = 128 + signal if stopped and signal is not None else outcome.exit_code
    seconds = session.clock.now() - began
    summarize(session, outcome.report, Ran(outcome.ending, seconds, code))
    return code


class _Conductor:
    """One run with its display and its signals."""

    def __init__(self, session: Session, budget: Money | None) -> None:
        self._out = session.out
        self._session = session
        self._watch = Watch(session, _display(session), budget)
        self._task: asyncio.Task[Outcome] | None = None
        self.stopper = Stopper(self._stop)

    async def perform(self, work: Work) -> Outcome | None:
        """Do the work; None where a signal came before there was an engine to stop."""
        app = App(self._session.settings, self._session.clock)
        with self.stopper.listening():
            self._task = asyncio.ensure_future(work(app, self._watch))
            try:
                return await self._task
            except asyncio.CancelledError:
                if self.stopper.number is None:
                    raise
                return None
            finally:
                await self._watch.stop()

    def _stop(self, times: int) -> None:
        engine = self._watch.engine
        if engine is None:
            if self._task is not None:
                self._task.cancel()
            return
        if not self._out.quiet:
            self._out.note(self._what_happens(times), style="yellow")
        engine.stop()

    def _what_happens(self, times: int) -> str:
        assert self._watch.engine is not None
        if times > 1:
            return "Stopping at once: submits without an answer are kept as in doubt."
        counts = self._watch.engine.board.tally
        numbers = {
            state: sum(number for (_, _, each), number in counts.items() if each is state)
            for state in State
        }
        first = [
            count(numbers[state], noun)
            for state, noun in ((State.SUBMITTING, "submit"), (State.READY, "download"))
            if numbers[state]
        ]
        parts = ["Stopping: no new submits."]
        if first:
            parts.append(f"Up to 30 s for {' and '.join(first)}.")
        if numbers[State.RUNNING]:
            parts.append(
                f"The next run fetches {count(numbers[State.RUNNING], 'job')} that the provider makes."
            )
        return " ".join([*parts, "Once more stops at once."])


def _display(session: Session) -> Display:
    out = session.out
    if out.json:
        return JsonLines(session)
    if out.quiet:
        return Silent()
    if not out.terminal:
        return Lines(session)
    from runner.cli.live import LiveTable  # noqa: PLC0415 - only a terminal needs rich's table

    return LiveTable(session)
