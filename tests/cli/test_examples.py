"""The example manifests: one for each system, each asking for exactly what that system's own page shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.manifest import expand, load, schema
from runner.providers import check, normalise, presets
from tests.cli.conftest import Call
from tests.cli.stage import ROOT, Sim

JOBS = ROOT / "jobs"
MANIFESTS = sorted(JOBS.glob("*.yaml"))
SEEDS: dict[str, Any] = json.loads((ROOT / "tests/fixtures/seeds.json").read_text("utf-8"))
PAGES = {
    "000": "02-winfull-text-to-video.yaml",
    "001": "03-quickrouter-image-to-video.yaml",
    "002": "04-uniapi-image-to-video.yaml",
    "003": "05-kling-gateway-text2video.yaml",
    "004": "06-quickrouter-text2video.yaml",
}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_request_is_that_of_the_page(page: str) -> None:
    """Provider, model and body, with their types, are what the seller's page shows."""
    manifest = load(JOBS / PAGES[page], now=0.0)
    [draft] = expand(manifest)
    wanted = SEEDS[page]
    assert (manifest.provider, manifest.model) == (wanted["provider"], wanted["model"].strip("/"))
    body = normalise(presets()[manifest.provider], manifest.model, draft.spec.params)
    assert body == wanted["request"]
    assert [type(body[name]) for name in body] == [type(wanted["request"][name]) for name in body]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_an_example_has_no_mistakes(path: Path) -> None:
    """Every example passes the checks of its model at its provider."""
    manifest = load(path, now=0.0)
    provider = presets()[manifest.provider]
    found = [
        finding.message
        for draft in expand(manifest)
        for finding in check(provider, manifest.model, draft.spec.params)
        if not finding.warning
    ]
    assert found == []


def test_every_system_has_an_example() -> None:
    """There is an example for each provider that is built in, under a number of its own."""
    assert {load(path, now=0.0).provider for path in MANIFESTS} == presets().keys()
    numbers = [path.name.split("-")[0] for path in MANIFESTS]
    assert numbers == [f"{number:02}" for number in range(1, len(MANIFESTS) + 1)]


def test_the_schema_beside_the_examples_is_the_newest() -> None:
    """Editors check the examples against the schema that `runner schema` prints now."""
    written = json.loads((JOBS / "manifest.schema.json").read_text("utf-8"))
    assert written == schema(), "type: runner schema --write jobs/manifest.schema.json"


def test_every_example_runs(call: Call, sim: Sim) -> None:
    """All examples together, against the simulator, end with every clip in its place."""
    said = call("--providers", sim.providers, "run", *MANIFESTS)
    assert said.code == 0, said.out + said.err
    assert f"{len(MANIFESTS)} batches · {len(sim.bought)} of {len(sim.bought)} done" in said.out
    assert {task["system"] for task in sim.bought} == {
        "winfull", "quickrouter", "uniapi", "kling-gateway", "fal", "kling", "any"
    }  # fmt: skip
