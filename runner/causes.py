"""Why a job is not where it wants to be: a closed list, each with an explanation and the command that fixes it."""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """Why a job waits, is in doubt, failed or was cancelled."""

    CONTENT_POLICY = "content_policy"
    INVALID_INPUT = "invalid_input"
    PROVIDER_ERROR = "provider_error"
    RATE_LIMITED = "rate_limited"
    OUT_OF_MONEY = "out_of_money"
    BAD_KEY = "bad_key"
    NOT_PERMITTED = "not_permitted"
    BUDGET = "budget"
    STUCK = "stuck"
    EXPIRED = "expired"
    ANSWER_LOST = "answer_lost"
    ATTEMPTS_SPENT = "attempts_spent"
    NO_CONNECTION = "no_connection"
    CORRUPT_MEDIA = "corrupt_media"
    TOO_LARGE = "too_large"
    DOWNLOAD_FAILED = "download_failed"
    DISK_FULL = "disk_full"
    FOREIGN_URL = "foreign_url"
    LOST_REMOTE = "lost_remote"
    INTERNAL = "internal_error"
    CANCELLED = "cancelled"

    @property
    def explanation(self) -> str:
        """One line for a person who has never met this cause."""
        return _TABLE[self][0]

    @property
    def fix(self) -> str:
        """The command to type next, or what to do first."""
        return _TABLE[self][1]

    @property
    def needs_person(self) -> bool:
        """Whether only a person can settle it (exit code 4)."""
        return self in _PERSON

    @property
    def refused(self) -> bool:
        """Whether the provider refuses the account, not the job (exit code 6)."""
        return self in _REFUSED


_PERSON = frozenset(
    {
        Cause.ANSWER_LOST,
        Cause.STUCK,
        Cause.EXPIRED,
        Cause.FOREIGN_URL,
        Cause.LOST_REMOTE,
        Cause.INTERNAL,
    }
)
_REFUSED = frozenset({Cause.BAD_KEY, Cause.OUT_OF_MONEY, Cause.NOT_PERMITTED})

# cause -> (what it means, what to type next)
_TABLE: dict[Cause, tuple[str, str]] = {
    Cause.CONTENT_POLICY: (
        "the provider's content check refused the prompt, the image or the clip; it is not sent again by itself",
        "change the prompt, then: runner run MANIFEST",
    ),
    Cause.INVALID_INPUT: (
        "the provider refused the request's fields; the same request would be refused again",
        "correct the manifest, then: runner run MANIFEST",
    ),
    Cause.PROVIDER_ERROR: (
        "the provider accepted the job and failed to make the clip",
        "buy it again: runner retry --cause provider_error",
    ),
    Cause.RATE_LIMITED: (
        "the provider asks to slow down; the job waits and nothing was paid",
        "nothing to do; or lower limits: in providers.yaml",
    ),
    Cause.OUT_OF_MONEY: (
        "the account at the provider has no balance left; its jobs wait",
        "top up the account, then: runner resume",
    ),
    Cause.BAD_KEY: (
        "the provider does not accept the key; its jobs wait",
        "set the key (runner providers names its variable), then: runner resume",
    ),
    Cause.NOT_PERMITTED: (
        "the key may not use this model, or not from this address; its jobs wait",
        "ask the provider for access, then: runner resume",
    ),
    Cause.BUDGET: (
        "the next job would pass the budget; it waits and nothing was sent",
        "raise budget: in the manifest (or --budget), then: runner run MANIFEST",
    ),
    Cause.STUCK: (
        "it takes longer than timeout: allows, or the provider gives no answer of use; it is still asked about, slowly",
        "ask the provider about it: runner show JOB; where it is in doubt: runner resolve",
    ),
    Cause.EXPIRED: (
        "the clip was paid for, but the provider no longer has the file",
        "ask once more, free of charge: runner retry --cause expired",
    ),
    Cause.ANSWER_LOST: (
        "the request went out and no usable answer came back: the provider may or may not have taken and billed it",
        "look it up at the provider and settle it: runner resolve",
    ),
    Cause.ATTEMPTS_SPENT: (
        "the job was paid for and there is no clip; it is not paid for again by itself",
        "pay once more: runner retry JOB",
    ),
    Cause.NO_CONNECTION: (
        "the provider could not be reached; nothing was sent and the job waits",
        "check the network and base_url: in providers.yaml; the job goes on by itself",
    ),
    Cause.CORRUPT_MEDIA: (
        "what came back is not a whole video or image file",
        "fetch it once more, free of charge: runner retry --cause corrupt_media",
    ),
    Cause.TOO_LARGE: (
        "the result is larger than the cap for its kind",
        "raise max_result: in providers.yaml, then, free of charge: runner retry --cause too_large",
    ),
    Cause.DOWNLOAD_FAILED: (
        "the result's server does not deliver it; the download is tried again until the result expires",
        "try at once: runner resume",
    ),
    Cause.DISK_FULL: (
        "the disk is full, failing or read-only; what is paid for is kept at the provider until it expires",
        "free some space or see to the disk, then: runner resume",
    ),
    Cause.FOREIGN_URL: (
        "the provider answered with an address that may not be visited (another host's redirect, a private network)",
        "if its host is right, list it under media_hosts: in providers.yaml, then: runner retry --cause foreign_url",
    ),
    Cause.LOST_REMOTE: (
        "the provider says it does not know the job that it accepted",
        "ask the provider about it and settle it: runner resolve",
    ),
    Cause.INTERNAL: (
        "this program has a fault that shows at this job; nothing of it is lost, and the other jobs went on",
        "see where it is, and report it: runner resume -v",
    ),
    Cause.CANCELLED: (
        "cancelled on request",
        "nothing to do",
    ),
}

FETCHABLE = frozenset({
    Cause.EXPIRED,
    Cause.CORRUPT_MEDIA,
    Cause.TOO_LARGE,
    Cause.DOWNLOAD_FAILED,
    Cause.FOREIGN_URL,
    Cause.LOST_REMOTE,
})  # fmt: skip
"""Paid for, made, and not on disk: to look again costs nothing, to send again would pay a second time."""
