"""Jobs with one cause, piled up and explained: what it means, what the provider wrote, what to type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from runner.causes import Cause
from runner.cli.session import Session
from runner.cli.words import count, plain, prose, shell, typed
from runner.report import BatchReport
from runner.store.contract import Batch
from runner.store.reader import Group

_BLANKS = re.compile(r"\brunner (?=[a-z])|\bMANIFEST\b|\bJOB\b")
_EXAMPLES = 3


@dataclass(slots=True)
class Pile:
    """Jobs with one cause."""

    cause: Cause
    count: int = 0
    example: str = ""
    details: dict[str, int] = field(default_factory=dict)

    def add(self, group: Group) -> None:
        """Put jobs on it."""
        self.count += group.count
        self.example = self.example or group.example
        if group.detail:
            self.details[group.detail] = self.details.get(group.detail, 0) + group.count


def piled(groups: Iterable[Group]) -> list[Pile]:
    """Pile groups up by cause, the largest first."""
    piles: dict[Cause, Pile] = {}
    for group in groups:
        if group.cause is not None:
            cause = Cause(group.cause)
            piles.setdefault(cause, Pile(cause)).add(group)
    return sorted(piles.values(), key=lambda pile: -pile.count)


def explained(
    session: Session, batch: BatchReport, piles: Sequence[Pile], style: str, *, example: bool = True
) -> Iterable[Text]:
    """Each pile in a few lines."""
    width = session.out.width
    for pile in piles:
        yield Text.assemble(f"  {pile.count:>4,}  ", (pile.cause.value, style))
        yield from map(Text, prose(pile.cause.explanation, 8, width))
        ordered = sorted(pile.details.items(), key=lambda item: -item[1])
        for detail, number in ordered[:_EXAMPLES]:
            many = f" ({number:,} times)" if 1 < number < pile.count else ""
            for line in prose(f"“{plain(detail, 200)}”{many}", 8, width):
                yield Text(line, style="dim")
        if len(ordered) > _EXAMPLES:
            yield Text(
                f"        and {count(len(ordered) - _EXAMPLES, 'other message')}", style="dim"
            )
        if example:
            yield Text(f"        for example {plain(pile.example)}")
        yield from _how(fix_for(session, pile.cause.fix, batch.batch, pile.example), width)


def _how(fix: str, width: int | None) -> Iterable[Text]:
    """What to do; on a terminal each command stands on lines of its own, where it can be copied."""
    if width is None:
        yield Text(f"        fix: {fix}")
        return
    for number, clause in enumerate(fix.split("; ")):
        lead = "" if number else "fix: "
        words, colon, command = clause.partition(": runner ")
        yield from map(Text, prose(f"{lead}{words}{':' if colon else ''}", 8, width))
        if colon:
            yield from map(Text, typed(f"runner {command}", 10, width))


def fix_for(session: Session, fix: str, batch: Batch | None, example: str) -> str:
    """A fix with its placeholders filled in, as it has to be typed. `example` is the id of a job of the batch."""
    known = {"runner ": session.command("")}
    if batch is not None:
        known["MANIFEST"] = shell(plain(batch.manifest))
        if example:
            known["JOB"] = shell(f"{plain(batch.name)}/{plain(example)}")
    return _BLANKS.sub(lambda found: known.get(found[0], found[0]), fix)
