"""Reads queued jobs from rows, a page at a time."""

from __future__ import annotations

from runner.clock import Clock
from runner.engine.lane import PAGE, Source
from runner.limiter import LONGEST_PAUSE
from runner.store import Store

LOOK_AGAIN = 5.0  # seconds


async def feed(source: Source, store: Store, clock: Clock) -> None:
    """Put the next queued jobs of a batch into memory, or find out when there will be any."""
    try:
        source.next_at = None
        fresh = await _take_page(source, store, clock.now())
        later = None if fresh else await store.next_queued([source.batch.number])
        if later is not None and later > clock.now() + LONGEST_PAUSE:
            # Nothing waits for so long: the clock was set back since that was written.
            fresh, later = await _take_page(source, store, later), 0.0
        now = clock.now()  # and not that of the beginning: it may have been set back meanwhile
        if fresh:
            source.look(now)
        elif later is not None:
            # One that is due and taken hides those behind it: look again when it may have moved on.
            source.look(later if later > now else now + LOOK_AGAIN)
    finally:
        source.refilling = False


async def _take_page(source: Source, store: Store, now: float) -> bool:
    page = await store.claim_queued(source.batch.number, now, PAGE + len(source.taken))
    fresh = [claim for claim in page if claim.job.number not in source.taken]
    source.pending.extend(fresh)
    source.taken.update(claim.job.number for claim in fresh)
    return bool(fresh)
