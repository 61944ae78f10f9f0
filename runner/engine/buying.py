"""The paid part of a job's way: intend, send, receipt; and what to do when nobody knows whether it was taken."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import replace

from runner import steps
from runner.causes import Cause
from runner.clock import backoff
from runner.engine.lane import Flight, Lane, Source
from runner.engine.recorder import FIRST_TROUBLE, MISTAKES, Recorder, describe
from runner.errors import StoreError
from runner.events import (
    Absent,
    Accepted,
    Delayed,
    Event,
    Finished,
    Intended,
    Refused,
    Rejected,
    Requeued,
    Unclear,
)
from runner.job import Job, State, advanced
from runner.providers import Order, price
from runner.store import Claimed, Intent
from runner.wire import excerpt

log = logging.getLogger(__name__)

FIRST_REFUSAL, LONGEST_REFUSAL = 5.0, 160.0
REFUSALS = 6  # of one job, with pauses that double


class Buyer:
    """Submits jobs, each at most once per attempt."""

    def __init__(self, recorder: Recorder) -> None:
        self._r = recorder
        self._refusals: Counter[int] = Counter()

    # -- submit --------------------------------------------------------------------------------------------------

    async def submit(self, lane: Lane, source: Source, claim: Claimed) -> None:
        """Buy one job: the intent is durable before the request leaves, the receipt before anything else happens."""
        job = claim.job
        attempt = job.attempt + 1
        client_ref = f"{job.spec.key}-{attempt}"
        try:
            order = await steps.prepare(job, job.spec.params, client_ref)
            if isinstance(order, Rejected):
                await self._r.unsent(claim, order, None)
                lane.limiter.unsent(self._r.now())
                return
            intended = self._intent(lane, job, attempt, client_ref)
            right_ends = self._r.edges.clock.monotonic() + self._r.options.send_within
            outcome = await self._r.store.intend(job, intended, self._r.run, self._r.now())
            if outcome is not Intent.DURABLE:
                source.over_budget = source.over_budget or outcome is Intent.OVER_BUDGET
                lane.limiter.unsent(self._r.now())
                self._r.board.submits -= 1
                return
            sent = advanced(job, State.SUBMITTING, intended, self._r.now(), intended.send_by)
            flight = self._r.board.board(
                replace(claim, submitted_at=self._r.now(), client_ref=client_ref), sent
            )
            self._r.board.count(claim.batch, job, sent)
            self._r.tell(sent, intended)
            await self._send(lane, source, flight, order, (intended.send_by, right_ends))
        except StoreError:
            raise
        except Exception as error:
            if job.number in self._r.board.flights:
                raise
            await self._not_sent(lane, source, claim, error)
        finally:
            source.taken.discard(job.number)
            lane.outage.submits.back(job.number, self._r.now())
            if not source.taken and source.next_at is not None:
                source.look(self._r.now())  # nothing hides what is queued behind it any more

    def _intent(self, lane: Lane, job: Job, attempt: int, client_ref: str) -> Intended:
        cost = price(lane.provider, job.spec.model, job.spec.params)
        return Intended(
            attempt=attempt,
            client_ref=client_ref,
            digest=steps.digest(job.spec.params),
            provider=lane.provider.name,
            send_by=self._r.now() + self._r.options.send_within,
            price_micros=cost.micros if cost else None,
            currency=cost.currency if cost else None,
        )

    async def _send(
        self,
        lane: Lane,
        source: Source,
        flight: Flight,
        order: Order,
        right: tuple[float, float],
    ) -> None:
        dialect = lane.dialect(flight.job.spec.model)
        try:
            event = await steps.submit(self._r.edges, lane.provider, dialect, order, right)
        except asyncio.CancelledError:
            await self._r.record(
                flight, Unclear("stopped while the request was in the air"), self._r.now()
            )
            raise
        except Exception as error:
            log.exception("submit of %s", flight.job.spec.id)
            event = Unclear(f"the answer could not be read: {excerpt(str(error))}")
        finally:
            lane.limiter.answered(self._r.now())
        try:
            await self._after_submit(lane, source, flight, event)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - logged there
            await self._not_recorded(lane, flight, event, error)

    async def _not_sent(self, lane: Lane, source: Source, claim: Claimed, error: Exception) -> None:
        """Something that nobody foresaw happened before the request: the job waits, and fails after a few times."""
        self._r.log("a job could not be sent", error)
        now, number = self._r.now(), claim.job.number
        lane.limiter.unsent(now)
        self._r.board.submits -= 1
        self._r.mistakes[number] += 1
        if self._r.mistakes[number] >= MISTAKES:
            await self._r.unsent(
                claim, Rejected(Cause.INTERNAL, describe(error), billed=False), None
            )
            return
        due = now + backoff(FIRST_REFUSAL, self._r.mistakes[number], LONGEST_REFUSAL)
        await self._r.unsent(claim, Delayed(Cause.INTERNAL, describe(error)), due)
        source.look(due)

    async def _not_recorded(
        self, lane: Lane, flight: Flight, event: Event, error: Exception
    ) -> None:
        """An answer is here and something that nobody foresaw happened to it. Its id is not lost with it."""
        if flight.job.state is not State.SUBMITTING:
            await self._r.mistaken(flight, error)
            return
        self._r.log("an answer could not be recorded", error)
        taken = isinstance(event, Accepted | Finished)
        if taken:
            try:
                await self._r.record(flight, event, self._r.now())
            except StoreError:
                raise
            except Exception as again:  # noqa: BLE001 - told below
                error = again
            else:
                return
        unclear = Unclear(f"{describe(error)}{_what_was_told(event)}")
        await self._unclear(lane, flight, unclear, taken=taken)

    async def _after_submit(self, lane: Lane, source: Source, flight: Flight, event: Event) -> None:
        now = self._r.now()
        lane.outage.submitted(event, flight.job.number, now)
        match event:
            case Accepted():
                lane.limiter.accepted()
                flight.submitted_at = now
                await self._r.record(flight, event, self._r.board.next_poll(flight, now))
                flight.client_ref = ""  # its id is known from here on
            case Finished():
                lane.limiter.accepted()
                await self._r.finished(flight, event)
            case Refused():
                self._r.board.free_slot(flight)
                lane.limiter.refused(event, now)
                await self._again_later(source, flight, event)
            case Unclear():
                flight.doubt_since = self._r.edges.clock.monotonic()
                await self._unclear(lane, flight, event)
            case _:
                await self._r.record(flight, event, None)

    async def _again_later(self, source: Source, flight: Flight, event: Refused) -> None:
        """Queue it again. What speaks for this job alone is believed after a few answers, or the run would not end."""
        now = self._r.now()
        if event.provider_wide or event.crowded:
            wait = 0.0
        else:
            number = flight.job.number
            self._refusals[number] += 1
            pause = backoff(FIRST_REFUSAL, self._refusals[number], LONGEST_REFUSAL)
            wait = max(event.retry_after or 0.0, pause)
            if self._refusals[number] >= REFUSALS:
                detail = f"refused {REFUSALS} times: {event.detail}"
                await self._r.record(flight, Rejected(event.cause, detail, billed=False), None)
                return
        await self._r.record(flight, event, now + wait)
        source.look(now + wait)

    # -- doubt ---------------------------------------------------------------------------------------------------

    async def _unclear(
        self, lane: Lane, flight: Flight, event: Unclear, *, taken: bool = False
    ) -> None:
        """Nobody can tell whether it was taken: look it up where the API can say, else hold, or as the user said.

        `taken`: it was, for certain, so it is held whatever the user said of doubt.
        """
        model = flight.job.spec.model
        can_ask = not taken and lane.dialect(model).lookup(model, flight.client_ref) is not None
        if can_ask and event.check_after is not None:
            await self._r.record(
                flight, event, self._r.now() + max(event.check_after, FIRST_TROUBLE)
            )
            return
        source = self._r.board.source(flight.batch)
        again = not taken and source is not None and source.batch.on_doubt == "resubmit"
        if not again or flight.job.attempt >= self._r.options.attempts:
            await self._r.record(flight, replace(event, check_after=None), None)
            return
        if await self._r.record(flight, event, self._r.now()):
            await self._r.record(flight, Requeued("on_doubt: resubmit"), self._r.now())

    async def lookup(self, lane: Lane, flight: Flight) -> None:
        """Ask whether a submit without an answer was taken."""
        exchange = lane.dialect(flight.job.spec.model).lookup(
            flight.job.spec.model, flight.client_ref
        )
        if exchange is None:
            await self._unclear(lane, flight, Unclear(flight.job.detail, check_after=None))
            return
        # An answer knows no more than the moment of the question. Not the clock on the wall: somebody may set it.
        doubted_for = self._r.edges.clock.monotonic() - flight.doubt_since
        event = await self._r.ask(lane, flight, exchange)
        now = self._r.now()
        match event:
            case Accepted():
                if await self._r.record(flight, event, self._r.board.next_poll(flight, now)):
                    flight.trouble, flight.stuck_seen = 0, False
            case Finished():
                await self._r.finished(flight, event)
            case Absent() if doubted_for < self._r.options.settle:
                # Asked too soon to believe it: a request on its way may still arrive.
                self._r.board.wake(flight, now + self._r.options.settle - doubted_for)
            case Absent() | Rejected():
                await self._r.record(flight, event, now)
            case Delayed():
                await self._r.trouble(flight, event)


def _what_was_told(event: Event) -> str:
    """Of an answer that is lost otherwise, what helps a person to find the job."""
    match event:
        case Accepted():
            return f"; the provider took it as {event.remote.id}"
        case Finished():
            return f"; the provider made {' '.join(each.url for each in event.artifacts)}"
        case _:
            return ""
