"""One runner per state folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.errors import StoreError, StoreLocked
from runner.store import SqliteStore, StateFolder
from runner.store.lock import RunnerLock
from tests.conftest import T0

HOLD = """
import sys
from pathlib import Path
from runner.store.lock import RunnerLock
lock = RunnerLock(Path(sys.argv[1]), 1_800_000_000.0)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_runner_is_told_who_holds_the_state(tmp_path: Path) -> None:
    """The message names the process, the machine and the time, and what to do."""
    path = tmp_path / "runner.lock"
    with holder(path) as other, pytest.raises(StoreLocked) as refusal:
        RunnerLock(path, T0)
    text = str(refusal.value)
    assert f"process {other.pid} on " in text
    assert "since 2027-01-1" in text
    assert "--state" in text
    assert refusal.value.exit_code == 7


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_runner_leaves_no_lock(tmp_path: Path) -> None:
    """The lock dies with its process, however that ends: nobody ever has to delete a file."""
    path = tmp_path / "runner.lock"
    with holder(path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        assert path.read_bytes() != b""
        RunnerLock(path, T0).release()


def test_the_lock_can_be_taken_again(tmp_path: Path) -> None:
    """After a release the next one gets it, and the file stays private and empty."""
    path = tmp_path / "runner.lock"
    for _ in range(3):
        lock = RunnerLock(path, T0)
        assert f'"pid":{os.getpid()}'.encode() in path.read_bytes()
        lock.release()
        lock.release()
        assert path.read_bytes() == b""
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "note", [b"", b"not json", b"[]", b'{"since": "x"}', b'{"since": 1e300}', b"\xff" * 1000]
)
def test_an_unreadable_note_is_no_way_in(tmp_path: Path, note: bytes) -> None:
    """Whatever stands in the file, a held lock is a held lock."""
    path = tmp_path / "runner.lock"
    lock = RunnerLock(path, T0)
    path.write_bytes(note)
    with pytest.raises(StoreLocked, match="another runner holds"):
        RunnerLock(path, T0)
    lock.release()


def test_a_lock_that_can_not_be_made_is_an_error_of_the_folder(tmp_path: Path) -> None:
    """A lock file that can't be opened is told as such, not as another runner."""
    (tmp_path / "runner.lock").mkdir()
    with pytest.raises(StoreError, match="can't be used") as refusal:
        RunnerLock(tmp_path / "runner.lock", T0)
    assert not isinstance(refusal.value, StoreLocked)


async def test_a_second_store_is_refused_and_harms_nothing(folder: StateFolder) -> None:
    """Who is refused leaves the first one working."""
    async with SqliteStore(folder, T0) as store:
        with pytest.raises(StoreLocked):
            await SqliteStore(folder, T0).__aenter__()
        assert await store.begin_run(T0) == 1
    async with SqliteStore(folder, T0) as store:
        assert await store.begin_run(T0) == 2
