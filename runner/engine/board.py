"""What a run knows in memory: lanes, flights, who is due when, and counts. All of it can be rebuilt from rows."""

from __future__ import annotations

import heapq
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from runner.engine.lane import Flight, Lane, Source
from runner.events import Event
from runner.job import Job, Spec, State
from runner.polling import Latencies, Law
from runner.providers import default_seconds
from runner.store import Claimed
from runner.wakeups import Wakeups

Observer = Callable[[Job, Event], None]
GAP_WHEN_STUCK = 120.0
NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


class Board:
    """The jobs of one run, as the engine sees them between two looks at the store."""

    def __init__(self, lanes: Mapping[str, Lane], latencies: Latencies) -> None:
        self.lanes = dict(lanes)
        self.latencies = latencies
        self.flights: dict[int, Flight] = {}
        self.wakeups = Wakeups()
        self.ready: list[tuple[float, int]] = []
        self.stored: Mapping[tuple[int, str, State], int] | None = None
        """Jobs by batch, provider and state, before anything was recorded here; None until they are counted."""
        self._changes: Counter[tuple[int, str, State]] = Counter()
        self.submits = 0

    def __repr__(self) -> str:
        """State in one line."""
        return f"<Board flights={len(self.flights)} ready={len(self.ready)} {self.wakeups!r}>"

    @property
    def tally(self) -> Counter[tuple[int, str, State]]:
        """Jobs by batch, provider and state; empty until they are counted."""
        tally: Counter[tuple[int, str, State]] = Counter()
        if self.stored is not None:
            tally.update(self.stored)
            tally.update(self._changes)
        return tally

    def lane(self, flight: Flight) -> Lane:
        """The lane that a job in the air belongs to: the provider that took it."""
        return self.lanes[flight.job.provider]

    def sources(self) -> list[Source]:
        """The queued jobs of every batch."""
        return [source for lane in self.lanes.values() for source in lane.sources]

    def source(self, batch: int) -> Source | None:
        """The queued jobs of a batch, if it has any."""
        return next((source for source in self.sources() if source.batch.number == batch), None)

    def board(self, claim: Claimed, job: Job) -> Flight:
        """Take a job into the air. What only its submit and its fetch need stays in rows."""
        spec = job.spec
        length = default_seconds(spec.model, spec.params)
        doubtful = job.state in (State.SUBMITTING, State.IN_DOUBT)
        flight = Flight(
            job=replace(job, spec=Spec("", spec.batch, spec.id, 0, 0, spec.model, NO_PARAMS, "")),
            batch=claim.batch,
            law=sys.intern(f"{job.provider}|{spec.model}|{length or ''}"),
            submitted_at=claim.submitted_at or job.changed_at,
            client_ref=claim.client_ref if doubtful else "",
            phase="queued" if job.state is State.SUBMITTING else "",
            expires_at=claim.expires_at,
        )
        self.flights[job.number] = flight
        return flight

    def land(self, flight: Flight) -> None:
        """Let go of a job."""
        self.flights.pop(flight.job.number, None)
        self.wakeups.remove(flight.job.number)
        self.free_slot(flight)

    def stick(self, flight: Flight) -> None:
        """The job is stuck: it is asked about slowly, holds no run open, and keeps its place from no other job."""
        flight.stuck_seen = True
        self.free_slot(flight)

    def free_slot(self, flight: Flight) -> None:
        """The job no longer counts as in flight at the provider."""
        if flight.slot:
            flight.slot = False
            self.lane(flight).limiter.left()

    def wake(self, flight: Flight, at: float | None) -> None:
        """Look at a job at `at`; a ready one waits in the order of its deadline instead."""
        if at is None:
            return
        if flight.job.state is State.READY and flight.tries == 0:
            expiry = flight.expires_at if flight.expires_at is not None else math.inf
            heapq.heappush(self.ready, (expiry, flight.job.number))
        else:
            self.wakeups.add(
                flight.job.number, at, 1.0 if flight.job.state is State.RUNNING else 2.0
            )

    def law(self, flight: Flight) -> Law:
        """How long jobs like this one take."""
        return self.latencies.law(
            flight.law, self.lane(flight).traits(flight.job.spec.model).expected
        )

    def learn(self, flight: Flight, seconds: float) -> None:
        """A job like this one took so long."""
        expected = self.lane(flight).traits(flight.job.spec.model).expected
        self.latencies.observe(flight.law, expected, seconds)

    def next_poll(self, flight: Flight, now: float) -> float:
        """When to ask again."""
        lane = self.lane(flight)
        least = lane.traits(flight.job.spec.model).min_poll
        gap = self.law(flight).gap(flight.waited(now), lane.poll_worth, least)
        return now + (max(gap, GAP_WHEN_STUCK) if flight.stuck_seen else gap)

    def next_question(self, lane: Lane) -> int:
        """The job to ask about next: in turn, or where only one may be asked about, one with the least trouble."""
        if not lane.outage.questions.closed:
            return lane.polls.popleft()
        best = min(lane.polls, key=self._trouble)
        lane.polls.remove(best)
        return best

    def _trouble(self, number: int) -> int:
        flight = self.flights.get(number)
        return 0 if flight is None else flight.trouble

    def work_left(self, *, may_submit: bool) -> bool:
        """Whether anything can still move without a person."""
        for flight in self.flights.values():
            silent = self.lane(flight).limiter.silent and flight.job.state is not State.READY
            if not flight.stuck_seen and not silent:
                return True
        return may_submit and any(
            (source.pending or source.next_at is not None or source.refilling)
            and not source.over_budget
            and not lane.limiter.held
            for lane in self.lanes.values()
            for source in lane.sources
        )

    def set_back(self, seconds: float, latest: float) -> None:
        """The clock was set back: no job waits past `latest`, and limits last no longer than they would have."""
        self.wakeups.shift(latest)
        for lane in self.lanes.values():
            lane.limiter.set_back(seconds)
            lane.outage.set_back(seconds)
        for source in self.sources():
            if source.next_at is not None:
                source.next_at -= seconds

    def count(self, batch: int, before: Job | None, after: Job) -> None:
        """Keep the counts in step with what was recorded."""
        if before is not None:
            self._changes[(batch, before.provider, before.state)] -= 1
        self._changes[(batch, after.provider, after.state)] += 1
