"""One side of a comparison, in a process of its own: `python -m tests.benchmarks.side MODULE:FUNCTION JSON`.

The function's result is printed as the last line, with the processor time and memory of the whole process beside it.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def measured(into: dict[str, float]) -> Iterator[None]:
    """Put the wall and processor seconds of a block into `into`."""
    wall, used = time.perf_counter(), time.process_time()
    yield
    into["wall"] = time.perf_counter() - wall
    into["cpu"] = time.process_time() - used


def memory() -> float:
    """Megabytes that this process holds now."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def written() -> float:
    """Bytes that this process has handed to the system in writes to files (sends to sockets are not counted there)."""
    with open("/proc/self/io", encoding="ascii") as file:  # noqa: PTH123
        return next(float(line.split()[1]) for line in file if line.startswith("wchar"))


def main() -> None:
    """Run the function that was named."""
    module, _, name = sys.argv[1].partition(":")
    work = getattr(importlib.import_module(module), name)
    found = work(**json.loads(sys.argv[2]))
    if inspect.isawaitable(found):
        found = asyncio.run(found)  # type: ignore[arg-type]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"peak_mb": peak, **found}))


if __name__ == "__main__":
    main()
