"""A server that speaks like the real providers, keeps a ledger, and misbehaves on demand.

It shares no code with the rest of the package, so that it can bear witness: a mistake in how the
runner reads a protocol is not repeated here.
"""

from __future__ import annotations

from .faults import Fault
from .kinds import KINDS
from .ledger import Ledger
from .server import Simulator
from .settings import Latency, RateLimit, Settings
from .systems import SYSTEMS, System
from .task import Task
from .world import LogEntry

__all__ = [
    "KINDS",
    "SYSTEMS",
    "Fault",
    "Latency",
    "Ledger",
    "LogEntry",
    "RateLimit",
    "Settings",
    "Simulator",
    "System",
    "Task",
]
