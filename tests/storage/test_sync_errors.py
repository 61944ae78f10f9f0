"""The disk reports that it could not keep what was written (fsync fails with EIO)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner.simulator import Simulator
from tests.storage.shop import QUICK, SLOW, Shop

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("gcc") is None,
    reason="needs gcc and LD_PRELOAD",
)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes fsync fail."""
    library = tmp_path_factory.mktemp("shim") / "failing_sync.so"
    source = Path(__file__).with_name("failing_sync.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.mark.parametrize("call", [25, pytest.param(45, marks=pytest.mark.soak)])
async def test_commit_that_can_not_be_synced(tmp_path: Path, shim: Path, call: int) -> None:
    """One failed fsync of the database ends the run: exit 9, nothing bought without a durable intent, nothing twice.

    That the next fsync would report success again proves nothing, so it is not asked.
    """
    async with Simulator(SLOW) as sim:
        shop = Shop.opened(sim, tmp_path, 60)
        env = {
            "LD_PRELOAD": str(shim), "SYNC_FAILS_ON": "runner.db",
            "SYNC_FAILS_FROM": str(call), "SYNC_FAILS_ONCE": "1",
        }  # fmt: skip
        ended = await shop.call(shop.run_command(), env)
        assert ended.code == 9, ended
        assert "the disk fails" in ended.err
        assert "runner resume" in ended.err
        assert shop.unintended() == set()
        assert len(sim.ledger) < 60
        await shop.call([*shop.run_command(), "--max-duration", "2s"])
        assert max(shop.bought().values()) == 1


@pytest.mark.parametrize("name", [".part", "outputs/film"])
async def test_clip_that_can_not_be_synced(tmp_path: Path, shim: Path, name: str) -> None:
    """A clip or a folder that can't be synced ends the run: exit 9, the job is not done; the next run fetches it."""
    async with Simulator(QUICK) as sim:
        shop = Shop.opened(sim, tmp_path, 3)
        env = {"LD_PRELOAD": str(shim), "SYNC_FAILS_ON": name, "SYNC_FAILS_FROM": "1"}
        ended = await shop.call([*shop.run_command(), "--max-duration", "20s"], env)
        assert ended.code == 9, ended
        assert "done" not in shop.states()
        again = await shop.call(shop.run_command())
        assert again.code == 0, again
        assert shop.states() == {"done": 3}
        assert set(shop.bought().values()) == {1}
