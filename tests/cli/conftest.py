"""Fixtures for the command line: one simulator for all tests, and the command inside this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.cli import main
from tests.cli.stage import QUICK, Said, Sim

Call = Callable[..., Said]

MANIFEST = """\
version: 1
name: film
provider: fal
model: fal-ai/kling-video/v2.5-turbo/pro/text-to-video
params: {duration: 5}
matrix: {light: [dawn, night]}
prompts:
  - A boat at ${{ light }}
  - A tower at ${{ light }}
"""


@pytest.fixture(scope="session")
def shared_sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sim]:
    """A quick simulator."""
    with Sim(tmp_path_factory.mktemp("sim"), QUICK) as sim:
        yield sim


@pytest.fixture
def sim(shared_sim: Sim) -> Sim:
    """The quick simulator, with empty books and no faults."""
    shared_sim.reset()
    return shared_sim


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a manifest of four jobs, and nobody's keys."""
    monkeypatch.chdir(tmp_path)
    for name in ("FAL_KEY", "KLING_ACCESS_KEY", "KLING_SECRET_KEY", "RUNNER_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "film.yaml").write_text(MANIFEST, "utf-8")
    return tmp_path


@pytest.fixture
def call(place: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Call `runner` in this process, from the working folder."""

    def calling(*args: str | Path) -> Said:
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        said = capsys.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        return Said(code, said.out, said.err)

    yield calling
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler).__module__.startswith("runner."):
            root.removeHandler(handler)
