"""The words that providers use for how far a job is."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """What a status word means for us."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    @property
    def pending(self) -> bool:
        """Whether the job is still being made."""
        return self in (Phase.QUEUED, Phase.RUNNING)


# Seen at fal, Kling, new-api gateways and their forks. New-api's own "unknown" is left out on purpose: it says
# nothing, so it is polled on and reported like any other word that nobody here has met.
_WORDS: dict[Phase, str] = {
    Phase.QUEUED: (
        "in_queue queued queueing pending submitted not_start starting preparing initializing throttled created"
    ),
    Phase.RUNNING: "in_progress processing running dreaming generating",
    Phase.DONE: "completed success succeed succeeded ready done",
    Phase.FAILED: "failed failure fail error request_moderated content_moderated",
    Phase.CANCELLED: "canceled cancelled aborted",
    Phase.EXPIRED: "expired",
}
_PHASE_OF = {word: phase for phase, words in _WORDS.items() for word in words.split()}


def phase_of(word: str) -> Phase:
    """Look a status word up, whatever its case and its word breaks."""
    return _PHASE_OF.get(word.strip().lower().replace(" ", "_").replace("-", "_"), Phase.UNKNOWN)
