"""Speed, limits and systems are set by values that say what is wrong with them."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest

import runner.simulator
from runner.simulator import SYSTEMS, Latency, RateLimit, Settings
from runner.simulator.limiter import Limiter
from tests.simulator.asking import FAL_MODEL, KLING_MODEL, Start


def test_the_simulator_imports_nothing_of_the_runner() -> None:
    """It is an independent witness: no import leaves its own package but to third parties."""
    folder = Path(runner.simulator.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level < 2, path.name
                assert node.level == 1 or not (node.module or "").startswith("runner"), path.name
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith("runner") for name in node.names), path.name


def test_latencies_follow_their_distribution() -> None:
    """Fixed is fixed, uniform stays within, lognormal has the median and percentile it was given."""
    rng = random.Random(1)
    assert Latency.parse("2").draw(rng) == Latency.parse("fixed:2").draw(rng) == 2
    drawn = [Latency.parse("uniform:1,3").draw(rng) for _ in range(200)]
    assert 1 <= min(drawn) < 1.2
    assert 2.8 < max(drawn) <= 3
    drawn = sorted(Latency.parse("lognormal:2,6").draw(rng) for _ in range(4000))
    assert drawn[2000] == pytest.approx(2, rel=0.1)
    assert drawn[3800] == pytest.approx(6, rel=0.1)


@pytest.mark.parametrize(
    "text", ["", "fast", "fixed:1,2", "uniform:1", "fixed:-1", "lognormal:6,2"]
)
def test_a_bad_latency_is_refused(text: str) -> None:
    """The error shows how to write one."""
    with pytest.raises(ValueError, match=r"latency|median"):
        Latency.parse(text)


@pytest.mark.parametrize("text", ["30", "0/1m", "30/1d", "odd:3/1s"])
def test_a_bad_rate_is_refused(text: str) -> None:
    """The error shows how to write one."""
    with pytest.raises(ValueError, match="rate limit"):
        RateLimit.parse(text)


def test_three_ways_to_count() -> None:
    """Ten per ten seconds: what each server lets in of 10 requests at 9 s and 10 more at 10 s."""
    admitted = {}
    for kind in ("fixed", "sliding", "bucket"):
        limiter = Limiter(RateLimit.parse(f"{kind}:10/10s"))
        times = [9.0] * 10 + [10.0] * 10
        admitted[kind] = sum(limiter.admit(now) == 0 for now in times)
    assert admitted == {"fixed": 20, "sliding": 10, "bucket": 11}
    limiter = Limiter(RateLimit.parse("sliding:1/10s"))
    assert [limiter.admit(now) for now in (5, 8, 15)] == [0, 7, 0]


@pytest.mark.parametrize(
    ("system", "path", "word"),
    [
        ("fal", FAL_MODEL, "Too many"),
        ("any", KLING_MODEL, "1302"),
        ("winfull", FAL_MODEL, "new_api_error"),
    ],
)
async def test_the_rate_is_kept_per_key(start: Start, system: str, path: str, word: str) -> None:
    """The second submit in a window is 429 in the seller's words; another key has its own count."""
    client = await start(settings=Settings(rate_limit=RateLimit.parse("1/1m")))
    assert (await client.buy(system, path)).status == 200
    refused = await client.buy(system, path)
    assert (refused.status, word in refused.body.decode()) == (429, True)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    scheme = "Key" if system == "fal" else "Bearer"
    other = await client.ask(system, "POST", path, {"prompt": "x"}, Authorization=f"{scheme} two")
    assert other.status == 200
    assert (await client.poll(system)).status in (200, 202)
    client.clock.now += 60
    assert (await client.buy(system, path)).status == 200


async def test_polls_can_count_too_and_retry_after_be_left_out(start: Start) -> None:
    """With the scope requests, a poll uses up the window."""
    limit = RateLimit.parse("2/1m", retry_after=False, scope="requests")
    client = await start(settings=Settings(rate_limit=limit))
    await client.buy()
    assert [(await client.poll()).status for _ in range(2)] == [202, 429]
    assert "Retry-After" not in (await client.poll()).headers


async def test_the_same_seed_gives_the_same_tasks(start: Start) -> None:
    """Ids and times repeat under a seed, whatever was polled in between."""

    async def tasks(seed: int, polls: int) -> list[tuple[str, float]]:
        settings = Settings(seed=seed, run=Latency.parse("uniform:1,9"))
        client = await start(settings=settings)
        for _ in range(3):
            await client.buy("any", KLING_MODEL)
            for _ in range(polls):
                await client.poll("any")
        return [(task.id, task.runs) for task in client.sim.ledger]

    first = await tasks(1, 0)
    assert await tasks(1, 3) == first
    assert await tasks(2, 0) != first


def test_systems_are_changed_by_name() -> None:
    """Unknown systems, fields and shapes are refused with what there is."""
    changed = Settings().with_system("kling-gateway", fetch="F2", kling="/kling/v1,/v1")
    assert changed.systems["kling-gateway"].kling == ("/kling/v1", "/v1")
    assert SYSTEMS["kling-gateway"].fetch == "F1"
    for name, field, value in (
        ("nobody", "fetch", "F1"), ("fal", "color", "x"), ("fal", "fetch", "F9"),
        ("fal", "gateway", "maybe"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="Use"):
            Settings().with_system(name, **{field: value})
