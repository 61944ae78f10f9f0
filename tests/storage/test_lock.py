"""One runner for each state folder."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.errors import StoreLocked
from runner.simulator import Simulator
from runner.store import SqliteStore, StateFolder
from tests.conftest import T0
from tests.storage.shop import REPOSITORY, SLOW, Shop, started_run

posix = pytest.mark.skipif(os.name == "nt", reason="needs os.fork")


async def contest(root: Path, count: int) -> list[dict[str, Any]]:
    """Have so many processes want the folder at once."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.storage.contest", str(root), str(count),
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return [json.loads(line) for line in out.splitlines()]


@posix
async def test_fifty_starts_at_once(tmp_path: Path) -> None:
    """Of fifty runners that start at the same moment exactly one gets in; the others are told which."""
    answers = await contest(tmp_path / "state", 50)
    (winner,) = [answer for answer in answers if answer["in"]]
    losers = [answer for answer in answers if not answer["in"]]
    assert len(losers) == 49
    assert all("another runner holds" in loser["told"] for loser in losers)
    # Whoever comes while the winner is still writing its name can't be told it.
    named = [loser for loser in losers if f"process {winner['pid']} " in loser["told"]]
    assert named or any(loser["ms"] > 5 for loser in losers)


async def test_second_runner_is_refused_at_once(tmp_path: Path) -> None:
    """The second runner is told who the first is, after less than 200 ms of its own work."""
    folder = StateFolder(tmp_path / "state")
    async with SqliteStore(folder, T0):
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(StoreLocked) as refusal:
            async with SqliteStore(folder, T0):
                pass
        took = loop.time() - began
    assert took < 0.2
    assert f"process {os.getpid()} on {socket.gethostname()}, since 20" in str(refusal.value)


@posix
async def test_command_line_says_seven(tmp_path: Path) -> None:
    """A second `run` exits 7 naming the first, or 0 with `--if-running skip`; kill -9 of the first lets the next in."""
    async with Simulator(SLOW) as sim:
        shop = Shop.opened(sim, tmp_path, 1)
        async with started_run(shop) as first:
            second = await shop.call(shop.run_command())
            assert second.code == 7, second
            assert f"process {first.pid} " in second.err
            skipped = await shop.call([*shop.run_command(), "--if-running", "skip"])
            assert (skipped.code, skipped.err) == (0, "")
            first.send_signal(signal.SIGKILL)
            await first.wait()
        third = await shop.call([*shop.run_command(), "--max-duration", "1s"])
        assert third.code == 8, third
        assert len(sim.ledger) == 1
