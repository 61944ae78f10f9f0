"""`python -m tests.simulation SEED [-v]` lives through one night again, and prints it."""

from __future__ import annotations

import argparse

from tests.simulation.night import Night
from tests.simulation.plan import Plan


def main() -> int:
    """Replay one night."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("-v", "--verbose", action="store_true", help="print everything that happens")
    parser.add_argument("--jobs", type=int, default=100)
    args = parser.parse_args()
    plan = Plan.draw(args.seed, args.jobs)
    night = Night(plan, verbose=args.verbose)
    result = night.run()
    print(f"seed {result.seed}: {result.problem or 'all promises kept'}")
    print(f"{result.digest} {result.seconds:.2f} s for {result.hours:.1f} h, {result.lives} lives")
    print(dict(result.states), dict(night.audit.stats))
    for name, count in sorted(result.counts.items()):
        print(f"{count:7} {name}")
    return 1 if result.problem else 0


if __name__ == "__main__":
    raise SystemExit(main())
