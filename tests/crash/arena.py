"""Where lives are lived: one simulator for all cells, a few fork servers, and the comparison with its ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runner
from runner.simulator import Settings, Simulator, Task
from runner.simulator.settings import Latency
from tests.crash.life import Life, SharedClock

REPOSITORY = Path(runner.__file__).parents[1]
QUICK = Settings(
    queue=Latency("fixed", 0.0), run=Latency("fixed", 0.4), concurrency=5000, log_limit=0
)
FAL_MODEL = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
KLING_MODEL = "kling/v1/videos/text2video"


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider and the protocol it is asked in. `looks_up`: it can say whether it took a submit."""

    provider: str
    model: str
    looks_up: bool = False

    @property
    def name(self) -> str:
        """For test ids and prompts."""
        return f"{self.provider}-{'fal' if self.model == FAL_MODEL else 'kling'}"


PROFILES = (
    Profile("winfull", FAL_MODEL),
    Profile("quickrouter", FAL_MODEL),
    Profile("quickrouter", KLING_MODEL),
    Profile("uniapi", FAL_MODEL),
    Profile("fal", FAL_MODEL),
    Profile("kling-gateway", KLING_MODEL),
    Profile("kling", "v1/videos/text2video", looks_up=True),
)


class ForkServer:
    """A process that forks one child for each life."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def started(cls, env: Mapping[str, str]) -> AsyncIterator[ForkServer]:
        """Start one, with more in its environment; it ends with the block."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.crash.forkserver", cwd=REPOSITORY,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ, **env},
        )  # fmt: skip
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def live(self, life: Life) -> int:
        """Have a life lived; its exit code, or minus the signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(life.dump())
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        return os.waitstatus_to_exitcode(int(line))


@dataclass(frozen=True, slots=True)
class Cell:
    """One state folder with one manifest in it."""

    name: str
    profile: Profile
    folder: Path
    jobs: int = 1

    def write(self) -> None:
        """Write the manifest."""
        self.folder.mkdir(parents=True)
        kling = "" if self.profile.model == FAL_MODEL else ", model_name: kling-v2-5-turbo"
        prompts = "".join(f"  - {prompt}\n" for prompt in self.prompts)
        (self.folder / "cell.yaml").write_text(
            f"version: 1\nname: cell\nprovider: {self.profile.provider}\n"
            f"model: {self.profile.model}\nparams: {{duration: 5{kling}}}\nprompts:\n{prompts}",
            "utf-8",
        )

    @property
    def prompts(self) -> list[str]:
        """What it buys; no two cells buy the same."""
        return [f"{self.name} take {number}" for number in range(self.jobs)]

    def query(self, sql: str) -> list[Any]:
        """Ask its database."""
        connection = sqlite3.connect(self.folder / "state" / "runner.db")
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    @property
    def log(self) -> str:
        """What its processes wrote to stderr."""
        path = self.folder / "stderr.txt"
        return path.read_text("utf-8")[-3000:] if path.exists() else ""


class Arena:
    """A simulator, fork servers, and cells."""

    def __init__(
        self, root: Path, sim: Simulator, servers: Iterable[ForkServer], begin: float
    ) -> None:
        self.root, self.sim, self.begin = root, sim, begin
        self._servers: asyncio.Queue[ForkServer] = asyncio.Queue()
        for server in servers:
            self._servers.put_nowait(server)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        root: Path,
        servers: int = 2,
        settings: Settings = QUICK,
        env: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Arena]:
        """Open it under `root`."""
        begin = time.time()
        async with AsyncExitStack() as stack:
            sim = await stack.enter_async_context(Simulator(settings, clock=SharedClock(begin).now))
            sim.write_files(root / "sim")
            started = [
                await stack.enter_async_context(ForkServer.started(env or {}))
                for _ in range(servers)
            ]
            yield cls(root, sim, started, begin)

    def cell(self, name: str, profile: Profile, jobs: int = 1) -> Cell:
        """A new cell with its manifest."""
        cell = Cell(name, profile, self.root / name.replace(" ", "-").replace(",", ""), jobs)
        cell.write()
        return cell

    async def live(self, cell: Cell, **how: Any) -> int:
        """Live one life in a cell, on whichever fork server is free."""
        server = await self._servers.get()
        try:
            providers = self.root / "sim" / "providers.yaml"
            code = await server.live(Life(str(cell.folder), str(providers), self.begin, **how))
            assert code != -signal.SIGALRM, f"{cell.name} {how} hangs: {cell.log}"
            return code
        finally:
            self._servers.put_nowait(server)

    async def each(self, work: Callable[[Any], Awaitable[None]], items: Iterable[Any]) -> None:
        """Do the work for all items, as many at once as there are servers."""
        pending = iter(items)

        async def worker() -> None:
            for item in pending:
                await work(item)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._servers.qsize()):
                group.create_task(worker())

    def tasks(self, cell: Cell) -> list[Task]:
        """What the provider accepted, and charges for, of a cell."""
        prompts = set(cell.prompts)
        return [task for task in self.sim.ledger if task.body["prompt"] in prompts]

    def check(self, cell: Cell) -> dict[str, str]:
        """Compare a cell that has ended with the ledger; returns the states of its jobs by prompt.

        Bought at most once; everything that was bought is on disk or in doubt; what is done is whole.
        """
        bought = [str(task.body["prompt"]) for task in self.tasks(cell)]
        assert len(bought) == len(set(bought)), f"{cell.name}: bought twice"
        rows = cell.query("SELECT prompt, state, path, sha256 FROM v_jobs ORDER BY position")
        states = {prompt: state for prompt, state, _, _ in rows}
        assert list(states) == cell.prompts
        assert set(states.values()) <= {"done", "in_doubt"}, (cell.name, states, cell.log)
        assert {prompt for prompt, state in states.items() if state == "done"} <= set(bought)
        outputs = cell.folder / "state" / "outputs"
        for prompt, state, path, sha256 in rows:
            if state != "done":
                continue
            clip = outputs / path
            assert hashlib.sha256(clip.read_bytes()).hexdigest() == sha256
            assert json.loads(clip.with_suffix(".json").read_text("utf-8"))["prompt"] == prompt
        files = sorted(path for path in outputs.rglob("*") if path.is_file())
        assert len(files) == 2 * sum(state == "done" for state in states.values()), files
        assert cell.query("PRAGMA integrity_check") == [("ok",)]
        self._check_money(cell, states, bought)
        return states

    @staticmethod
    def _check_money(cell: Cell, states: dict[str, str], bought: list[str]) -> None:
        """What the batch counts as spent is what its attempts hold, and none of the bought is missing in it."""
        attempts = cell.query("SELECT count(*) FROM attempt WHERE billed IS NOT 0")[0][0]
        assert attempts == sum(1 for state in states.values() if state in ("done", "in_doubt"))
        assert attempts >= len(bought)
        held, spent = cell.query(
            "SELECT (SELECT coalesce(sum(price_micros), 0) FROM attempt WHERE billed IS NOT 0),"
            " (SELECT spent_micros FROM batch)"
        )[0]
        assert held == spent
