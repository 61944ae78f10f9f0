"""Mistakes that a program like this one could have, to see that a simulated night finds them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from runner import steps
from runner.causes import Cause
from runner.engine import Engine, Options
from runner.engine.buying import Buyer
from runner.engine.recorder import Recorder
from runner.events import Accepted, Event, Refused, Rejected, Unclear
from runner.files import publish
from runner.keys import Credential, Keys
from runner.limits import Permits
from runner.providers.provider import Auth
from runner.store import Batch, SqliteStore, manifests
from runner.store.contract import Intent
from runner.store.flusher import Flusher


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


async def _shrugs(_self: Engine, work: Coroutine[Any, Any, None], *_: Any) -> None:
    """A store that fails is somebody else's trouble."""
    with suppress(Exception):
        await work


@contextmanager
def _goes_on() -> Iterator[None]:
    """After a commit has failed, the next one is tried."""
    whole = property(lambda _: None, lambda _, __: None)
    with (
        mock.patch.object(Flusher, "broken", whole, create=True),
        mock.patch.object(Engine, "_guard", _shrugs),
    ):
        yield


async def _spends(self: SqliteStore, now: float, budget: Any = None) -> int:
    """A run does not know its budget."""
    del budget
    return await _begin_run(self, now)


def _moves(connection: sqlite3.Connection, batch: Batch, **others: Any) -> int:
    """A new seller in the manifest takes over what the old one is making."""
    connection.execute(
        "UPDATE job SET provider = ? WHERE batch = ?", (batch.provider, batch.number)
    )
    return _finish(connection, batch, **others)


def _overlooks(connection: sqlite3.Connection, batch: Batch, **others: Any) -> int:
    """A batch does not know its budget."""
    return _finish(connection, replace(batch, budget=None), **others)


def _unhurried(*, until: float | None, **others: Any) -> Options:
    """The time to stop is not noticed."""
    del until
    return Options(**others)


def _mixes(self: Keys, auth: Auth) -> Credential:
    """One key for all sellers."""
    return _find(self, replace(auth, env="UNIAPI_API_KEY") if auth.secret_env is None else auth)


def _believes(_connection: Any, _job: Any, _event: Any) -> None:
    """An id that another job has is taken for this one's."""


_submit, _intend, _after_submit = steps.submit, SqliteStore.intend, Buyer._after_submit
_publish, _record = publish.publish, Recorder.record
_begin_run, _finish, _find = SqliteStore.begin_run, manifests.finish, Keys.find
_hurried: list[asyncio.Future[Any]] = []

RARE = {
    "sends again what is in doubt": 8,
    "believes at once that a submit is absent": 8,
    "goes on after the store has failed": 5,
    "ignores the budget of the run": 7,
    "moves a job that is being made": 8,
    "goes on after its time": 21,
}
"""The seed to begin with, where it takes rare weather to see a mistake."""
MISTAKES: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "sends again what is in doubt": (
        lambda: mock.patch("runner.steps.submit", _sends_again), "was bought"),
    "sends before the intent is durable": (
        lambda: mock.patch.object(SqliteStore, "intend", _hurries), "is sent while it is queued"),
    "forgets a receipt": (
        lambda: mock.patch.object(Buyer, "_after_submit", _forgets), "knows nothing of it"),
    "believes at once that a submit is absent": (
        _hasty, "was bought"),
    "ignores the budget": (
        lambda: mock.patch("runner.store.manifests.finish", _overlooks), "were bought over"),
    "ignores the rate": (
        lambda: mock.patch.object(Permits, "wait", return_value=0.0), "submits to"),
    "names a file that is not whole": (
        lambda: mock.patch("runner.files.outputs.publish", _cuts), "is done with"),
    "loses a wake-up": (
        lambda: mock.patch.object(Recorder, "record", _sleeps), "does not end"),
    "goes on after the store has failed": (
        _goes_on, "after the store has failed"),
    "ignores the budget of the run": (
        lambda: mock.patch.object(SqliteStore, "begin_run", _spends), "jobs of run"),
    "moves a job that is being made": (
        lambda: mock.patch("runner.store.manifests.finish", _moves), "wrong seller"),
    "sends what left the manifest": (
        lambda: mock.patch("runner.store.claims._QUEUED", "job.state = 'queued'"), "no longer"),
    "goes on after its time": (
        lambda: mock.patch("tests.simulation.life.Options", _unhurried), "after the time to stop"),
    "ignores the limit": (
        lambda: mock.patch.object(Engine, "_may_submit", return_value=True), "in one run, over"),
    "sends a key to another seller": (
        lambda: mock.patch.object(Keys, "find", _mixes), "key: UNIAPI_API_KEY went to"),
    "takes another job's id for its own": (
        lambda: mock.patch("runner.store.ledger._owner", _believes), "IntegrityError"),
}  # fmt: skip
"""What is wrong: how to make it so, and words of the promise that it breaks."""
