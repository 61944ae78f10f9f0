"""Each example manifest against the simulator: the first request is the system's own, and every clip comes home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.app import App
from runner.engine import Options
from runner.job import State
from runner.settings import Settings
from runner.simulator import Settings as SimulatorSettings
from runner.simulator import Simulator
from runner.simulator.settings import Latency

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "jobs").glob("[0-9]*.yaml"))
SEEDS = json.loads((ROOT / "tests/fixtures/seeds.json").read_text("utf-8"))
QUICK = SimulatorSettings(queue=Latency("fixed", 0.02), run=Latency("fixed", 0.1))

# manifest -> the page it is from, and the header of that page
PAGES = {
    "02": ("000", "Bearer"),
    "03": ("001", "Bearer"),
    "04": ("002", "Key"),
    "05": ("003", "Bearer"),
    "06": ("004", "Bearer"),
}


def app(sim: Simulator, folder: Path) -> App:
    """The product, told that every provider is at the simulator."""
    sim.write_files(folder / "sim")
    file = folder / "sim" / "providers.yaml"
    return App(Settings.resolve({}, folder, folder / "state", file, config=folder / "config"))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
async def test_every_example_delivers(tmp_path: Path, manifest: Path) -> None:
    """The manifest runs as it stands; its clips are in place, and nothing was bought twice."""
    async with Simulator(QUICK) as sim:
        outcome = await app(sim, tmp_path).run([manifest], Options())
        assert outcome.exit_code == 0, outcome.report
        assert outcome.report.count(State.DONE) == outcome.report.total == len(sim.ledger) > 0
    clips = list((tmp_path / "state" / "outputs").rglob("*.mp4"))
    assert len(clips) == outcome.report.total


@pytest.mark.parametrize("number", PAGES)
async def test_the_first_request_is_the_page_s_own(tmp_path: Path, number: str) -> None:
    """Method, path, header and body equal those of the page that documents the system."""
    page, scheme = PAGES[number]
    seed = SEEDS[page]
    (manifest,) = [path for path in MANIFESTS if path.name.startswith(number)]
    async with Simulator(QUICK) as sim:
        await app(sim, tmp_path).run([manifest], Options())
        first = sim.log[0]
        assert (first.method, first.path, first.scheme, first.body) == (
            "POST",
            "/" + seed["model"],
            scheme,
            seed["request"],
        )


async def test_a_ratio_stays_a_ratio(tmp_path: Path) -> None:
    """`16:9` without quotes arrives as `16:9`, not as the number 969."""
    manifest = tmp_path / "film.yaml"
    manifest.write_text(
        "version: 1\nprovider: fal\nmodel: fal-ai/kling-video/v2.5-turbo/pro/text-to-video\n"
        "params: {aspect_ratio: 16:9}\nprompts: [a boat]\n",
        "utf-8",
    )
    async with Simulator(QUICK) as sim:
        await app(sim, tmp_path).run([manifest], Options())
        assert sim.log[0].body["aspect_ratio"] == "16:9"


async def test_another_reseller_continues_the_batch(tmp_path: Path) -> None:
    """With the provider changed, what was made stays made, and only what is new is bought there."""
    text = "version: 1\nname: film\nprovider: {}\nmodel: fal-ai/kling-video/v2.5-turbo/pro/text-to-video\nprompts:\n{}"
    manifest = tmp_path / "film.yaml"
    async with Simulator(QUICK) as sim:
        product = app(sim, tmp_path)
        manifest.write_text(text.format("winfull", "  - one\n  - two\n"), "utf-8")
        await product.run([manifest], Options())
        manifest.write_text(text.format("fal", "  - one\n  - two\n  - three\n"), "utf-8")
        outcome = await product.run([manifest], Options())
        assert outcome.added[0].new == 1
        assert [task.system for task in sim.ledger] == ["winfull", "winfull", "fal"]
