"""How often a run asks while its provider is full."""

from __future__ import annotations

from dataclasses import replace

from runner.engine.board import Board
from runner.engine.lane import Lane, Source
from runner.job import Job, State
from runner.limits import Limits
from runner.polling import Latencies
from runner.providers import presets
from runner.store import Batch, Claimed
from tests.conftest import T0, make_spec


def gap(*, places: int, waiting: bool) -> float:
    """Seconds until a job that began a minute ago is asked about, with others waiting for its place or not."""
    lane = Lane(replace(presets()["fal"], limits=Limits(in_flight=places)))
    source = Source(Batch("film", "film.yaml", "d", "fal"))
    lane.sources.append(source)
    board = Board({"fal": lane}, Latencies())
    job = Job(1, make_spec(), "fal", State.RUNNING, fence=1)
    flight = board.board(Claimed(job, 1, submitted_at=T0 - 60), job)
    lane.limiter.in_flight = 1
    if waiting:
        queued = Job(2, make_spec(1), "fal", State.QUEUED, fence=0)
        source.pending.append(Claimed(queued, 1))
    return board.next_poll(flight, T0) - T0


def test_jobs_are_asked_about_sooner_while_others_wait_for_their_place() -> None:
    """A finished job that nobody has looked at keeps the place of one that could be made."""
    assert gap(places=1, waiting=True) < 0.8 * gap(places=1, waiting=False)


def test_free_places_cost_no_polls() -> None:
    """What waits for anything else than a place changes nothing."""
    assert gap(places=2, waiting=True) == gap(places=2, waiting=False)
