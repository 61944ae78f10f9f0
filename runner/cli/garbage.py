"""How often the interpreter looks for garbage: hardly while modules are imported, since all that they make stays."""

from __future__ import annotations

import gc

_USUAL = gc.get_threshold()
_RARE = 100_000
"""New objects between two looks; with the usual number they took a tenth of the time to a run's first request."""


def rarely() -> None:
    """For the start, and for commands that are over soon."""
    gc.set_threshold(_RARE)


def usually() -> None:
    """For what lasts: a download that breaks leaves its last bytes in a cycle. What is here already isn't looked at."""
    if not gc.get_freeze_count():
        gc.freeze()
    gc.set_threshold(*_USUAL)
