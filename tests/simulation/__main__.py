"""`python -m tests.simulation SEED [-v]` lives through one night again; with `--nights N` through N, from SEED on."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.campaign import live_through
from tests.simulation.night import Night
from tests.simulation.plan import Plan


def main() -> int:
    """Live through nights, and say what they came to."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print everything that happens"
    )
    parser.add_argument("--nights", type=int, help="how many, one seed after the other")
    parser.add_argument(
        "--digests", action="store_true", help="print the hash of each night's trace"
    )
    args = parser.parse_args()
    if args.nights is not None:
        figures = live_through(range(args.seed, args.seed + args.nights))
        print(figures.as_json() if not sys.stdout.isatty() else figures)
        return 1 if figures.broken else 0
    if args.digests:
        for seed in range(args.seed, args.seed + 4):
            print(seed, Night(Plan.draw(seed)).run().digest)
        return 0
    night = Night(Plan.draw(args.seed), verbose=args.verbose)
    result = night.run()
    print(f"seed {result.seed}: {result.problem or 'all promises kept'}")
    print(
        f"{result.digest}: {result.hours:.1f} hours and {result.lives} lives in {result.seconds:.2f} s"
    )
    print("jobs:", dict(night.audit.stats))
    for name, count in sorted(result.counts.items()):
        print(f"{count:7} {name}")
    return 1 if result.problem else 0


if __name__ == "__main__":
    raise SystemExit(main())
