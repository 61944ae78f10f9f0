"""How fast it is, as ratios to floors taken in the same run. `python -m tests.benchmarks`; it never fails a build."""
