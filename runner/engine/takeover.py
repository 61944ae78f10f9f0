"""Rebuilds from rows what an earlier run had in memory: lanes, their limits, and the jobs in the air."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from runner.causes import Cause
from runner.clock import Clock
from runner.engine.board import Board
from runner.engine.lane import Lane, Source, limits_of
from runner.errors import StoreError, UsageError
from runner.job import State
from runner.polling import Latencies
from runner.providers import Provider
from runner.store import Batch, Claimed, ProviderState, Store

log = logging.getLogger(__name__)

PROBES_AN_HOUR = 3  # of a provider that refused the account

LONGEST_ANSWER = 120.0  # seconds from a submit to its answer: permits are held from the answer on


async def take_over(
    board: Board,
    store: Store,
    batches: Sequence[Batch],
    providers: Mapping[str, Provider],
    now: float,
) -> None:
    """Fill the board of a new run, but for the jobs in the air: `take_up` does that while the run goes on.

    Raises:
        UsageError: jobs are in the air at a provider that is no longer declared.
    """
    numbers = [batch.number for batch in batches]
    board.latencies = Latencies(await store.latencies())
    names = {batch.provider for batch in batches} | await store.carriers(numbers)
    unknown = sorted(names - set(providers))
    if unknown:
        raise UsageError(
            f"jobs are in the air at {', '.join(unknown)}, which no providers file declares any more. "
            "Declare it again in providers.yaml: what was paid for there is still to be fetched"
        )
    for name in sorted(names):
        board.lanes[name] = await _lane(store, providers[name], batches, now)


async def take_up(
    board: Board, store: Store, batches: Sequence[Batch], clock: Clock, wake: asyncio.Event
) -> None:
    """Put the jobs in the air on the board, a page at a time; `wake` is set when there are more.

    Who takes many up holds only one page of requests, and those of the first page are asked about meanwhile. Nothing
    is submitted before the last page is here: until then nobody knows how many are in flight.
    """
    numbers = [batch.number for batch in batches]
    after = 0
    while page := await store.claim_open(numbers, clock.now(), after):
        for claim in page:
            _board_again(board, claim, clock)
        after = page[-1].job.number
        wake.set()


async def take_stock(board: Board, store: Store, batches: Sequence[Batch]) -> None:
    """Count all jobs, for those who look at the run: it waits for nothing here, and works as well without."""
    try:
        board.stored = await store.counts([batch.number for batch in batches])
    except StoreError as error:
        log.warning("the jobs could not be counted: %s", error)


async def _lane(store: Store, provider: Provider, batches: Sequence[Batch], now: float) -> Lane:
    mine = [batch for batch in batches if batch.provider == provider.name]
    lane = Lane(provider, [limits_of(batch) for batch in mine])
    lane.sources.extend(Source(batch) for batch in mine)
    limits = lane.limiter.limits
    windows = [rate.window for rate in (limits.submits, limits.requests) if rate]
    if windows:
        since = now - max(windows) - LONGEST_ANSWER
        lane.limiter.resume_from(await store.recent_submits(provider.name, since, now))
    known = await store.provider_state(provider.name)
    cause = Cause(known.cause) if known.cause else None
    lane.probes = [at for at in known.probes if now - 3600 < at <= now]
    again = len(lane.probes) < PROBES_AN_HOUR
    if cause is not None and again:
        lane.probes.append(now)
    lane.limiter.remember(known.in_flight, cause, known.detail, now, again=again)
    return lane


async def leave_behind(board: Board, store: Store) -> None:
    """Store what the next run should know: what holds a provider, the concurrency it took, how long jobs take."""
    for name, lane in board.lanes.items():
        limiter = lane.limiter
        held = limiter.held or limiter.probing
        await store.save_provider_state(
            name,
            ProviderState(
                cause=limiter.cause if held else None,
                detail=limiter.detail if held else "",
                in_flight=limiter.ceiling,
                probes=tuple(lane.probes) if held else (),
            ),
        )
    await store.save_latencies(board.latencies.learned())


def _board_again(board: Board, claim: Claimed, clock: Clock) -> None:
    job, now = claim.job, clock.now()
    if claim.doubted:
        board.count(claim.batch, replace(job, state=State.SUBMITTING), job)
    flight = board.board(claim, job)
    flight.doubt_since = clock.monotonic()  # when the earlier run ended nobody knows
    # Held jobs take no place: in the worst case the provider refuses one for crowding, and that is free.
    flight.slot = (
        job.state is not State.READY and job.due_at is not None and job.cause is not Cause.STUCK
    )
    if flight.slot:
        board.lane(flight).limiter.in_flight += 1
    if job.due_at is None:
        board.flights.pop(job.number)
        return
    # Nobody waits longer than a poll would take: the earlier run may have slept on another law.
    board.wake(flight, min(job.due_at, board.next_poll(flight, now)))
