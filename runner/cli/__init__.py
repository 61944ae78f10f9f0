"""The command line: what people type and what they read."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import NoReturn

from runner.cli.commands import app
from runner.cli.general import begin

__all__ = ["app", "main"]

_NEW_OBJECTS = 100_000
"""So many are made by imports, and all of them stay: to look for garbage among them took a tenth of a run's start."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    gc.set_threshold(_NEW_OBJECTS)
    general = begin()
    try:
        app(args=None if argv is None else list(argv), prog_name="runner", obj=general)
    except Exception as error:  # noqa: BLE001 - the last place that can say something useful
        from runner.cli.errors import exit_code_for  # noqa: PLC0415 - most commands go well

        code = exit_code_for(general.out, error)
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    else:
        code = 0
    general.out.flush()
    sys.exit(code)
