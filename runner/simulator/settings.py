"""How the simulator is set: speed, limits, prices and keys, as values."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .systems import SYSTEMS, System, changed

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_P95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of seconds: `fixed:2`, `uniform:1,3` or `lognormal:2,6` (median, 95th percentile)."""

    kind: str
    first: float
    second: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Latency:
        """Read the text form; a bare number is `fixed`. Raises ValueError on anything else."""
        kind, colon, rest = text.partition(":")
        if not colon:
            kind, rest = "fixed", text
        try:
            numbers = [float(part) for part in rest.split(",")]
        except ValueError:
            numbers = []
        wanted = {"fixed": 1, "uniform": 2, "lognormal": 2}.get(kind)
        if wanted is None or len(numbers) != wanted or min(numbers) < 0:
            raise ValueError(
                f"{text!r} is not a latency. Write fixed:2, uniform:1,3 or lognormal:2,6 (seconds)"
            )
        latency = cls(kind, *numbers)
        if kind == "lognormal" and not 0 < latency.first <= latency.second:
            raise ValueError(f"{text!r}: the median must be positive and not above the percentile")
        return latency

    @property
    def typical(self) -> float:
        """The median in seconds."""
        return (self.first + self.second) / 2 if self.kind == "uniform" else self.first

    def draw(self, rng: random.Random) -> float:
        """Draw one duration in seconds."""
        if self.kind == "fixed":
            return self.first
        if self.kind == "uniform":
            return rng.uniform(self.first, self.second)
        sigma = math.log(self.second / self.first) / _P95
        return rng.lognormvariate(math.log(self.first), sigma)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many requests per window and key; more are answered with 429."""

    count: int
    window: float
    """Seconds."""
    kind: str = "fixed"
    """`fixed` window, `sliding` log or token `bucket`."""
    retry_after: bool = True
    """Whether a 429 says when to come back."""
    scope: str = "submits"
    """`submits` or `requests` (polls count too; media never does)."""

    @classmethod
    def parse(cls, text: str, *, retry_after: bool = True, scope: str = "submits") -> RateLimit:
        """Read `[fixed:|sliding:|bucket:]N/WINDOW`, for example `sliding:30/1m`. Raises ValueError."""
        match = re.fullmatch(r"(?:(fixed|sliding|bucket):)?(\d+)/(\d*\.?\d*)([smh])", text)
        if match is None or int(match[2]) < 1 or scope not in ("submits", "requests"):
            raise ValueError(
                f"{text!r} is not a rate limit. Write 30/1m, sliding:30/1m, bucket:5/1s"
            )
        window = float(match[3] or 1) * _UNITS[match[4]]
        return cls(int(match[2]), window, match[1] or "fixed", retry_after, scope)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that shapes a run of the simulator apart from its faults."""

    seed: int = 0
    queue: Latency = Latency("fixed", 0.2)
    """Time a task waits although a slot is free."""
    run: Latency = Latency("fixed", 0.6)
    """Time a task occupies a slot."""
    concurrency: int = 20
    """Slots per system: fal queues above it, Kling refuses."""
    rate_limit: RateLimit | None = None
    result_ttl: float | None = None
    """Seconds after its end that a result's URL works; None is forever."""
    expired_status: int = 403
    price: float = 0.35
    """USD per billed task, for the ledger's sum."""
    accept_any_key: bool = True
    """Accept every key in the right scheme; a JWT is verified all the same."""
    keys: tuple[str, ...] = ("sim-key",)
    """The only keys accepted when `accept_any_key` is off."""
    access_key: str = "sim-access"
    secret_key: str = field(default="sim-secret", repr=False)
    policy_word: str | None = "forbiddenword"
    """A prompt holding this word fails by content policy."""
    log_limit: int | None = 100_000
    """Requests kept in the log; None keeps all, 0 none."""
    max_body: int = 64 * 1024 * 1024
    """Bytes of a request body above which the answer is 413."""
    systems: Mapping[str, System] = field(default_factory=lambda: SYSTEMS)

    def with_system(self, name: str, **text: str) -> Settings:
        """Return settings in which one system differs: `with_system("kling-gateway", fetch="F2")`."""
        if name not in self.systems:
            raise ValueError(f"{name!r} is not a system. Use one of: {', '.join(self.systems)}")
        system = self.systems[name]
        for key, value in text.items():
            system = changed(system, key, value)
        return replace(self, systems={**self.systems, name: system})
