"""What every command has at hand: where things are, the clock, and where to print."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runner.cli.logs import log_to
from runner.cli.out import Out
from runner.clock import Clock
from runner.errors import RunnerError

if TYPE_CHECKING:  # imported late, below, because `--help` should not wait for it
    from runner.settings import Settings

DEFAULT_STATE = "state"


class Session:
    """One command: its options of general use, resolved when they are first needed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.out = Out(self._mask)
        self._state: Path | None = None
        self._providers: Path | None = None
        self._settings: Settings | None = None

    @classmethod
    def start(cls) -> Self:
        """Begin; what the libraries log goes to stderr from now on."""
        session = cls()
        log_to(session.out)
        return session

    def choose(
        self, state: Path | None, providers: Path | None, *, json: bool, quiet: bool, verbose: bool
    ) -> None:
        """Take over what was typed before or after the command."""
        self._state, self._providers = state, providers
        self.out.json, self.out.quiet, self.out.verbose = json, quiet, verbose

    @property
    def settings(self) -> Settings:
        """Where things are.

        Raises:
            UsageError: the providers file that was named is not there.
        """
        if self._settings is None:
            from runner.settings import Settings  # noqa: PLC0415 - late, for a quick --help

            settings = Settings.resolve(os.environ, Path(), self._state, self._providers)
            self._settings = settings
            self._learn_keys(settings)
        return self._settings

    @property
    def state(self) -> Path:
        """The state folder."""
        return self._state or Path(os.environ.get("RUNNER_STATE") or DEFAULT_STATE)

    def command(self, text: str) -> str:
        """A command as it has to be typed for the same state folder and providers file."""
        options = ""
        if self._state is not None and self._state != Path(DEFAULT_STATE):
            options += f" --state {shlex.quote(str(self._state))}"
        if self._providers is not None:
            options += f" --providers {shlex.quote(str(self._providers))}"
        return f"runner{options} {text}"

    def _mask(self, text: str) -> str:
        return text if self._settings is None else self._settings.redactor.mask(text)

    @staticmethod
    def _learn_keys(settings: Settings) -> None:
        """Read every key that is there once, so that it is masked wherever a server echoed it."""
        with suppress(RunnerError):
            for provider in settings.providers().values():
                with suppress(RunnerError):
                    if provider.auth.needs_key:
                        settings.keys.find(provider.auth)
