"""The free part of a job's way: poll, fetch, finish. Nothing here is ever bought again."""

from __future__ import annotations

from dataclasses import replace

from runner import steps
from runner.causes import Cause
from runner.clock import backoff
from runner.engine.lane import Flight, Lane
from runner.engine.recorder import FIRST_TROUBLE, LONGEST_TROUBLE, Recorder
from runner.events import Delayed, Finished, Gone, Progressed, Rejected
from runner.job import State

DENIALS, DENIED_FOR = 3, 120.0
"""Answers by which a job failed, or is unknown, that are doubted, and for how many seconds: a new job is not known
everywhere at once, and a failure may be a bad moment of the provider."""
FRESH_ADDRESSES = 2
CORRUPT_TRIES = 3


class Watcher:
    """Polls jobs in the air and fetches what is ready."""

    def __init__(self, recorder: Recorder) -> None:
        self._r = recorder
        self.disk_full = ""

    # -- poll ----------------------------------------------------------------------------------------------------

    async def poll(self, lane: Lane, flight: Flight) -> None:
        """Ask how far it is. An answer that changes nothing is not written."""
        remote = flight.job.remote
        assert remote is not None
        event = await self._r.ask(lane, flight, lane.dialect(flight.job.spec.model).poll(remote))
        now = self._r.now()
        match event:
            case Progressed() | Delayed() if flight.job.state is State.CANCELLED:
                self._watch_on(flight)
            case Progressed():
                await self._progressed(flight, event)
            case Finished():
                self._r.board.learn(flight, flight.waited(now))
                await self._r.finished(flight, event)
            case Delayed(cause=Cause.LOST_REMOTE):
                await self._unknown_there(flight, event)
            case Rejected(passing=True) if (
                flight.job.state is not State.CANCELLED and not self._believed(flight, event.cause)
            ):
                await self._r.trouble(flight, Delayed(event.cause, event.detail))
            case Delayed():
                flight.denial = None  # whoever is in trouble may be wrong about a job too
                await self._r.trouble(flight, event)
            case _:
                await self._r.record(flight, event, None)

    def _watch_on(self, flight: Flight) -> None:
        """Cancelled by us, and it may still complete: asked now and then, and no run waits for it."""
        flight.stuck_seen = True
        self._r.board.wake(flight, self._r.board.next_poll(flight, self._r.now()))

    async def _progressed(self, flight: Flight, event: Progressed) -> None:
        now = self._r.now()
        flight.trouble, flight.stuck_seen, flight.denial = 0, False, None
        timeout = self._timeout(flight)
        if timeout is not None and flight.waited(now) > timeout:
            self._r.board.stick(flight)
            if flight.job.cause is not Cause.STUCK:
                event_ = Delayed(
                    Cause.STUCK, f"the provider says {event.phase} after {timeout:.0f} s"
                )
                await self._r.record(flight, event_, self._r.board.next_poll(flight, now))
                return
        elif self._is_news(flight, event):
            await self._r.record(flight, event, self._r.board.next_poll(flight, now))
            flight.job = replace(flight.job, detail=event.note)
            return
        later = self._r.board.next_poll(flight, now)
        self._r.board.wake(flight, max(later, now + (event.poll_after or 0.0)))

    def _is_news(self, flight: Flight, event: Progressed) -> bool:
        """Whether the history lacks it; what is told first after a restart most likely stands there already."""
        before, flight.phase = flight.phase, event.phase
        passed = flight.job.cause is not None
        return passed or bool(before and event.phase != before) or event.note != flight.job.detail

    def _timeout(self, flight: Flight) -> float | None:
        source = self._r.board.source(flight.batch)
        return source.batch.timeout if source else None

    async def _unknown_there(self, flight: Flight, event: Delayed) -> None:
        if not self._believed(flight, Cause.LOST_REMOTE):
            await self._r.trouble(flight, event)
            return
        claim = await self._r.store.load(flight.job.number)
        if claim is not None and claim.made:  # its file is wanted again, and is no more
            gone = Rejected(Cause.EXPIRED, f"made, and then forgotten: {event.detail}", billed=True)
            await self._r.record(flight, gone, None)
            return
        await self._r.record(flight, event, None)

    def _believed(self, flight: Flight, denial: Cause) -> bool:
        """Whether the provider has said this often enough in a row, and for long enough, to believe it.

        While it has trouble with other jobs, it may be wrong about this one.
        """
        now = self._r.now()
        trouble_at = self._r.board.lane(flight).outage.failed_at
        if flight.denial is not denial or trouble_at > flight.denied_since:
            flight.denial, flight.denied, flight.denied_since = denial, 0, now
        flight.denied += 1
        flight.denied_since = min(flight.denied_since, now)  # the clock may have been set back
        return flight.denied > DENIALS and now - flight.denied_since >= DENIED_FOR

    # -- fetch ---------------------------------------------------------------------------------------------------

    async def fetch(self, lane: Lane, flight: Flight) -> None:
        """Bring the clip home."""
        claim = await self._r.store.load(flight.job.number)
        if (
            claim is None
            or claim.job.fence != flight.job.fence
            or claim.job.state is not State.READY
        ):
            self._r.board.land(flight)
            return
        event = await steps.fetch(self._r.edges, lane.provider, claim)
        now = self._r.now()
        match event:
            case Gone() if flight.fresh >= FRESH_ADDRESSES or flight.job.remote is None:
                detail = f"{event.detail}; the provider has no other address for it"
                await self._r.record(flight, Rejected(Cause.EXPIRED, detail, billed=True), None)
            case Gone():
                flight.fresh += 1
                await self._r.record(flight, event, now)
            case Delayed(cause=Cause.DISK_FULL):
                self.disk_full = event.detail
                await self._r.record(flight, event, now)
            case Delayed():
                await self._fetch_again(flight, event)
            case _:
                await self._r.record(flight, event, None)

    async def _fetch_again(self, flight: Flight, event: Delayed) -> None:
        now = self._r.now()
        flight.tries += 1
        if event.cause is Cause.CORRUPT_MEDIA and flight.tries >= CORRUPT_TRIES:
            await self._r.record(flight, Rejected(event.cause, event.detail, billed=True), None)
            return
        due = now + backoff(FIRST_TROUBLE, flight.tries, LONGEST_TROUBLE)
        if event.cause is flight.job.cause:
            self._r.board.wake(flight, due)
        else:
            await self._r.record(flight, event, due)
