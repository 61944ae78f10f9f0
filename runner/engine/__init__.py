"""When: takes due jobs, runs their step, records the event."""

from __future__ import annotations

from runner.engine.engine import Engine
from runner.engine.options import Ending, Options, Stopped

__all__ = ["Ending", "Engine", "Options", "Stopped"]
