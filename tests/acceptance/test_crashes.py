"""kill -9 at random moments, again and again: nothing is bought twice, nothing is lost, the totals are right."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from runner.simulator import Fault, Settings, Simulator
from runner.simulator.settings import Latency

# About one answer in twenty is wrong somehow; what is wrong with a task itself is drawn once, when it is accepted.
FAULTS = [
    Fault("accepted-then-dropped", rate=0.005),
    Fault("accepted-then-502", rate=0.005),
    Fault("accepted-then-truncated", rate=0.005),
    Fault("drop-before-accept", rate=0.005),
    Fault("too-many", rate=0.005, path="/*v*", arg=0),
    Fault("server-error-on-poll", rate=0.02),
    Fault("truncated-json", rate=0.02),
    Fault("empty-answer", rate=0.01),
    Fault("status-regresses", rate=0.02),
    Fault("task-failed", rate=0.01),
    Fault("result-refused", rate=0.01),
    Fault("media-cut", rate=0.05),
    Fault("media-404", rate=0.01),
    Fault("media-no-length", rate=0.02),
    Fault("foreign-urls", rate=0.05),
]
SETTINGS = Settings(
    seed=7,
    queue=Latency("uniform", 0.02, 0.2),
    run=Latency("lognormal", 0.2, 0.8),
    concurrency=200,
    log_limit=0,
)
MODELS = {
    "fal": "fal-ai/kling-video/v2.5-turbo/pro/text-to-video",
    "kling": "v1/videos/text2video",
}
EXTRA = {"fal": "", "kling": "  model_name: kling-v2-5-turbo\n  mode: pro\n"}


def write_manifests(folder: Path, jobs: int) -> list[Path]:
    """One manifest for each protocol, half of the jobs each, prompts from a file."""
    paths = []
    for system, model in MODELS.items():
        rows = folder / f"{system}.txt"
        rows.write_text(
            "".join(f"{system} take {number}\n" for number in range(jobs // 2)), "utf-8"
        )
        path = folder / f"{system}.yaml"
        path.write_text(
            f"version: 1\nname: {system}\nprovider: {system}\nmodel: {model}\n"
            f"params:\n  duration: 5\n{EXTRA[system]}prompts:\n  - from: {rows.name}\n",
            "utf-8",
        )
        paths.append(path)
    return paths


class Victim:
    """The runner as a process of its own, to be killed."""

    def __init__(self, sim: Simulator, folder: Path, manifests: list[Path]) -> None:
        self._sim = sim
        self._command = [
            sys.executable, "-m", "runner", "--state", str(folder / "state"), "--providers",
            str(folder / "sim" / "providers.yaml"), "-q", "run", *map(str, manifests),
        ]  # fmt: skip

    async def start(self) -> asyncio.subprocess.Process:
        """Start it."""
        return await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )

    def progress(self) -> int:
        """Everything that the simulator has seen of it: submits, polls, downloads."""
        return len(self._sim.ledger) + sum(task.polls + task.downloads for task in self._sim.ledger)

    async def live_until(self, more: int) -> int | None:
        """Let it live until the simulator saw so much more of it, then kill -9; its exit code if it ended before."""
        process = await self.start()
        target = self.progress() + more
        ended = asyncio.create_task(process.wait())
        while not ended.done() and self.progress() < target:
            await asyncio.wait([ended], timeout=0.002)
        if not ended.done():
            process.send_signal(signal.SIGKILL)
        code = await ended
        assert process.stderr is not None
        text = (await process.stderr.read()).decode()
        assert "Traceback" not in text, text
        return None if code == -signal.SIGKILL else code


def rows(folder: Path, query: str) -> list[Any]:
    """Ask the database."""
    connection = sqlite3.connect(folder / "state" / "runner.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def check(sim: Simulator, folder: Path, jobs: int) -> Counter[str]:
    """Compare the provider's ledger with what we think we have; returns jobs by state."""
    bought = Counter(str(task.body["prompt"]) for task in sim.ledger)
    twice = [prompt for prompt, count in bought.items() if count > 1]
    assert twice == []
    states: dict[str, str] = dict(rows(folder, "SELECT prompt, state FROM v_jobs"))
    assert len(states) == jobs
    assert set(states.values()) <= {"done", "failed", "in_doubt"}
    assert all(states[prompt] in ("done", "failed", "in_doubt") for prompt in bought)
    assert all(prompt in bought for prompt, state in states.items() if state == "done")
    ids = {task.id for task in sim.ledger}
    known = {
        remote
        for (remote,) in rows(folder, "SELECT remote_id FROM v_jobs WHERE remote_id IS NOT NULL")
    }
    assert known <= ids
    for prompt, path in rows(folder, "SELECT prompt, path FROM v_jobs WHERE state = 'done'"):
        clip = folder / "state" / "outputs" / str(path)
        assert json.loads(clip.with_suffix(".json").read_text("utf-8"))["prompt"] == prompt
    assert rows(folder, "PRAGMA integrity_check") == [("ok",)]
    # A job that failed may keep a part: a retry, which is free of charge, goes on from there.
    done = {key[:16] for (key,) in rows(folder, "SELECT key FROM v_jobs WHERE state = 'done'")}
    left = [path.name for path in (folder / "state" / "outputs").rglob("*.part*")]
    assert [name for name in left if any(key in name for key in done)] == []
    attempts = rows(
        folder, "SELECT count(*) FROM attempt WHERE outcome NOT IN ('refused', 'absent')"
    )[0][0]
    assert attempts == len(bought) + sum(
        state == "in_doubt" and p not in bought for p, state in states.items()
    )
    return Counter(str(state) for state in states.values())


async def night(folder: Path, jobs: int, kills: int, seed: int) -> Counter[str]:
    """A batch that is killed so many times, or until it ends before its time, then left to end."""
    rng = random.Random(seed)
    killed = 0
    async with Simulator(SETTINGS, FAULTS) as sim:
        (folder / "sim").mkdir(parents=True)
        sim.write_files(folder / "sim")
        victim = Victim(sim, folder, write_manifests(folder, jobs))
        while (
            killed < kills and await victim.live_until(rng.randrange(1, 6 * jobs // kills)) is None
        ):
            killed += 1
        code = await victim.live_until(10**9)
        states = check(sim, folder, jobs)
        assert code == (4 if states["in_doubt"] else 3 if states["failed"] else 0)
    return states + Counter(kills=killed)


@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
async def test_killed_six_times(tmp_path: Path) -> None:
    """200 jobs over both protocols, six kills: every job ends for its own reason, none is bought twice."""
    states = await night(tmp_path, 200, 6, seed=1)
    assert states["kills"] >= 3
    assert states["done"] >= 150


@pytest.mark.soak
async def test_killed_twenty_times(tmp_path: Path) -> None:
    """2,000 jobs over both protocols, twenty kills: every job ends for its own reason, none is bought twice."""
    states = await night(tmp_path, 2000, 20, seed=2)
    assert states["done"] >= 1800
    print(dict(states))


@pytest.mark.soak
async def test_three_hundred_kills(tmp_path: Path) -> None:
    """Batches of 400 jobs, killed about sixty times each: none is bought twice, none is lost."""
    total: Counter[str] = Counter()
    seed = 100
    while total["kills"] < 300:
        total += await night(tmp_path / str(seed), 400, 60, seed)
        seed += 1
    print(dict(total))
