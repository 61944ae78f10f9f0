"""Every exception of the package.

Drawn by whose hands the fix is in:

    RunnerError
    ├── UsageError            the command line, the settings, a provider that isn't declared
    │   └── ManifestError     the manifest: carries every problem at once
    ├── KeyMissing            no key for a provider that is about to be used
    ├── StoreError            the state folder or its database
    │   ├── StoreLocked       another runner holds it
    │   └── StoreFull         the disk or the quota is used up
    ├── TransportError        no answer to a request
    │   ├── NotSent           it never left this machine: free to send again
    │   └── MaybeSent         it left, or may have: a paid one is in doubt
    └── DownloadError         a result that could not be turned into a file

Foreign exceptions (aiohttp, sqlite3, yaml, pydantic) end at the module that wraps their library, and are replaced
with `from None` where their text could hold a key or a signed URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RunnerError(Exception):
    """Something went wrong that a person can act on; the message says how."""

    exit_code = 1


class UsageError(RunnerError):
    """What was asked for can't be done as asked; nothing was sent."""

    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a file: where (1-based line and column; 0 where unknown), what, and what to write instead."""

    file: str
    line: int
    column: int
    message: str
    warning: bool = False

    def __str__(self) -> str:
        """`file:line:column: message`, the form editors and terminals turn into a link."""
        kind = "warning: " if self.warning else ""
        return f"{self.file}:{self.line}:{self.column}: {kind}{self.message}"


class ManifestError(UsageError):
    """The manifest has mistakes; all of them are in `problems`, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class KeyMissing(RunnerError):
    """No key for a provider that is about to be used."""

    exit_code = 6


class StoreError(RunnerError):
    """The state folder can't be used as it is."""

    exit_code = 9


class StoreLocked(StoreError):
    """Another runner holds the state folder."""

    exit_code = 7


class StoreFull(StoreError):
    """The disk or the quota under the state folder is used up."""


class TransportError(RunnerError):
    """A request got no answer."""


class NotSent(TransportError):
    """The request never left this machine (name not found, refused, TLS, connect timeout)."""


class MaybeSent(TransportError):
    """The request left, or may have: reset, timeout or garbage after the connection was made."""


class DownloadError(RunnerError):
    """A result could not be fetched; `cause` is a value of `runner.causes.Cause`."""

    def __init__(self, message: str, *, cause: str, gone: bool = False, again: bool = True) -> None:
        super().__init__(message)
        self.cause = cause
        self.gone = gone
        self.again = again
