"""Where text goes: results to stdout, everything else to stderr, secrets nowhere."""

# rich is imported with the first line that is printed, because `--help` prints none through here.
# ruff: noqa: PLC0415

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import IO, Any, Protocol, cast

Mask = Callable[[str], str]


class Masked(io.TextIOBase):
    """A text stream that masks secrets, and that outlives its reader: a closed pipe swallows what follows."""

    def __init__(self, stream: IO[str], mask: Mask) -> None:
        self._stream = stream
        self._mask = mask
        self.closed_by_reader = False
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal that can't show a sign gets a question mark
            reconfigure(errors="replace")

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream behind it."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether a person sits at the other end."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The number of the stream behind it."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write what may be shown."""
        self._survive(lambda: self._stream.write(self._mask(text)))
        return len(text)

    def flush(self) -> None:
        """Pass on what is buffered."""
        self._survive(self._stream.flush)

    def _survive(self, action: Callable[[], object]) -> None:
        if self.closed_by_reader:
            return
        try:
            action()
        except (OSError, ValueError):
            self.closed_by_reader = True
            self._divert()

    def _divert(self) -> None:
        """Point the descriptor at nothing, or the interpreter complains about the same pipe when it ends."""
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError):
            pass


class Styled(Protocol):
    """A line whose parts have styles, as rich's `Text`."""

    @property
    def plain(self) -> str:
        """The line without its styles."""


class Out:
    """The two streams of a command and how much it says. Texts of strangers are data: no markup is read in them."""

    def __init__(self) -> None:
        self.json = self.quiet = self.verbose = False
        self._mask: Mask = str
        self._streams = Masked(sys.stdout, self.mask), Masked(sys.stderr, self.mask)
        self.live = False

    @cached_property
    def console(self) -> Any:
        """The `Console` of rich on stdout."""
        return _console(self._streams[0])

    @cached_property
    def _errors(self) -> Any:
        return _console(self._streams[1])

    @property
    def terminal(self) -> bool:
        """Whether a table may be drawn over and over on stdout."""
        return self._streams[0].isatty() and not self.console.is_dumb_terminal

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None where there is none, so that lines stay whole for other programs."""
        return self.console.width if self.terminal else None

    def say(self, *lines: str | Styled, style: str = "") -> None:
        """Print results for a person; under `--json` nobody reads them."""
        if not self.json:
            for line in lines or ("",):
                _print(self.console, line, style)

    def note(self, line: str | Styled, style: str = "") -> None:
        """Print what is not a result: to stderr, or above the table that is being drawn."""
        _print(self.console if self.live else self._errors, line, style)

    def record(self, facts: Mapping[str, Any]) -> None:
        """Print one line of JSON."""
        stdout = self._streams[0]
        stdout.write(json.dumps(facts, ensure_ascii=False, default=str) + "\n")
        stdout.flush()

    def records(self, facts: Iterable[Mapping[str, Any]]) -> None:
        """Print lines of JSON."""
        for each in facts:
            self.record(each)

    def mask_with(self, mask: Mask) -> None:
        """Mask like this from now on."""
        self._mask = mask

    def mask(self, text: str) -> str:
        """The text without secrets."""
        return self._mask(text)

    def flush(self) -> None:
        """Pass on what is buffered."""
        for stream in self._streams:
            stream.flush()


def _console(stream: Masked) -> Any:
    from rich.console import Console

    return Console(file=cast("IO[str]", stream), markup=False, emoji=False, highlight=False)


def _print(console: Any, line: str | Styled, style: str) -> None:
    from rich.text import Text

    console.print(Text(line, style=style) if isinstance(line, str) else line, soft_wrap=True)
