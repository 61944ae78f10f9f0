"""`python -m tests.simulation SEED [-v]` lives through one night again; with `--nights N` through N, from SEED on."""

from __future__ import annotations

import argparse

from tests.simulation.campaign import live_through, live_through_many
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
        "--json",
        action="store_true",
        help="live through the nights in this process, figures as JSON",
    )
    parser.add_argument(
        "--digests", action="store_true", help="print the hash of each night's trace"
    )
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + (args.nights or 4))
    if args.digests:
        for seed in seeds:
            print(seed, Night(Plan.draw(seed)).run().digest)
        return 0
    if args.nights is not None:
        figures = live_through(seeds) if args.json else live_through_many(args.seed, args.nights)
        print(figures.as_json() if args.json else figures)
        return 1 if figures.broken else 0
    return _one(args.seed, verbose=args.verbose)


def _one(seed: int, *, verbose: bool) -> int:
    night = Night(Plan.draw(seed), verbose=verbose)
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
