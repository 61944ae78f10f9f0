"""What the storage tests stand on: a simulator, a manifest, and the command line as a process of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import runner
from runner.simulator import Settings, Simulator
from runner.simulator.settings import Latency

REPOSITORY = Path(runner.__file__).parents[1]
QUICK = Settings(
    queue=Latency("fixed", 0.02), run=Latency("fixed", 0.2), concurrency=500, log_limit=100_000
)
SLOW = replace(QUICK, run=Latency("fixed", 3600.0))
MODEL = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Shop:
    """A folder with a manifest, a state folder, and a providers file that leads to the simulator."""

    sim: Simulator
    folder: Path
    jobs: int

    @classmethod
    def opened(cls, sim: Simulator, folder: Path, jobs: int, provider: str = "fal") -> Shop:
        """Write the files."""
        sim.write_files(folder / "sim")
        prompts = "".join(f"  - take {number}\n" for number in range(jobs))
        (folder / "film.yaml").write_text(
            f"version: 1\nname: film\nprovider: {provider}\nmodel: {MODEL}\n"
            f"params: {{duration: 5}}\nprompts:\n{prompts}",
            "utf-8",
        )
        return cls(sim, folder, jobs)

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "state"

    def command(self, *words: str) -> list[str]:
        """A command line."""
        return [
            sys.executable, "-m", "runner", "--state", str(self.state), "--providers",
            str(self.folder / "sim" / "providers.yaml"), *words,
        ]  # fmt: skip

    def run_command(self) -> list[str]:
        """The main job."""
        return self.command("-q", "run", str(self.folder / "film.yaml"))

    async def call(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> Ended:
        """Run a command to its end; a traceback is never right."""
        process = await asyncio.create_subprocess_exec(
            *command, cwd=REPOSITORY, env={**os.environ, **(env or {})},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert b"Traceback" not in err, err.decode()
        return Ended(process.returncode or 0, out.decode(), err.decode())

    def bought(self) -> Counter[str]:
        """How often each prompt was accepted."""
        return Counter(str(task.body["prompt"]) for task in self.sim.ledger)

    def states(self, state: Path | None = None) -> Counter[str]:
        """Jobs by state."""
        return Counter(row[0] for row in query(state or self.state, "SELECT state FROM v_jobs"))

    def unintended(self, state: Path | None = None) -> set[str]:
        """Prompts that were bought without a durable intent: there must be none."""
        rows = query(state or self.state, "SELECT prompt FROM v_jobs WHERE attempts > 0")
        return set(self.bought()) - {prompt for (prompt,) in rows}


@asynccontextmanager
async def started_run(shop: Shop) -> AsyncIterator[asyncio.subprocess.Process]:
    """A run whose jobs are all known to be running; killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(*shop.run_command(), cwd=REPOSITORY)
    ended = asyncio.create_task(process.wait())
    try:
        async with asyncio.timeout(20):
            while len(shop.sim.ledger) < shop.jobs or shop.states() != {"running": shop.jobs}:
                await asyncio.wait([ended], timeout=0.02)
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await ended


def query(state: Path, sql: str) -> list[Any]:
    """Ask a state folder's database."""
    connection = sqlite3.connect(state / "runner.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@cache
def namespace() -> tuple[str, ...]:
    """How to get a mount namespace of one's own here; empty where there is no way."""
    for words in (("unshare", "-m"), ("unshare", "-Urm")):
        if shutil.which("unshare") is None or shutil.which("mount") is None:
            break
        try:
            probe = [*words, "mount", "-t", "tmpfs", "none", "/mnt"]
            if subprocess.run(probe, capture_output=True, timeout=10, check=False).returncode == 0:
                return words
        except (OSError, subprocess.SubprocessError):
            continue
    return ()


NO_NAMESPACE = "needs a mount namespace (unshare -m), which this machine does not give"
