"""A run that is stopped, watched or left alone in the middle."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.stage import Sim, command, environment, started, until

SLOW = ("--queue-time", "fixed:0", "--run-time", "fixed:0.4", "--concurrency", "2")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")


@pytest.fixture(scope="module")
def slow_sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sim]:
    """A simulator that takes its time: two jobs at once, each for a while."""
    with Sim(tmp_path_factory.mktemp("slow"), SLOW) as sim:
        yield sim


@pytest.fixture
def slow(slow_sim: Sim) -> Sim:
    """The slow simulator with empty books."""
    slow_sim.reset()
    return slow_sim


def working(sim: Sim, cwd: Path) -> subprocess.Popen[str]:
    """A run in the middle of its work: its first job is at the provider."""
    process = started("--json", "--providers", sim.providers, "run", "film.yaml", cwd=cwd)
    until(process, "accepted")
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_run_well(slow: Sim, place: Path, number: signal.Signals) -> None:
    """The first signal ends with 128+N, says what will happen, and the summary says what is left."""
    process = working(slow, place)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert "Stopping: no new submits" in err
    assert '"type": "summary"' in out.splitlines()[-1]


def test_after_a_signal_nothing_is_bought_again(slow: Sim, place: Path, call: Call) -> None:
    """A resume after a stop fetches what was bought and buys only the rest."""
    process = working(slow, place)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    said = call("--providers", slow.providers, "resume", "-q")
    assert (said.code, said.out) == (0, "")
    assert len(slow.bought) == 4


def test_a_second_signal_ends_it_now(slow: Sim, place: Path, call: Call) -> None:
    """With a submit hanging the second signal doesn't wait: the job is in doubt, and nothing else is lost."""
    process = started("--json", "--providers", slow.providers, "run", "film.yaml", cwd=place)
    slow.fault(name="accepted-then-hang", arg=60)
    until(process, "begin")
    assert process.stderr is not None
    while len(slow.bought) < 2:  # no more are sent before one is answered
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert "Stopping: no new submits" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 143, err
    assert "at once" in err
    assert '"in_doubt"' in out
    counts = call("status", "--json").records[0]["batches"][0]["counts"]
    assert counts["in_doubt"] == len(slow.bought)
    assert counts["in_doubt"] + counts["queued"] == 4


def test_status_while_a_runner_works(slow: Sim, place: Path, call: Call) -> None:
    """Looking needs no lock: counts and money are shown while another process works on them."""
    process = working(slow, place)
    said = call("status")
    assert said.code == 0
    assert "not finished" in said.out
    assert "0 of 4 done" in said.out
    assert "at the provider" in said.out
    assert "spent" in said.out
    assert process.poll() is None
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_closed_pipe_does_not_end_a_run(slow: Sim, place: Path) -> None:
    """When the reader of stdout goes away the run goes on to its end."""
    read, write = os.pipe()
    with subprocess.Popen(
        command("--json", "--providers", slow.providers, "run", "film.yaml"),
        cwd=place, env=environment(), stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(write)
        os.read(read, 1)
        os.close(read)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert len(list((place / "state" / "outputs" / "film").glob("*.mp4"))) == 4


@pytest.mark.parametrize("plain", [False, True])
def test_on_a_terminal_a_table_is_drawn(sim: Sim, place: Path, plain: bool) -> None:
    """On a terminal there is a table, then the summary, and the cursor is back; NO_COLOR is kept."""
    shown = on_a_terminal(
        "--providers",
        sim.providers,
        "run",
        "film.yaml",
        cwd=place,
        **({"NO_COLOR": "1"} if plain else {}),
    )
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"provider +queued +sending +running +fetching +done +failed", bare)
    assert "4 of 4 done" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert bool(re.search(r"\x1b\[[0-9;]*3[1-6]m", shown)) is not plain


def on_a_terminal(*args: str | Path, cwd: Path, **env: str) -> str:
    """Call `runner` on a terminal of its own and return all that was shown."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command(*args), cwd=cwd, env=environment(TERM="xterm-256color", **env),
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that its last user has left
            while piece := os.read(ours, 65_536):
                shown += piece
        os.close(ours)
        assert process.wait(timeout=20) == 0
    return shown.decode()
