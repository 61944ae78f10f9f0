"""What a benchmark says, and the table that it ends in."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `value` is the figure itself, mostly a ratio; `reach` what it should be.

    `high` says that more is better. `ours` and `floor` are what the ratio was made of, in words; `reach` is None where
    a figure is only told.
    """

    name: str
    what: str
    value: float
    reach: float | None = None
    further: float | None = None
    high: bool = False
    unit: str = "x"
    ours: str = ""
    floor: str = ""

    @property
    def verdict(self) -> str:
        """Whether it is reached."""
        if self.reach is None:
            return ""
        return "yes" if self._meets(self.reach) else "**no**"

    def _meets(self, wanted: float) -> bool:
        return self.value >= wanted if self.high else self.value <= wanted

    def _wanted(self) -> str:
        if self.reach is None:
            return ""
        sign = "≥" if self.high else "≤"
        more = "" if self.further is None else f" ({_number(self.further)})"
        return f"{sign} {_number(self.reach)} {self.unit}{more}"

    def row(self) -> str:
        """The line in Markdown."""
        cells = (
            self.name,
            self.what,
            f"{_number(self.value)} {self.unit}".strip(),
            self._wanted(),
            self.verdict,
        )
        return "| " + " | ".join((*cells, self.ours, self.floor)) + " |"

    def line(self) -> str:
        """The same as a line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def _number(value: float) -> str:
    if value != value or abs(value) >= 1000 or value == int(value):  # noqa: PLR0124 - NaN
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(figures: Sequence[Figure], skipped: Sequence[str], sizes: str) -> str:
    """All of them, with the machine they were taken on."""
    lines = [
        f"{machine()} {sizes}",
        "",
        "| benchmark | what | figure | reach (then try for) | reached | ours | floor |",
        "|---|---|---|---|---|---|---|",
        *(figure.row() for figure in figures),
    ]
    return "\n".join([*lines, "", *(f"Not measured: {why}" for why in skipped)]).rstrip() + "\n"


def machine() -> str:
    """Where and when."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        pass
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {model}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}."
    )
