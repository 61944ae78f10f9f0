"""The general options, as they were typed, and where to print."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from runner.cli.logs import log_to
from runner.cli.out import Out

DEFAULT_STATE = "state"


@dataclass(slots=True)
class General:
    """What stands before or after every command."""

    out: Out
    state: Path | None = None
    providers: Path | None = None

    def command(self, text: str) -> str:
        """A command as it has to be typed for the same state folder and providers file: what was typed is repeated."""
        options = ""
        if self.state is not None and self.state != _usual_state():
            options += f" --state {shlex.quote(str(self.state))}"
        if self.providers is not None:
            options += f" --providers {shlex.quote(str(self.providers))}"
        return f"runner{options} {text}"

    @property
    def folder(self) -> Path:
        """The state folder."""
        return self.state or _usual_state()


def _usual_state() -> Path:
    return Path(os.environ.get("RUNNER_STATE") or DEFAULT_STATE)


def begin() -> General:
    """Take hold of the streams; what the libraries log goes to stderr from now on."""
    general = General(Out())
    log_to(general.out)
    return general
