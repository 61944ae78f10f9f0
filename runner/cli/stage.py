"""The demo's stage: a simulator in a process of its own, and what its books say in the end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import ProxyHandler, build_opener

import runner
from runner.errors import RunnerError
from runner.providers import presets

REFUSED_WORD = "brawl"
_LEDGER = re.compile(r"(http://[^\s/]+)/_sim/ledger")
_OPTIONS = (
    "--port", "0", "--seed", "7", "--queue-time", "uniform:0.2,0.6", "--run-time", "uniform:1,4",
    "--concurrency", "5", "--policy-word", REFUSED_WORD,
    "--fault", "too-many-once,system=fal,path=/fal-ai/*/text-to-video",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Books:
    """What the simulator says was bought. `twice` counts requests that it accepted more than once."""

    accepted: int
    twice: int
    refused_for_rate: int


class Stage:
    """A simulator that runs for the length of a `with` block and writes its providers file into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        """Start it, and wait until it says where it is."""
        command = [
            sys.executable,
            "-m",
            "runner.simulator",
            *_OPTIONS,
            "--write",
            str(self._folder),
        ]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, encoding="utf-8", env=environment(),
        )  # fmt: skip
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            found = _LEDGER.search(line)
            if found:
                self.url = found[1]
                return self
        self._process.wait()
        raise RunnerError(f"the simulator did not start: {''.join(said).strip()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def books(self) -> Books:
        """Ask for the ledger and the log."""
        tasks = self._get("ledger")["tasks"]
        bought = Counter(
            (task["system"], json.dumps(_without_reference(task["body"]), sort_keys=True))
            for task in tasks
        )
        refused = sum(entry["status"] == 429 for entry in self._get("log"))
        return Books(
            accepted=len(tasks),
            twice=sum(number - 1 for number in bought.values()),
            refused_for_rate=refused,
        )

    def _get(self, page: str) -> Any:
        opener = build_opener(ProxyHandler({}))  # the simulator is on this machine, a proxy is not
        with opener.open(f"{self.url}/_sim/{page}", timeout=10) as answer:
            return json.load(answer)


def _without_reference(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request's body without our own reference, which differs from attempt to attempt."""
    return {name: value for name, value in body.items() if name != "external_task_id"}


def environment() -> dict[str, str]:
    """The environment without real keys, which have no business at a simulator, and with this package to be found."""
    auths = [provider.auth for provider in presets().values()]
    hidden = {"RUNNER_STATE", *(auth.env for auth in auths), *(auth.secret_env for auth in auths)}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    known = [str(Path(runner.__file__).parents[1]), kept.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, known))}
