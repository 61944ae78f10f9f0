"""Asking before something is done that costs money."""

from __future__ import annotations

import sys

from runner.cli.session import Session
from runner.errors import UsageError


def agreed(session: Session, text: str, *, yes: bool) -> bool:
    """Say what it costs, and ask whether to go on; `yes` was said on the command line already.

    Raises:
        UsageError: nobody is there who could be asked; nothing was changed.
    """
    out = session.out
    if yes:
        if not out.quiet:
            out.say(text)
        return True
    if out.json or sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{text}. Nothing was changed. Add --yes to do it without being asked")
    out.note(f"{text}. Go on? [y/N]")
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    out.note("Nothing was changed.")
    return False
