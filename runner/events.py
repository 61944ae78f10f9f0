"""The things that can be learned about a job.

An event moves the state (`runner.job.TRANSITIONS`), is the history row, and feeds the display. It says what happened,
not what to do next: delays are seconds from now, chosen by whoever learned the fact; the engine makes times of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from runner.causes import Cause

_Forms = tuple[tuple[str, tuple[str, ...]], ...]


@lru_cache(maxsize=1024)
def _shared(forms: _Forms) -> _Forms:
    return forms


@dataclass(frozen=True, slots=True, init=False)
class Remote:
    """A job at the provider: its opaque id, and what its dialect needs to ask for it again.

    `paths` are paths on the provider's own base (never a URL, never a host), by what they are for: `status`,
    `result` and `cancel`, or `query`. They are kept cut where the id stands in them: what is left, all jobs of a
    model have in common and share.
    """

    id: str
    forms: _Forms

    def __init__(self, id: str, paths: Mapping[str, str] | None = None) -> None:  # noqa: A002
        cut = (
            (name, tuple(path.split(id) if id else [path]))
            for name, path in sorted((paths or {}).items())
        )
        object.__setattr__(self, "id", id)
        object.__setattr__(self, "forms", _shared(tuple(cut)))

    @property
    def paths(self) -> dict[str, str]:
        """The whole paths, by what they are for."""
        return {name: self.id.join(parts) for name, parts in self.forms}


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file that the provider made: where it is and what the provider says of it (none of it trusted).

    `size` is in bytes, `duration` in seconds; `remote_id` is the provider's own id of the file, where it has one.
    """

    url: str
    content_type: str | None = None
    size: int | None = None
    remote_id: str | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file on disk: path relative to the outputs folder (with `/`), SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Intended:
    """The request is about to leave. Durable before it does.

    `attempt` counts from 1, `client_ref` is our name for it at the provider, `digest` the SHA-256 of the body,
    `price_micros` what it will cost (millionths of `currency`; None where unknown), `send_by` the wall-clock second
    after which it may no longer be sent.
    """

    attempt: int
    client_ref: str
    digest: str
    provider: str
    send_by: float
    price_micros: int | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the job: from here on it is only polled and fetched."""

    remote: Remote
    poll_after: float = 5.0


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider did not take the job now, and billed nothing: it may be sent again later.

    `provider_wide` says that the answer speaks for the account or the connection and not for this job, so every job
    of the provider waits; `retry_after` is in seconds (None: the provider did not say). `crowded` marks a refusal
    because too many jobs are in flight.
    """

    cause: Cause
    detail: str = ""
    retry_after: float | None = None
    provider_wide: bool = False
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """It will not become a clip: refused for good, or failed at the provider.

    `billed` is what the provider charges for it: True, False, or None where its documentation does not say. `passing`
    marks an answer that a bad moment of the provider could give as well: it is asked for again before it is believed.
    """

    cause: Cause
    detail: str = ""
    billed: bool | None = None
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nobody here can tell whether the provider took the job. `check_after` None: held for a person."""

    detail: str = ""
    cause: Cause = Cause.ANSWER_LOST
    check_after: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Absent:
    """The provider was asked, and has no such job: nothing was bought."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Progressed:
    """Still being made. `phase` is `queued` or `running`; written only when it changes.

    `note` is what is odd about the answer (an unknown status word), reported once.
    """

    phase: str
    note: str = ""
    poll_after: float | None = None


@dataclass(frozen=True, slots=True)
class Delayed:
    """The step did not get an answer it can use; the job stays where it is and is looked at again.

    `provider_wide` says that nobody answered, or only with an error of the server: it does not speak of this job.
    """

    cause: Cause
    detail: str = ""
    retry_after: float | None = None
    provider_wide: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The clip is made and can be fetched. `lifetime` is how many seconds the provider keeps it (None: unknown)."""

    artifacts: tuple[Artifact, ...]
    lifetime: float | None = None
    units: str | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """Bytes on disk under their final names, synced and hashed."""

    files: tuple[SavedFile, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """The address of the result no longer answers: ask the provider for a fresh one."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Cancelled on request. `remote` says what the provider answered, where it was asked."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Requeued:
    """It shall be sent (again): a person says so, or `on_doubt: resubmit` does.

    `billed` is what is known of the attempt in doubt: False once it is certain that it was not taken.
    """

    detail: str = ""
    billed: bool | None = None


Event = (
    Intended
    | Accepted
    | Refused
    | Rejected
    | Unclear
    | Absent
    | Progressed
    | Delayed
    | Finished
    | Saved
    | Gone
    | Cancelled
    | Requeued
)
