"""The live table: providers by states, a progress line, and what each provider waits for."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runner.causes import Cause
from runner.cli.lines import Silent, trouble_line
from runner.cli.progress import Progress, trouble
from runner.cli.session import Session
from runner.cli.words import plain
from runner.events import Event
from runner.job import Job, State

_SHOWN = (
    (State.QUEUED, "queued", ""),
    (State.SUBMITTING, "sending", ""),
    (State.RUNNING, "running", "cyan"),
    (State.READY, "fetching", "cyan"),
    (State.DONE, "done", "green"),
    (State.IN_DOUBT, "in doubt", "yellow"),
    (State.FAILED, "failed", "red"),
    (State.CANCELLED, "cancelled", ""),
)
_SOMETIMES = frozenset({State.IN_DOUBT, State.CANCELLED})


class LiveTable(Silent):
    """Drawn over and over at the foot of the terminal; failures stay above it."""

    every = 0.25

    def __init__(self, session: Session) -> None:
        self._out = session.out
        self._columns = {state for state, _, _ in _SHOWN} - _SOMETIMES
        self._live = Live(
            console=self._out.console, auto_refresh=False, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def begin(self, progress: Progress) -> None:
        """Draw the first table."""
        self._out.live = True
        self._live.start()
        self.tick(progress)

    def happened(self, job: Job, event: Event) -> None:
        """Put what went wrong above the table."""
        kind = trouble(job, event)
        if kind is not None:
            style = "red" if kind == "failed" else "yellow"
            self._out.say(Text(trouble_line(kind, job), style=style))

    def held(self, provider: str, cause: Cause, detail: str) -> None:
        """Put above the table that a provider refuses us."""
        text = f": {plain(detail, 200)}" if detail else ""
        self._out.say(Text(f"held       {provider}  {cause}{text}", style="yellow"))

    def tick(self, progress: Progress) -> None:
        """Draw the table as it is now."""
        # A column that was needed once stays, so that the table doesn't jump.
        self._columns |= {state for state, number in progress.counts.items() if number}
        self._live.update(drawn(progress, self._columns), refresh=True)

    def end(self) -> None:
        """Take the table away: the summary follows."""
        self._live.stop()
        self._out.live = False


def drawn(progress: Progress, columns: set[State]) -> RenderableType:
    """Draw one moment."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("provider", no_wrap=True, min_width=_widest(progress))
    shown = [each for each in _SHOWN if each[0] in columns]
    for _, word, _ in shown:
        table.add_column(word, justify="right", no_wrap=True, min_width=len(word))
    for lane in progress.lanes:
        cells = [_number(lane.counts.get(state, 0), style) for state, _, style in shown]
        table.add_row(Text(lane.name), *cells)
    return Group(Text(), table, Text(), _bar(progress), Text(), *_limits(progress))


def _widest(progress: Progress) -> int:
    return min(24, max((len(lane.name) for lane in progress.lanes), default=0))


def _limits(progress: Progress) -> Iterable[Text]:
    """What each provider's next submit waits for."""
    for lane in progress.lanes:
        style = "yellow" if lane.held is not None else "dim"
        text = f"{lane.name:<{max(8, _widest(progress))}}  {lane.why}"
        yield Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _number(number: int, style: str) -> Text:
    return Text(f"{number:,}", style=style) if number else Text("·", style="dim")


def _bar(progress: Progress) -> Text:
    """The progress line behind a short bar that keeps its width."""
    width = 12
    total = max(1, progress.total)
    good = width * progress.of(State.DONE) // total
    bad = min(width - good, -(-width * progress.of(State.FAILED, State.CANCELLED) // total))
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("━" * good, style="green")
    text.append("━" * bad, style="red")
    text.append("━" * (width - good - bad), style="bright_black")
    text.append(f"  {progress.short}", style="bold")
    return text
