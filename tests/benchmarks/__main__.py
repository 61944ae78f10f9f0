"""`python -m tests.benchmarks [NAME …]`: one table at the end. Nothing here ever fails a build."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks import (
    concurrency,
    expansion,
    fetching,
    growth,
    peers,
    polling,
    rates,
    starting,
    waiting,
    whole,
)
from tests.benchmarks.bench import Bench, SkippedError, server
from tests.benchmarks.figures import Figure, table

BEGIN, END = "<!-- made by make bench -->", "<!-- end -->"
BENCHMARKS: dict[str, Callable[[Bench], list[Figure]]] = {
    "throughput": whole.throughput,
    "expand": expansion.expand,
    "resume": starting.resume,
    "polling": polling.polling,
    "rates": rates.rates,
    "concurrency": concurrency.concurrency,
    "in_flight": waiting.in_flight,
    "downloads": fetching.downloads,
    "cold_start": starting.cold_start,
    "growth": growth.growth,
    "peers": peers.peers,
    "slow_fsync": whole.slow_fsync,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--rounds", type=int, default=3, help="floor, ours, ours, floor so often (3)"
    )
    parser.add_argument(
        "--small", action="store_true", help="tiny sizes: only to see that it works"
    )
    parser.add_argument("--json", action="store_true", help="JSON lines instead of the table")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the table between the marks in a page"
    )
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}. Known: {', '.join(BENCHMARKS)}")
    figures, skipped = run(given.names or list(BENCHMARKS), given.rounds, small=given.small)
    sizes = "Tiny sizes: these figures mean nothing." if given.small else f"Rounds: {given.rounds}."
    if given.json:
        print("\n".join(figure.line() for figure in figures))
    else:
        print(table(figures, skipped, sizes), end="")
    if given.write:
        _write(given.write, table(figures, skipped, sizes))


def run(names: Sequence[str], rounds: int, *, small: bool) -> tuple[list[Figure], list[str]]:
    """Run benchmarks in order; returns their figures, and why others have none. Tells each figure on stderr at once."""
    figures: list[Figure] = []
    skipped: list[str] = []
    with tempfile.TemporaryDirectory() as folder, server() as url:
        bench = Bench(url, Path(folder), rounds, small)
        for name in names:
            began = time.perf_counter()
            try:
                found = BENCHMARKS[name](bench)
            except SkippedError as why:
                skipped.append(str(why))
                continue
            except Exception as error:  # noqa: BLE001 - a figure that is missing never ends the others
                skipped.append(f"{name} failed: {error}")
                print(skipped[-1], file=sys.stderr)
                continue
            figures += found
            for figure in found:
                print(figure.row(), f"({time.perf_counter() - began:.0f} s)", file=sys.stderr)
    return figures, skipped


def _write(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page, so that no figure in it was ever typed by hand."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
