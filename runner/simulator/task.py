"""A task: one accepted request, which a real provider would charge for."""

from __future__ import annotations

from dataclasses import dataclass, field

from .reply import Json

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ends.

    `kind` is one of: ok, error (fails on the platform), refused (fal: the result is 422), policy
    (content policy), failed (Kling's own failure), swept (given up by a gateway), empty (no file).
    """

    kind: str = "ok"
    message: str = ""
    code: str = ""

    @property
    def good(self) -> bool:
        """Whether the task counts as succeeded."""
        return self.kind in ("ok", "empty")


@dataclass(slots=True)
class Task:
    """One entry of the ledger. Its state follows from the clock; nothing runs."""

    id: str
    serial: int
    system: str
    protocol: str
    model: str
    """The path it was submitted to, relative to the system."""
    home: str
    """The path below which it is found: fal's owner/alias, Kling's collection."""
    body: Json
    digest: str
    """SHA-256 of the body as it came."""
    external_id: str | None
    key_fingerprint: str
    """First 12 hex digits of the SHA-256 of the key; never the key."""
    accepted_at: float
    waits: float
    runs: float
    price: float
    outcome: Outcome = Outcome()
    start_at: float = 0.0
    end_at: float = 0.0
    cancelled_at: float | None = None
    shown: str = "queued"
    """The state that the last poll was told."""
    polls: int = 0
    downloads: int = 0
    webhook: str | None = None
    webhook_plan: list[str] = field(default_factory=list)
    """Names of the webhook faults that hit it."""
    webhook_delay: float = 0.0
    deliveries: int = 0

    def state(self, now: float) -> str:
        """Return queued, running, succeeded, failed or cancelled."""
        if self.cancelled_at is not None:
            return "cancelled"
        if now < self.start_at:
            return "queued"
        if now < self.end_at:
            return "running"
        return "succeeded" if self.outcome.good else "failed"

    def billed(self, now: float) -> bool:
        """Whether the provider charges for it as things stand.

        Acceptance charges; a failure is given back, except that fal may bill a job whose result it
        refuses after inference (documented by fal for 422), and a cancelled one unless it had begun.
        """
        if self.cancelled_at is not None:
            return self.start_at <= self.cancelled_at
        if self.state(now) != "failed":
            return True
        return self.protocol == "fal" and self.outcome.kind in ("refused", "policy")

    def final(self, now: float) -> bool:
        """Whether nothing changes any more."""
        return self.cancelled_at is not None or now >= self.end_at

    def as_dict(self, now: float) -> dict[str, object]:
        """The entry as JSON shows it."""
        return {
            "id": self.id,
            "system": self.system,
            "protocol": self.protocol,
            "model": self.model,
            "body": self.body,
            "body_digest": self.digest,
            "external_task_id": self.external_id,
            "key_fingerprint": self.key_fingerprint,
            "accepted_at": self.accepted_at,
            "ends_at": None if self.end_at == FOREVER else self.end_at,
            "state": self.state(now),
            "outcome": self.outcome.kind,
            "billed": self.billed(now),
            "price": self.price,
            "polls": self.polls,
            "downloads": self.downloads,
            "deliveries": self.deliveries,
        }
