"""The disk fails under the program: a sync that reports EIO, a write that finds no room. At each one, and by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from runner.simulator import Simulator
from tests.crash.arena import PROFILES, Arena, Profile
from tests.crash.life import BLOWN
from tests.storage.shop import QUICK, SLOW, Shop, query

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("gcc") is None,
    reason="needs gcc and LD_PRELOAD",
)
FAL, KLING = PROFILES[4], PROFILES[-1]
JOBS = 3


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a disk fail."""
    library = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


async def fail_at(arena: Arena, profile: Profile, disk: dict[str, str]) -> str:
    """A life on a disk that fails, one on a disk that works, and the ledger. Says how the first one ended."""
    words = "-".join(disk.values())
    cell = arena.cell(f"{profile.name} {words}", profile, jobs=JOBS)
    code = await arena.live(cell, disk={"DISK_FAILS_ON": f"{cell.folder}/state", **disk})
    if (cell.folder / "state" / "runner.db").exists() and code == 0:
        # Nothing was at stake any more: what failed was the tidying up at the end.
        assert query(cell.folder / "state", "SELECT DISTINCT state FROM v_jobs") == [("done",)]
    assert code in (0, 9, BLOWN), (cell.name, code, cell.log)
    if code == BLOWN:
        assert "runner.errors.Store" in cell.log, cell.log
    await arena.live(cell)
    states = set(arena.check(cell).values())
    assert states == {"done"} or not profile.looks_up, (cell.name, states, cell.log)
    return {0: "untouched", 9: "files", BLOWN: "store"}[code]


async def each(
    tmp_path: Path, shim: Path, profile: Profile, name: str, calls: range
) -> Counter[str]:
    """Fail at each of these calls; counts how the lives ended."""
    ended: Counter[str] = Counter()

    async def work(call: int) -> None:
        once = {"SYNC_FAILS_ONCE": "1"} if name == "SYNC_FAILS_FROM" and call % 2 else {}
        ended[await fail_at(arena, profile, {name: str(call), **once})] += 1

    async with Arena.opened(tmp_path, env={"LD_PRELOAD": str(shim)}) as arena:
        await arena.each(work, calls)
    return ended


@pytest.mark.parametrize(
    "profile", [KLING, pytest.param(FAL, marks=pytest.mark.soak)], ids=lambda profile: profile.name
)
async def test_each_sync_fails(tmp_path: Path, shim: Path, profile: Profile) -> None:
    """EIO at each sync of a run, of the database, of clips, of folders: it stops, and nothing is bought twice or lost.

    That the next sync would report success again proves nothing, so it is not asked.
    """
    ended = await each(tmp_path, shim, profile, "SYNC_FAILS_FROM", range(1, 45))
    assert ended["store"] > 20
    assert ended["files"] > 1
    assert ended["untouched"] > 0


@pytest.mark.parametrize(
    "calls",
    [range(1, 300, 9), pytest.param(range(1, 300), marks=pytest.mark.soak)],
    ids=["some", "all"],
)
async def test_each_write_finds_the_disk_full(tmp_path: Path, shim: Path, calls: range) -> None:
    """The disk fills up at each write of a run: it stops; with room again it goes on, and buys nothing twice."""
    ended = await each(tmp_path, shim, KLING, "WRITE_FAILS_FROM", calls)
    assert ended["store"] > len(calls) // 4
    assert ended["untouched"] > 0


async def test_commit_that_can_not_be_synced(tmp_path: Path, shim: Path) -> None:
    """One failed sync of the database ends the command: exit 9, what to do, and no further submits."""
    async with Simulator(SLOW) as sim:
        shop = Shop.opened(sim, tmp_path, 60)
        env = {
            "LD_PRELOAD": str(shim), "DISK_FAILS_ON": "runner.db",
            "SYNC_FAILS_FROM": "25", "SYNC_FAILS_ONCE": "1",
        }  # fmt: skip
        ended = await shop.call(shop.run_command(), env)
        assert ended.code == 9, ended
        assert "the disk fails" in ended.err
        assert "runner resume" in ended.err
        assert shop.unintended() == set()
        assert len(sim.ledger) < 60


@pytest.mark.parametrize("name", ["SYNC_FAILS_FROM", "WRITE_FAILS_FROM"])
async def test_clip_that_can_not_be_kept(tmp_path: Path, shim: Path, name: str) -> None:
    """No room amid a clip, or a failed sync: exit 9 and the cause, also under -q; later one more GET, no submit."""
    async with Simulator(QUICK) as sim:
        shop = Shop.opened(sim, tmp_path, 1)
        env = {"LD_PRELOAD": str(shim), "DISK_FAILS_ON": ".part", name: "1"}
        ended = await shop.call(shop.run_command(), env)
        assert ended.code == 9, ended
        assert "disk_full" in ended.out
        assert "see to the disk, then:" in ended.out
        assert shop.states() == {"ready": 1}
        (task,) = sim.ledger
        assert task.downloads == 1
        again = await shop.call(shop.run_command())
        assert again.code == 0, again
        assert shop.states() == {"done": 1}
        assert (len(sim.ledger), task.downloads) == (1, 2)
