"""Nights in virtual time: every promise is kept whatever the seed brings, and the simulation would notice if not."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from runner.simulator import Fault
from tests.simulation.campaign import ROOT, live_through_many
from tests.simulation.mistakes import MISTAKES, RARE
from tests.simulation.night import Night
from tests.simulation.plan import Plan

NIGHTS = 200
WITHIN = 60
"""Seeds that every planted mistake is found within."""


def test_every_promise_is_kept() -> None:
    """Nothing bought twice, nothing lost, every limit held at every moment, and everything ends, for 200 seeds."""
    figures = live_through_many(0, NIGHTS)
    print(figures)
    assert not figures.broken, f"\n{figures}"


@pytest.mark.soak
def test_every_promise_is_kept_for_long() -> None:
    """The same for as many other nights as RUNNER_SOAK_NIGHTS says (2,000 where it says nothing)."""
    figures = live_through_many(10_000, int(os.environ.get("RUNNER_SOAK_NIGHTS", "2000")))
    print(figures)
    assert not figures.broken, f"\n{figures}"


def test_a_seed_is_one_night() -> None:
    """The same seed takes the same steps, again and again and whatever seed Python hashes with."""
    seen = set()
    for hash_seed in ("0", "1", "12345"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "33", "--nights", "2", "--digests"],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        seen.add(done.stdout)
    assert len(seen) == 1
    lines = [f"{seed} {Night(Plan.draw(seed)).run().digest}" for seed in (33, 34)]
    assert seen.pop().split("\n")[:2] == lines


def test_an_old_answer_proves_nothing() -> None:
    """What a provider says it does not have may have arrived since it was asked, and is not sent again."""
    plan = Plan.draw(3)
    slow = Fault("slow-answer", path="*/v1/videos/text2video/*", arg=50.0)
    night = Night(
        replace(
            plan, shops=plan.shops[1:], faults=(slow,), network={"late": 0.5}, windows=(), shakes=(),
            kills=(), terms=(), repeats=0.0, calm_at=3600.0,
        )
    )  # fmt: skip
    assert plan.shops[1].batch.provider == "kling"
    assert night.run().problem == ""
    assert night.net.counts["road: late"] > 10


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    """A program that breaks a promise is caught at it within sixty seeds, for the promise that it breaks."""
    make, words = MISTAKES[mistake]
    first = RARE.get(mistake, 0)
    for seed in range(first, first + WITHIN):
        with make():
            problem = Night(Plan.draw(seed)).run().problem
        if words in problem:
            print(f"{mistake}: seed {seed}: {problem}")
            return
    pytest.fail(f"{mistake}: not found within {WITHIN} seeds")
