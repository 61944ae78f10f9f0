"""What every command has at hand: where things are, the clock, and where to print."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from runner.cli.general import General
from runner.clock import Clock
from runner.errors import RunnerError
from runner.settings import Settings


class Session:
    """One command at work; its settings are resolved when they are first needed."""

    def __init__(self, general: General) -> None:
        self.clock = Clock()
        self.out = general.out
        self.state = general.folder
        self.command = general.command
        self._general = general
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """Where things are.

        Raises:
            UsageError: the providers file that was named is not there.
        """
        if self._settings is None:
            self._settings = Settings.resolve(
                os.environ, Path(), self.state, self._general.providers
            )
            self.out.mask_with(self._settings.redactor.mask)
            _learn_keys(self._settings)
        return self._settings


def _learn_keys(settings: Settings) -> None:
    """Read every key that is there once, so that it is masked wherever a server echoed it."""
    with suppress(RunnerError):
        for provider in settings.providers().values():
            with suppress(RunnerError):
                if provider.auth.needs_key:
                    settings.keys.find(provider.auth)
