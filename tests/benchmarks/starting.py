"""From a command to its first effect: help, a first run, and going on with a large database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from statistics import median

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure

PROVIDERS = """
providers:
  fal:
    base_url: {url}
    media_hosts: [127.0.0.1]
"""
MANIFEST = """
version: 1
provider: fal
model: fal-ai/kling-video/v2.5-turbo/pro/text-to-video
prompts: [a boat on a lake]
"""
LONGEST = 120.0


def environment(bench: Bench) -> dict[str, str]:
    """Both sides find their bytecode, as after an installation; it lies in the benchmark's folder and goes with it."""
    kept = bench.folder / "bytecode"
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONPYCACHEPREFIX": str(kept)}  # noqa: PTH109
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    if not kept.exists():
        everything = "import aiohttp, typer, runner.__main__, runner.cli.running"
        subprocess.run([sys.executable, "-c", everything], env=env, check=True)
    return env


def python(bench: Bench, *arguments: str) -> float:
    """Seconds until the interpreter has done that and is gone."""
    env = environment(bench)
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def to_first_request(bench: Bench, home: Path, *words: str) -> float:
    """Seconds from the start of `runner …` to the first request that the server sees; then the runner is killed."""
    (home / "providers.yaml").write_text(PROVIDERS.format(url=bench.url), "utf-8")
    (home / "m.yaml").write_text(MANIFEST, "utf-8")
    env = {**environment(bench), "FAL_KEY": "bench:0123456789abcdef"}
    first_seen(bench)
    command = [sys.executable, "-m", "runner", "--state", "state", "-q", *words]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=home, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    seen = 0.0
    while not seen and process.poll() is None and time.monotonic() < began + LONGEST:
        time.sleep(0.02)
        seen = first_seen(bench)
    process.kill()
    _, errors = process.communicate()
    seen = seen or first_seen(bench)
    if not seen:
        raise RuntimeError(f"runner {' '.join(words)} sent nothing: {errors.decode()[-500:]}")
    return seen - began


def first_seen(bench: Bench) -> float:
    """When the server saw the first request since the last question (monotonic), or 0."""
    with urllib.request.urlopen(f"{bench.url}/bench/first") as answer:
        return float(answer.read())


def cold_start(bench: Bench) -> list[Figure]:
    """Help against `import typer`, a run of one job against `import aiohttp`."""
    helps, typers, runs, imports = [], [], [], []
    for _ in range(bench.size(7, 1)):
        typers.append(python(bench, "-c", "import typer"))
        helps.append(python(bench, "-m", "runner", "--help"))
        imports.append(python(bench, "-c", "import aiohttp"))
        runs.append(to_first_request(bench, Path(bench.fresh()), "run", "m.yaml"))
    return [
        Figure("help", "`runner --help`", median(helps) / median(typers), 2, 1.3,
               ours=f"{median(helps) * 1000:.0f} ms", floor=f"{median(typers) * 1000:.0f} ms, import typer"),
        Figure("first request", "`runner run` of one job, to its first request", median(runs) / median(imports), 2, 1.3,
               ours=f"{median(runs) * 1000:.0f} ms", floor=f"{median(imports) * 1000:.0f} ms, import aiohttp"),
    ]  # fmt: skip


def resume(bench: Bench) -> list[Figure]:
    """Going on with a database of a million jobs, 30 % left, 10,000 in flight, to the first request."""
    jobs = bench.size(1_000_000, 2_000)
    home = Path(bench.fresh())
    left, running = jobs * 3 // 10, jobs // 100
    bench.side(
        "filled:fill_in",
        folder=str(home / "state"),
        jobs=jobs,
        running=running,
        queued=left - running,
    )
    times = [to_first_request(bench, home, "resume") for _ in range(3)]
    floor = median(python(bench, "-c", "import aiohttp") for _ in range(3))
    return [
        Figure("resume", f"{jobs:,} jobs, {left:,} left, {running:,} in flight: start to the first request",
               median(times) - floor, 1, 0.15, unit="s over import aiohttp",
               ours=f"{median(times):.2f} s", floor=f"{floor:.2f} s")
    ]  # fmt: skip
