"""Ending a process at its n-th operation: every SQL statement and every call that changes a file counts."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest import mock

from tests.crash.life import Life
from tests.crash.traps import die

_FILE_CALLS = ("fsync", "link", "unlink", "rename", "replace", "mkdir", "ftruncate")


class Counter:
    """Counts operations and ends the process at one of them."""

    def __init__(self, last: int) -> None:
        self._last = last
        self._count = itertools.count(1)

    def tick(self, *_: object) -> None:
        """One more."""
        if next(self._count) == self._last:
            die()


@contextmanager
def sweeping(life: Life) -> Iterator[None]:
    """Count what this process does, if it was told an operation to end at."""
    if not life.operation:
        yield
        return
    counter = Counter(life.operation)
    real_connect = sqlite3.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real_connect(*args, **kwargs)
        connection.set_trace_callback(counter.tick)
        return connection

    with mock.patch("sqlite3.connect", connect):
        calls: dict[str, Any] = {name: _counted(getattr(os, name), counter) for name in _FILE_CALLS}
        with mock.patch.multiple(os, **calls):
            yield


def _counted(call: Callable[..., Any], counter: Counter) -> Callable[..., Any]:
    @wraps(call)
    def counted(*args: Any, **kwargs: Any) -> Any:
        counter.tick()
        return call(*args, **kwargs)

    return counted
