"""The power fails: unsynced data is gone, in part or in another order. Replayed from the operations of a real run."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from runner.simulator import Simulator
from runner.store.log import check_log
from tests.storage.disk import Disk, Operation, read_log
from tests.storage.shop import QUICK, Shop

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("gcc") is None,
    reason="needs gcc and LD_PRELOAD",
)
JOBS = 3


def compile_log(library: Path) -> None:
    """Compile the library that writes operations down."""
    source = Path(__file__).with_name("op_log.c")
    words: list[str | Path] = [
        "gcc",
        "-shared",
        "-fPIC",
        "-o",
        library,
        source,
        "-ldl",
        "-lpthread",
    ]
    subprocess.run(words, check=True)


async def operations_of_a_run(folder: Path) -> list[Operation]:
    """Run three jobs and write down what that did to the state folder."""
    library, log = folder / "op_log.so", folder / "operations"
    await asyncio.to_thread(compile_log, library)
    async with Simulator(QUICK) as sim:
        shop = Shop.opened(sim, folder, JOBS)
        shop.state.mkdir()
        env = {"LD_PRELOAD": str(library), "OP_LOG": str(log), "OP_LOG_ROOT": str(shop.state)}
        ended = await shop.call(shop.run_command(), env)
        assert ended.code == 0, ended
        assert shop.states() == {"done": JOBS}
    return list(read_log(log))


def check(state: Path, posts: int) -> int:
    """What is left holds an intent for each request that left, and the whole file of each job that is done."""
    database = state / "runner.db"
    if not posts and (not database.exists() or database.stat().st_size == 0):
        return 0
    check_log(database)  # what an honest disk leaves is no damage
    connection = sqlite3.connect(database)
    try:
        if not posts and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            return 0
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (intents,) = connection.execute("SELECT count(*) FROM attempt").fetchone()
        assert intents >= posts, "a request left whose intent is lost"
        done = connection.execute("SELECT path, sha256 FROM v_jobs WHERE state = 'done'").fetchall()
    finally:
        connection.close()
    for path, sha256 in done:
        clip = state / "outputs" / path
        assert hashlib.sha256(clip.read_bytes()).hexdigest() == sha256
        assert clip.with_suffix(".json").stat().st_size > 0
    return len(done)


def lose_power(
    operations: list[Operation], root: str, folder: Path, stride: int, seeds: int
) -> Counter[str]:
    """Lose power after every `stride`-th operation, in several ways; counts what was seen."""
    disk, seen = Disk(root), Counter[str]()
    state = folder / "left"
    for number, operation in enumerate(operations):
        disk.do(operation)
        if number % stride and operation.kind not in ("post", "sync"):
            continue
        for seed in range(-2, seeds):
            dice = random.Random(number * 1000 + seed) if seed >= 0 else None
            disk.left(state, dice, all_of_it=seed == -2)
            try:
                seen["done"] += check(state, disk.posts)
                seen["states"] += 1
            except (AssertionError, OSError, sqlite3.Error) as error:
                raise AssertionError(
                    f"after operation {number} ({operation.kind} {operation.path}), {seed}"
                ) from error
            finally:
                shutil.rmtree(state)
    assert disk.posts == JOBS
    return seen


async def test_power_loss(tmp_path: Path) -> None:
    """Whatever an honest disk may have lost: no request without its intent, and `done` means the whole file."""
    operations = await operations_of_a_run(tmp_path)
    seen = lose_power(operations, str(tmp_path / "state"), tmp_path, stride=9, seeds=1)
    assert seen["states"] > 100
    assert seen["done"] > JOBS


@pytest.mark.soak
async def test_power_loss_after_every_operation(tmp_path: Path) -> None:
    """The same after every operation, with twenty throws of the dice for each."""
    operations = await operations_of_a_run(tmp_path)
    print(
        len(operations),
        lose_power(operations, str(tmp_path / "state"), tmp_path, stride=1, seeds=20),
    )


def test_the_disk_is_no_formality(tmp_path: Path) -> None:
    """A write that was never synced, and a name in a folder that was never synced, are lost."""
    disk = Disk("/d")
    for kind, path, data in [
        ("create", "/d/a", b""),
        ("write", "/d/a", b"one"),
        ("sync", "/d/a", b""),
    ]:
        disk.do(Operation(kind, path, "", 0, data))
    disk.left(tmp_path / "nameless", None)
    assert list((tmp_path / "nameless").iterdir()) == []
    disk.do(Operation("sync", "/d", "", 0, b""))
    disk.do(Operation("write", "/d/a", "", 3, b"two"))
    disk.left(tmp_path / "synced", None)
    assert (tmp_path / "synced" / "a").read_bytes() == b"one"
    disk.left(tmp_path / "all", None, all_of_it=True)
    assert (tmp_path / "all" / "a").read_bytes() == b"onetwo"
