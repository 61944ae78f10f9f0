"""One life of the application inside a process of its own, which may be ended at any moment."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import runner.app
from runner.app import App
from runner.clock import Clock
from runner.engine import Options
from runner.settings import Settings
from tests.crash.traps import Place, Trap, TrappedFiles, TrappedHttp, TrappedStore, Way

SPEED = 40.0
BLOWN, CANCELLED = 97, 98  # exit codes of a life that ended as its trap wanted


class SharedClock(Clock):
    """Time that runs `SPEED` times faster, the same in every process that is told the same beginning."""

    def __init__(self, begin: float) -> None:
        self.begin = begin

    def now(self) -> float:
        """Unix seconds, running ahead."""
        return self.begin + (time.time() - self.begin) * SPEED

    def monotonic(self) -> float:
        """The same."""
        return self.now()

    async def sleep(self, seconds: float) -> None:
        """Wait, faster."""
        await super().sleep(seconds / SPEED)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait, faster."""
        return await super().wait(event, seconds / SPEED)


@dataclass(frozen=True, slots=True)
class Life:
    """What a process is told: where to work, and where to end. `operation` counts SQL statements and file calls."""

    folder: str
    providers: str
    begin: float
    place: str = ""
    way: str = "kill"
    operation: int = 0
    schema: int = 0

    def dump(self) -> bytes:
        """As one line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Life:
        """From that line."""
        return cls(**json.loads(line))


def settings_of(folder: Path, providers: Path) -> Settings:
    """The settings of a cell: its own state, the simulator's providers and keys, nothing from outside."""
    return Settings.resolve({}, folder, folder / "state", providers, folder / "no-config")


def live(life: Life) -> int:
    """Run the cell's manifest until it ends or is ended; returns what the process exits with."""
    trap = Trap(Place(life.place) if life.place else None, Way(life.way))
    parts: dict[str, Callable[..., Any]] = {
        "SqliteStore": TrappedStore, "Http": TrappedHttp, "Files": TrappedFiles
    }  # fmt: skip
    for name, part in parts.items():
        setattr(runner.app, name, partial(part, trap))
    folder = Path(life.folder)
    app = App(settings_of(folder, Path(life.providers)), SharedClock(life.begin))

    async def run() -> int:
        trap.task = asyncio.current_task()
        outcome = await app.run([folder / "cell.yaml"], Options(settle=1.0))
        return outcome.exit_code

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        return CANCELLED
    except Exception:
        traceback.print_exc()
        return BLOWN
