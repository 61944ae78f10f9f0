"""A state folder that can't be written."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from runner.simulator import Simulator
from tests.storage.shop import NO_NAMESPACE, QUICK, SLOW, Ended, Shop, namespace, started_run

pytestmark = pytest.mark.skipif(not namespace(), reason=NO_NAMESPACE)


async def read_only(shop: Shop, *commands: list[str], folder: str = "") -> list[Ended]:
    """Run commands, one after the other, while the state folder, or a folder in it, is on a read-only disk."""
    state = shlex.quote(str(shop.state / folder))
    ended = []
    for command in commands:
        script = f"mount --bind {state} {state} && mount -o remount,bind,ro {state} && exec {shlex.join(command)}"
        ended.append(await shop.call([*namespace(), "sh", "-c", script]))
    return ended


async def test_read_only_folder_refuses_before_anything_is_sent(tmp_path: Path) -> None:
    """A run on a read-only folder: exit 9, the folder named, no request made."""
    async with Simulator(QUICK) as sim:
        shop = Shop.opened(sim, tmp_path, 2)
        shop.state.mkdir()
        (ended,) = await read_only(shop, shop.run_command())
        assert ended.code == 9, ended
        assert "can't be used for state" in ended.err
        assert "--state DIR" in ended.err
        assert len(sim.log) == 0


async def test_read_only_outputs_refuse_before_anything_is_sent(tmp_path: Path) -> None:
    """Outputs that can't be written, in a state folder that can: exit 9, no request made."""
    async with Simulator(QUICK) as sim:
        shop = Shop.opened(sim, tmp_path, 2)
        (shop.state / "outputs").mkdir(parents=True)
        (ended,) = await read_only(shop, shop.run_command(), folder="outputs")
        assert ended.code == 9, ended
        assert "can't be used for state" in ended.err
        assert len(sim.log) == 0


async def test_read_only_folder_can_be_looked_at(tmp_path: Path) -> None:
    """What a finished run left can be read from a read-only disk; going on there is refused, and nothing changes."""
    async with Simulator(QUICK) as sim:
        shop = Shop.opened(sim, tmp_path, 2)
        assert (await shop.call(shop.run_command())).code == 0
        requests = len(sim.log)
        status, jobs, again = await read_only(
            shop, shop.command("status"), shop.command("--json", "jobs"), shop.run_command()
        )
        assert status.code == 0, status
        assert "2 done" in status.out or "done 2" in status.out, status.out
        assert jobs.out.count('"done"') == 2, jobs.out
        assert again.code == 9
        assert len(sim.log) == requests


async def test_read_only_folder_of_a_killed_run_is_read_whole(tmp_path: Path) -> None:
    """A killed run's folder on a read-only disk is read together with its write-ahead log: nothing is left out."""
    async with Simulator(SLOW) as sim:
        shop = Shop.opened(sim, tmp_path, 2)
        async with started_run(shop):
            pass
        assert (shop.state / "runner.db-wal").stat().st_size > 0
        (status,) = await read_only(shop, shop.command("status"))
        assert status.code == 0, status
        assert "2 at the provider" in status.out


async def test_log_that_can_not_be_read_is_missed(tmp_path: Path) -> None:
    """Without the index of its log the database can't be read on a read-only disk: it says so, and shows no half."""
    async with Simulator(SLOW) as sim:
        shop = Shop.opened(sim, tmp_path, 2)
        async with started_run(shop):
            pass
        (shop.state / "runner.db-shm").unlink()
        (status,) = await read_only(shop, shop.command("status"))
        assert status.code == 9, status
        assert "read-only disk and was not closed cleanly" in status.err
