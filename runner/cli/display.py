"""What is shown while a run works: looked at a few times a second, told about every event."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from runner.budget import Money
from runner.causes import Cause
from runner.cli.progress import Pace, Progress, budget_of, look
from runner.cli.session import Session
from runner.engine import Engine
from runner.errors import RunnerError
from runner.events import Event
from runner.job import Job
from runner.store.contract import Batch
from runner.store.folder import StateFolder
from runner.store.reader import reading

MONEY_EVERY = 1.0
TAKEOVER = 0.02


class Display(Protocol):
    """One way of showing a run."""

    every: float
    """Seconds between two looks."""

    def begin(self, progress: Progress) -> None:
        """The run has begun."""

    def happened(self, job: Job, event: Event) -> None:
        """Something was learned and is durable."""

    def held(self, provider: str, cause: Cause, detail: str) -> None:
        """A provider refuses the account: nothing more is sent to it."""

    def tick(self, progress: Progress) -> None:
        """Time has passed."""

    def end(self) -> None:
        """The run is over."""


class Watch:
    """Connects an engine to a display; its task lives on the engine's own loop."""

    def __init__(self, session: Session, display: Display, run_budget: Money | None) -> None:
        self.engine: Engine | None = None
        self._session = session
        self._display = display
        self._run_budget = run_budget
        self._batches: Sequence[Batch] = ()
        self._pace = Pace()
        self._spent: tuple[Money, ...] = ()
        self._money_at = 0.0
        self._held: set[str] = set()
        self._early: list[tuple[Job, Event]] = []
        self._begun = False
        self._task: asyncio.Task[None] | None = None

    def started(self, engine: Engine, batches: Sequence[Batch]) -> None:
        """Begin to look at an engine."""
        self.engine, self._batches = engine, batches
        self._task = asyncio.get_running_loop().create_task(self._follow())

    def observe(self, job: Job, event: Event) -> None:
        """Pass an event on."""
        self._early.append((job, event))
        self._catch_up()

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._early:
            self._catch_up(known=True)
        if self._begun:
            self._display.end()

    def _catch_up(self, *, known: bool = False) -> None:
        """Begin, once it is `known` how many jobs there are, and show what has happened until then."""
        assert self.engine is not None
        if not known and self.engine.board.stored is None:
            return
        if not self._begun:
            self._begun = True
            self._display.begin(self._look())
        early, self._early = self._early, []
        for job, event in early:
            self._display.happened(job, event)

    async def _follow(self) -> None:
        assert self.engine is not None
        while self.engine.board.stored is None:  # it is still counting what an earlier run left
            await self._session.clock.sleep(TAKEOVER)
        await self._count_money()
        self._catch_up()
        while True:
            await self._session.clock.sleep(self._display.every)
            if not 0 <= self._session.clock.now() - self._money_at < MONEY_EVERY:
                await self._count_money()
            progress = self._look()
            for lane in progress.lanes:
                if lane.held is not None and lane.name not in self._held:
                    self._held.add(lane.name)
                    self._display.held(lane.name, lane.held, lane.detail)
            self._display.tick(progress)

    async def _count_money(self) -> None:
        self._money_at = self._session.clock.now()
        with suppress(RunnerError):  # a display is never a reason to end a run
            self._spent = await asyncio.to_thread(self._spend)

    def _look(self) -> Progress:
        assert self.engine is not None
        progress = look(self.engine, self._pace, self._session.clock.now())
        return replace(
            progress, spent=self._spent, budget=budget_of(self._batches, self._run_budget)
        )

    def _spend(self) -> tuple[Money, ...]:
        with reading(StateFolder(self._session.settings.state)) as reader:
            if reader is None:
                return ()
            sums: dict[str, Money] = {}
            for spend in reader.spend([batch.number for batch in self._batches]):
                before = sums.get(spend.committed.currency)
                sums[spend.committed.currency] = (
                    spend.committed if before is None else before + spend.committed
                )
            return tuple(sums.values())
