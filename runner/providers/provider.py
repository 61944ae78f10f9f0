"""What a provider is (data), and what a dialect has to answer (code)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runner.budget import Price
from runner.events import Remote
from runner.limits import Limits
from runner.wire import Exchange


@dataclass(frozen=True, slots=True)
class Auth:
    """How a provider's key is presented.

    `scheme` is the word before the key (`Bearer`, `Key`), `JWT` for a token minted from an access and a secret key
    (HS256, as documented by Kling), or `none` where no key is asked for. `env` names the environment variable of the
    key; for `JWT`, `env` is the access key's and `secret_env` the secret key's.
    """

    scheme: str
    env: str
    secret_env: str | None = None

    @property
    def needs_key(self) -> bool:
        """Whether a request without a key would be refused."""
        return self.scheme != "none"

    @property
    def minted(self) -> bool:
        """Whether a new token can be made when the old one is refused."""
        return self.scheme == "JWT"


@dataclass(frozen=True, slots=True)
class Traits:
    """How one seller's fronting of a protocol differs from another's. Data, never an `if` on a name."""

    lookup: bool = False
    """The Kling task query answers for our `external_task_id`, and an unknown one proves that nothing was bought."""
    external_id: bool = False
    """The submit body takes `external_task_id`."""
    cancel: bool = False
    """Jobs can be cancelled at the provider."""
    refuses_crowd: bool = False
    """Above its concurrency the provider refuses (Kling 1303) instead of queueing (fal)."""
    numeric_duration: bool = False
    """`duration` goes out as a number, not as a string."""
    min_poll: float = 2.0
    """Finer polling than this many seconds brings nothing."""
    expected: float = 90.0
    """Seconds that a job is guessed to take before anything was learned."""
    result_lifetime: float | None = None
    """Seconds that results are kept after they are made."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A seller: base URL, key, limits, prices. Which dialect it speaks follows from the path of the model.

    `base_url` has no slash at its end; it is empty for a preset whose address only the user knows. `prices` are by
    model path; `media_hosts` are the private hosts that results may come from; `max_result` is in bytes.
    """

    name: str
    base_url: str
    auth: Auth
    limits: Limits = field(default_factory=Limits)
    prices: Mapping[str, Price] = field(default_factory=dict)
    media_hosts: tuple[str, ...] = ()
    fal: Traits = field(default_factory=Traits)
    kling: Traits = field(default_factory=Traits)
    max_result: int = 5_000_000_000
    poll: str = "normal"
    """The user's trade between polls and delay: `eager`, `normal` or `frugal`."""
    private: bool = False
    """The user wrote the base URL, so plain http and private addresses are allowed for it."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a dialect needs to submit: the model's path, the body with images loaded, and our reference."""

    model: str
    params: Mapping[str, Any]
    client_ref: str


class Dialect(Protocol):
    """How to speak a protocol, without I/O: each method is a conversation that a caller carries to the network.

    The caller turns a request without an answer into an event itself, so a dialect only ever sees answers. It never
    looks at a host that a server names.
    """

    def submit(self, order: Order) -> Exchange:
        """Send the paid request. Returns Accepted, Finished, Refused, Rejected or Unclear.

        The first request yielded is the paid one. It is yielded a second time only after an answer which proves that
        it was not taken (its token had expired), and then with `fresh_token`.
        """

    def poll(self, remote: Remote) -> Exchange:
        """Ask how far it is. Returns Progressed, Finished, Rejected or Delayed."""

    def lookup(self, model: str, client_ref: str) -> Exchange | None:
        """Ask whether a submit without an answer was taken; None where the API can't say.

        Returns Accepted, Absent or Delayed.
        """

    def cancel(self, remote: Remote) -> Exchange | None:
        """Ask the provider to stop; None where it can't. Returns Cancelled or Delayed."""

    def remote(self, model: str, remote_id: str) -> Remote:
        """Build the address of a job from its id alone, for a person who found the id elsewhere.

        Raises:
            UsageError: it can't be an id.
        """
