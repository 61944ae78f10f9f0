"""A simulator in a process of its own, and the runner called as people call it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import ProxyHandler, Request, build_opener

ROOT = Path(__file__).parents[2]
QUICK = ("--queue-time", "fixed:0.02", "--run-time", "fixed:0.1", "--concurrency", "50")
_LEDGER = re.compile(r"(http://[^\s/]+)/_sim/ledger")


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """Its stdout as JSON lines; a line that isn't one is an error."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    """An environment without anybody's keys and settings, in which the package is found."""
    kept = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG")
    base = {name: os.environ[name] for name in kept if name in os.environ}
    return {
        **base,
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "HOME": str(ROOT / "nobody"),
        **more,
    }


def command(*args: str | Path) -> list[str]:
    """The command line of `runner`."""
    return [sys.executable, "-m", "runner", *map(str, args)]


def runner(*args: str | Path, cwd: Path, **env: str) -> Said:
    """Call `runner` in a process of its own."""
    done = subprocess.run(
        command(*args), cwd=cwd, env=environment(**env), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def started(*args: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Start `runner` and leave it running."""
    return subprocess.Popen(
        command(*args), cwd=cwd, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip


def until(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """Read a runner's JSON lines up to the first one of this event."""
    assert process.stdout is not None
    for line in process.stdout:
        record: dict[str, Any] = json.loads(line)
        if event in (record.get("event"), record["type"]):
            return record
    raise AssertionError(f"it ended without {event}")


class Sim:
    """A simulator on a free port; its providers file and dummy keys are in `folder`."""

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self.folder = folder
        self.url = ""
        self._options = options

    def __enter__(self) -> Self:
        """Start it and wait for its address."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runner.simulator", "--port", "0", "--write", str(self.folder), *self._options],
            env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = _LEDGER.search(line)
            if found:
                self.url = found[1]
                return self
        raise AssertionError("the simulator did not start")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self._process.kill()
        self._process.communicate(timeout=10)

    @property
    def providers(self) -> Path:
        """The providers file that leads here."""
        return self.folder / "providers.yaml"

    def reset(self) -> None:
        """Forget everything."""
        self._ask("reset", {})

    def reset_faults(self) -> None:
        """Let nothing go wrong any more."""
        request = Request(f"{self.url}/_sim/faults", method="DELETE")
        with build_opener(ProxyHandler({})).open(request, timeout=10):
            pass

    def fault(self, **fault: object) -> None:
        """Let something go wrong."""
        self._ask("faults", fault)

    @property
    def bought(self) -> list[Mapping[str, Any]]:
        """The tasks that were accepted."""
        tasks: list[Mapping[str, Any]] = self._ask("ledger")["tasks"]
        return tasks

    @property
    def requests(self) -> list[Mapping[str, Any]]:
        """Every request that came."""
        entries: list[Mapping[str, Any]] = self._ask("log")
        return entries

    def _ask(self, page: str, body: Mapping[str, object] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/_sim/{page}", data)
        with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
            return json.load(answer)
