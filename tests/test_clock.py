"""Tests of `runner.clock`: the arithmetic in it; that only it reads the clock is a test of the layers."""

from __future__ import annotations

from itertools import pairwise

from runner.clock import backoff


def test_pauses_double_up_to_the_longest() -> None:
    """2, 4, 8 and so on, then always the longest, however often it fails."""
    waits = [backoff(2.0, times, 60.0) for times in range(1, 5000)]
    assert waits[:6] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert all(one <= two for one, two in pairwise(waits))
    assert waits[-1] == 60.0
