"""Mistakes that a program like this one could have, to see that a simulated night finds them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from runner import steps
from runner.causes import Cause
from runner.engine import Options
from runner.engine.buying import Buyer
from runner.engine.recorder import Recorder
from runner.events import Accepted, Event, Refused, Rejected, Unclear
from runner.files import publish
from runner.limits import Permits
from runner.store import SqliteStore
from runner.store.contract import Intent


async def _sends_again(*args: Any, **kwargs: Any) -> Event:
    """A lost answer counts as a refusal."""
    event = await _submit(*args, **kwargs)
    return Refused(Cause.PROVIDER_ERROR, event.detail) if isinstance(event, Unclear) else event


async def _hurries(self: SqliteStore, *args: Any) -> Intent:
    """The request leaves before its intent is durable."""
    _hurried.append(asyncio.ensure_future(_intend(self, *args)))
    return Intent.DURABLE


async def _forgets(self: Buyer, lane: Any, source: Any, flight: Any, event: Event) -> None:
    """A receipt is thrown away where the provider took its time."""
    late = self._r.now() - flight.job.changed_at > 0.3
    if isinstance(event, Accepted) and late:
        event = Rejected(Cause.PROVIDER_ERROR, "")
    await _after_submit(self, lane, source, flight, event)


def _cuts(part: Path, *args: Any) -> Path | None:
    """A clip gets its name although it is not whole."""
    if part.is_file() and part.stat().st_size % 3 == 0:
        part.write_bytes(part.read_bytes()[:-1])
    return _publish(part, *args)


async def _sleeps(self: Recorder, flight: Any, event: Event, due_at: float | None) -> bool:
    """Now and then nobody is woken to look at a job again."""
    known = await _record(self, flight, event, due_at)
    if flight.job.number % 7 == 0 and isinstance(event, Accepted):
        self.board.wakeups.remove(flight.job.number)
    return known


@contextmanager
def _hasty() -> Iterator[None]:
    """A request that is still on its way counts as never sent."""
    with (
        mock.patch("runner.providers.kling._LOOK_AGAIN", 0.0),
        mock.patch("tests.simulation.life.Options", partial(Options, settle=0.0)),
    ):
        yield


_submit, _intend, _after_submit = steps.submit, SqliteStore.intend, Buyer._after_submit
_publish, _record = publish.publish, Recorder.record
_hurried: list[asyncio.Future[Any]] = []

RARE = {"believes at once that a submit is absent": 30}
"""The seed to begin with, where it takes rare weather to see a mistake."""
MISTAKES: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "sends again what is in doubt": (
        lambda: mock.patch("runner.steps.submit", _sends_again), "was bought"),
    "sends before the intent is durable": (
        lambda: mock.patch.object(SqliteStore, "intend", _hurries), "was bought while it was queued"),
    "forgets a receipt": (
        lambda: mock.patch.object(Buyer, "_after_submit", _forgets), "knows nothing of it"),
    "believes at once that a submit is absent": (
        _hasty, "was bought"),
    "ignores the budget": (
        lambda: mock.patch("runner.store.ledger._affordable", return_value=True), "were bought over"),
    "ignores the rate": (
        lambda: mock.patch.object(Permits, "wait", return_value=0.0), "submits to"),
    "names a file that is not whole": (
        lambda: mock.patch("runner.files.outputs.publish", _cuts), "is done with"),
    "loses a wake-up": (
        lambda: mock.patch.object(Recorder, "record", _sleeps), "does not end"),
}  # fmt: skip
"""What is wrong: how to make it so, and words of the promise that it breaks."""
