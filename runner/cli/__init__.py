"""The command line: what people type and what they read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from runner.cli import garbage
from runner.cli.commands import app
from runner.cli.general import begin

__all__ = ["app", "main"]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    garbage.rarely()
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
