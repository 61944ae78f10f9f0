"""The system gives the process no more files to open."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from runner.simulator import Simulator
from tests.storage.shop import QUICK, Shop

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs ulimit")


@pytest.mark.parametrize("files", [14, 18])
async def test_too_few_files_may_be_opened(tmp_path: Path, files: int) -> None:
    """Too few for the database, or for a database and connections: what is bought is kept, and nothing twice."""
    async with Simulator(QUICK) as sim:
        shop = Shop.opened(sim, tmp_path, 12)
        run = shlex.join([*shop.run_command(), "--max-duration", "1s"])
        ended = await shop.call(["bash", "-c", f"ulimit -n {files}; exec {run}"])
        assert ended.code in (0, 1, 8, 9), ended
        again = await shop.call(shop.run_command())
        assert again.code in (0, 4), again
        assert shop.unintended() == set()
        assert max(shop.bought().values()) == 1
        done, doubt = shop.states()["done"], shop.states()["in_doubt"]
        assert done + doubt == 12
        assert done > 6
