"""Numbers, money and times as people read them."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from runner.budget import Money
from runner.wire import excerpt


def plain(text: str, limit: int = 2_000) -> str:
    """A text that a stranger may have had a hand in: lines are kept, nothing in it steers a terminal."""
    return "\n".join(excerpt(line, limit) for line in text.splitlines())


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 job`, `2,000 jobs`, `2 batches`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def amounts(moneys: Iterable[Money]) -> str:
    """`18.40 USD + 3.00 CNY`; nothing where nothing was spent."""
    return " + ".join(str(money) for money in moneys)


def duration(seconds: float) -> str:
    """`45 s`, `2 min 10 s`, `6 h 12 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    for size, unit, smaller, inner in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {inner}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def stopwatch(seconds: float) -> str:
    """`02:10`, or `1:02:10` from an hour on."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes:02}:{whole % 60:02}"


def moment(at: float | None) -> str:
    """A time of the clock on the wall, to the second; a dash where there is none."""
    if at is None:
        return "-"
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def zoned(at: float) -> str:
    """The same with its zone, for a comparison with somebody else's clock: `2026-01-09 23:14:05 +0100`."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S %z}"


def hour(at: float) -> str:
    """`05:41`."""
    return f"{datetime.fromtimestamp(at, UTC).astimezone():%H:%M}"


def recent(at: float, now: float) -> str:
    """`05:41` today, `2026-01-09 05:41` on any other day."""
    day, today = (datetime.fromtimestamp(each, UTC).astimezone().date() for each in (at, now))
    return hour(at) if day == today else moment(at)[:16]


def columns(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Rows with their columns aligned; the last one is cut at `width` (None: never)."""
    if not rows:
        return []
    sizes = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(size) for cell, size in zip(row[:-1], sizes[:-1], strict=True)]
        line = "  ".join([*cells, row[-1]]).rstrip()
        lines.append(line if width is None else excerpt_keeping_blanks(line, width))
    return lines


def excerpt_keeping_blanks(line: str, width: int) -> str:
    """Cut a line that is already safe to show."""
    return line if len(line) <= width else line[: max(1, width - 1)] + "…"


def prose(text: str, indent: int, width: int | None) -> list[str]:
    """A sentence over as many lines as it needs, all of them indented; on one where `width` is None."""
    if width is None:
        return [" " * indent + text]
    lines = textwrap.wrap(
        text, max(30, width - indent - 1), break_long_words=False, break_on_hyphens=False
    )
    return [" " * indent + line for line in lines] or [""]


def typed(command: str, indent: int, width: int | None) -> list[str]:
    """A command to be copied: where it is too long for the terminal, in lines that a shell joins again."""
    if width is None or os.name == "nt" or len(command) + indent < width:
        return [" " * indent + command]
    first, *rest = textwrap.wrap(
        command, max(30, width - indent - 6), break_long_words=False, break_on_hyphens=False
    )
    lines = [" " * indent + first, *(" " * (indent + 4) + line for line in rest)]
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def shell(path: object) -> str:
    """A path as it has to be typed."""
    return shlex.quote(str(path))
