"""Makes events durable, then lets memory follow. The only code of a run that records one."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

from runner import steps
from runner.causes import Cause
from runner.clock import backoff
from runner.engine.board import Board, Observer
from runner.engine.lane import Flight, Lane
from runner.engine.options import Options
from runner.events import Accepted, Delayed, Event, Finished, Refused, Rejected, Unclear
from runner.job import Job, State, advanced
from runner.outage import LONGEST_EXCUSE
from runner.steps import Edges
from runner.store import Claimed, Store
from runner.wire import Exchange, excerpt

log = logging.getLogger(__name__)

FIRST_TROUBLE = 2.0
LONGEST_TROUBLE = 120.0
USELESS_ANSWERS = 20  # in a row, before a job is reported as stuck
MISTAKES = 4  # of this program at one job in a run, before the run waits for it no longer


class Recorder:
    """What buying and watching share: the store, the edges, the board, and writing down what was learned."""

    def __init__(
        self,
        store: Store,
        edges: Edges,
        board: Board,
        options: Options,
        run: int,
        observer: Observer,
    ) -> None:
        self.store = store
        self.edges = edges
        self.board = board
        self.options = options
        self.run = run
        self._observer = observer
        self.mistakes: Counter[int] = Counter()
        self._logged: set[tuple[str, type[Exception]]] = set()

    def now(self) -> float:
        """Unix seconds."""
        return self.edges.clock.now()

    async def record(self, flight: Flight, event: Event, due_at: float | None) -> bool:
        """Make it durable, then let memory follow."""
        now, before = self.now(), flight.job
        state = await self.store.record(before, event, now, due_at)
        if state is None:
            log.warning("%s was changed by somebody else; letting go of it", before.spec.id)
            self.board.land(flight)
            return False
        if isinstance(event, Accepted) and state is State.IN_DOUBT:
            event, due_at = Unclear("its id belongs to another job", check_after=None), None
        if due_at is not None:
            due_at -= max(0.0, now - self.now())  # the clock was set back while this was written
        flight.job = advanced(before, state, event, now, due_at)
        self.board.count(flight.batch, before, flight.job)
        self.tell(flight.job, event)
        if state.ended or state is State.QUEUED or due_at is None:
            if state is State.QUEUED:
                self._requeued(flight, due_at)
            self.board.land(flight)
        elif flight.job.number in self.board.flights:
            self.board.wake(flight, due_at)
        return True

    def _requeued(self, flight: Flight, due_at: float | None) -> None:
        source = self.board.source(flight.batch)
        if source is not None:
            source.look(due_at or 0.0)

    async def unsent(self, claim: Claimed, event: Rejected | Delayed, due_at: float | None) -> None:
        """A queued job that can't even be sent, for good or for now."""
        state = await self.store.record(claim.job, event, self.now(), due_at)
        if state is not None:
            after = advanced(claim.job, state, event, self.now(), due_at)
            self.board.count(claim.batch, claim.job, after)
            self.tell(after, event)

    def tell(self, job: Job, event: Event) -> None:
        """Show what was recorded. A display that breaks costs no job."""
        try:
            self._observer(job, event)
        except Exception as error:  # noqa: BLE001 - logged below
            self.log("the display", error)

    def log(self, what: str, error: Exception) -> None:
        """Log a mistake of this program, each sort of it once: it may happen to thousands of jobs."""
        if (what, type(error)) not in self._logged:
            self._logged.add((what, type(error)))
            log.error("%s", what, exc_info=error)

    async def mistaken(self, flight: Flight, error: Exception) -> None:
        """A step went wrong in a way that nobody foresaw: this job waits and is tried again, the others go on."""
        self.log("a step failed", error)
        job, now = flight.job, self.now()
        if job.number not in self.board.flights:
            return
        if job.state is State.CANCELLED:
            flight.stuck_seen = True
            self.board.wake(flight, self.board.next_poll(flight, now))
            return
        flight.tries += 1  # else what is ready would be fetched again at once
        self.mistakes[job.number] += 1
        await self.trouble(flight, Delayed(Cause.INTERNAL, describe(error)))
        if self.mistakes[job.number] >= MISTAKES:
            self.board.stick(flight)

    async def finished(self, flight: Flight, event: Finished) -> None:
        """The clip is made: the job leaves the provider's hands and waits to be fetched."""
        now = self.now()
        flight.trouble, flight.tries, flight.denial = 0, 0, None
        flight.stuck_seen = False  # late is not lost: the run waits for the file
        flight.expires_at = None if event.lifetime is None else now + event.lifetime
        self.board.free_slot(flight)
        await self.record(flight, event, now)

    async def trouble(self, flight: Flight, event: Delayed) -> None:
        """No answer that can be used: ask again later, and write down only what is new."""
        now = self.now()
        lane = self.board.lane(flight)
        if flight.trouble == 0:
            flight.trouble_since = now
        if not (event.provider_wide and flight.trouble and lane.outage.excuses(now)):
            flight.trouble += 1
        if event.cause is Cause.BAD_KEY:
            lane.limiter.refused(Refused(event.cause, event.detail, provider_wide=True), now)
        wait = backoff(FIRST_TROUBLE, flight.trouble, LONGEST_TROUBLE)
        due = now + max(event.retry_after or 0.0, wait)
        counts = event.cause is Cause.PROVIDER_ERROR or now - flight.trouble_since > LONGEST_EXCUSE
        useless = flight.trouble >= USELESS_ANSWERS and counts and flight.denial is None
        if useless or flight.stuck_seen:  # no run waits for it, so its row has to say that
            if event.cause is not Cause.INTERNAL:
                event = replace(event, cause=Cause.STUCK)
            self.board.stick(flight)
        if event.cause is not flight.job.cause and flight.trouble > 1:
            await self.record(flight, event, due)
        else:
            self.board.wake(flight, due)

    async def ask(self, lane: Lane, flight: Flight, exchange: Exchange) -> Event:
        """Have a conversation that costs nothing; whatever goes wrong in it is an event too."""
        try:
            event = await steps.ask(self.edges.http, lane.provider, exchange)
        except Exception as error:
            log.exception("question about %s", flight.job.spec.id)
            return Delayed(
                Cause.PROVIDER_ERROR, f"the answer could not be read: {excerpt(str(error))}"
            )
        if not (flight.stuck_seen and isinstance(event, Delayed)):  # that it fails is known
            lane.outage.asked(event, flight.job.number, self.now())
        return event


def describe(error: Exception) -> str:
    """An error that nobody foresaw, in one line."""
    return f"{type(error).__name__}: {excerpt(str(error))}"
