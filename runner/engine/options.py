"""What a run is told, and what it says when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from runner.causes import Cause


@dataclass(frozen=True, slots=True)
class Options:
    """How a run behaves. Durations in seconds, `until` in Unix seconds.

    `limit` caps the submits of this run; `attempts` the paid attempts of a job; `settle` is how long after a submit
    was lost "no such job" is believed; `drain` how long a stop waits for downloads; `heartbeat` how long the
    loop sleeps at most, so that a suspended machine is noticed.
    """

    until: float | None = None
    limit: int | None = None
    attempts: int = 2
    downloads: int = 8
    polls: int = 64
    drain: float = 30.0
    settle: float = 30.0
    send_within: float = 30.0
    heartbeat: float = 30.0


class Stopped(StrEnum):
    """Why a run ended."""

    NOTHING_LEFT = "nothing_left"
    SIGNAL = "signal"
    TIME = "time"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: why, which providers are held and by what, which batches reached their budget."""

    stopped: Stopped
    submits: int = 0
    held: dict[str, Cause] = field(default_factory=dict)
    over_budget: tuple[str, ...] = ()
