"""The same jobs with tools that people would otherwise use, on the same server, side by side."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import Bench, SkippedError
from tests.benchmarks.figures import Figure
from tests.benchmarks.side import measured
from tests.benchmarks.whole import MODEL, body

_HUEY = """
import json, resource, sys, threading, time, urllib.request
from http.client import HTTPConnection
from huey import SqliteHuey
host, model, jobs, path = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
huey = SqliteHuey(filename=path, fsync=True)
local, done = threading.local(), []

def ask(method, target, body=None):
    if not hasattr(local, "link"):
        local.link = HTTPConnection(host)
    local.link.request(method, target, body, {"Content-Type": "application/json"})
    return json.loads(local.link.getresponse().read())

@huey.task()
def make(body):
    receipt = ask("POST", "/" + model, json.dumps(body))
    base = "/fal-ai/kling-video/requests/" + receipt["request_id"]
    assert ask("GET", base + "/status")["status"] == "COMPLETED"
    done.append(ask("GET", base)["video"]["url"])

body = json.loads(sys.argv[5])
wall, used = time.perf_counter(), time.process_time()
for number in range(jobs):
    make({**body, "prompt": "%s %d" % (body["prompt"], number)})
consumer = huey.create_consumer(workers=16, periodic=False, initial_delay=0.001, max_delay=0.01)
consumer.start()
while len(done) < jobs:
    time.sleep(0.01)
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - used}), flush=True)
consumer.stop()
"""


async def fal_client(url: str, folder: str, jobs: int) -> dict[str, float]:
    """Fal's own client: submit and wait, all of them with asyncio.gather. It keeps nothing on disk."""
    del folder
    import fal_client as fal
    from fal_client import client

    # The client hard-codes https, so the address that it builds its URLs from is replaced.
    for name in ("QUEUE_URL_FORMAT", "RUN_URL_FORMAT"):
        if hasattr(client, name):
            setattr(client, name, f"{url}/")
    made = fal.AsyncClient(key="bench:0123456789abcdef")
    found: dict[str, float] = {}

    async def one(index: int) -> None:
        handle = await made.submit(MODEL, body(index))
        result: Any = await handle.get()
        assert result["video"]["url"]

    with measured(found):
        await asyncio.gather(*(one(index) for index in range(jobs)))
    return found


def _huey(bench: Bench, jobs: int) -> dict[str, float]:
    """Huey with SQLite and fsync, 16 threads: enqueue, then work off; installed for this run only."""
    import json
    import os

    home = Path(bench.fresh())
    python = home / "venv" / "bin" / "python"
    venv.create(home / "venv", with_pip=True)
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "huey"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SkippedError("peers: huey could not be installed")
    core = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_setaffinity") else set()
    command = [str(python), "-c", _HUEY, bench.url.removeprefix("http://"), MODEL, str(jobs), str(home / "huey.db"),
               json.dumps(body(0))]  # fmt: skip
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=True,
        preexec_fn=(lambda: os.sched_setaffinity(0, core)) if core else None,
    )  # fmt: skip
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[0])
    return found


def peers(bench: Bench) -> list[Figure]:
    """Jobs per processor second of ours over theirs."""
    many, gathered = bench.size(3_000, 60), bench.size(300, 20)
    options: dict[str, Any] = {"url": bench.url, "in_flight": 64}
    sides = [
        ("runner", bench.side("whole:engine", folder=bench.fresh(), jobs=many, **options), many),
        ("bare aiohttp loop", bench.side("whole:bare", folder=bench.fresh(), jobs=many, **options), many),
        ("fal_client, asyncio.gather", bench.side("peers:fal_client", folder=bench.fresh(), url=bench.url,
                                                  jobs=gathered), gathered),
    ]  # fmt: skip
    try:
        sides.append(("huey, SQLite, fsync, 16 threads", _huey(bench, many), many))
    except (SkippedError, subprocess.SubprocessError, OSError) as why:
        print(f"huey left out: {why}", file=sys.stderr)
    ours = sides[0][1]["cpu"] / many
    return [
        Figure(f"peer: {name}", f"{jobs:,} jobs: processor time of theirs over ours", found["cpu"] / jobs / ours,
               ours=f"{jobs / found['wall']:,.0f} jobs/s", floor=f"{found['cpu'] / jobs * 1000:.2f} s per 1,000 jobs")
        for name, found, jobs in sides
    ]  # fmt: skip
