"""What the documented error codes, types and texts mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from runner.causes import Cause


class Kind(Enum):
    """What an error answer says about the request that it answers."""

    WAIT = "wait"
    """Not taken now; the same request may be taken later."""
    NEVER = "never"
    """Not taken, and the same request never will be."""
    UNKNOWN = "unknown"
    """Nobody can tell whether it was taken."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of one code. `wide`: it speaks for the account; `crowded`: too many jobs are in flight."""

    kind: Kind
    cause: Cause
    wide: bool = False
    crowded: bool = False
    hint: str = ""
    wait: float | None = None


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEY = Meaning(Kind.WAIT, Cause.BAD_KEY, wide=True)
_CLOCK = replace(_KEY, hint="Is this machine's clock right? Tokens are signed with its time")
_MONEY = Meaning(Kind.WAIT, Cause.OUT_OF_MONEY, wide=True)
_ACCOUNT = Meaning(Kind.WAIT, Cause.NOT_PERMITTED, wide=True)
_SLOWER = Meaning(Kind.WAIT, Cause.RATE_LIMITED, wide=True)
_FEWER = Meaning(Kind.WAIT, Cause.RATE_LIMITED, wide=True, crowded=True)
_INPUT = Meaning(Kind.NEVER, Cause.INVALID_INPUT)
_CONTENT = Meaning(Kind.NEVER, Cause.CONTENT_POLICY)
_LOST = Meaning(Kind.UNKNOWN, Cause.ANSWER_LOST)
_ROUTE = Meaning(
    Kind.NEVER,
    Cause.INVALID_INPUT,
    hint="The provider has no such path: compare model: with the provider's list, and base_url: in providers.yaml",
)

STALE_TOKEN = frozenset({"1003", "1004"})
"""Kling: the token is not valid yet, or not any more. A new one settles it."""

# Documented by Kling. Four of the six codes under HTTP 429 are no rate limits at all.
KLING: dict[str, Meaning] = {
    **dict.fromkeys(("1000", "1001", "1002"), _KEY),
    **dict.fromkeys(("1003", "1004"), _CLOCK),
    "1100": _ACCOUNT,
    "1101": _MONEY,
    "1102": _MONEY,
    "1103": Meaning(Kind.NEVER, Cause.NOT_PERMITTED, hint="The key may not use this model"),
    **dict.fromkeys(("1200", "1201", "1202", "1203"), _INPUT),
    "1300": _CONTENT,
    "1301": _CONTENT,
    "1302": _SLOWER,
    "1303": _FEWER,
    "1304": Meaning(
        Kind.WAIT,
        Cause.NOT_PERMITTED,
        wide=True,
        hint="This machine's address is not on the allow-list",
    ),
    "5000": _LOST,
    "5001": Meaning(
        Kind.WAIT,
        Cause.RATE_LIMITED,
        wide=True,
        hint="The provider is under maintenance",
        wait=60.0,
    ),
    "5002": _LOST,
}

# Seen in the source of new-api gateways.
GATEWAY: dict[str, Meaning] = {
    **dict.fromkeys(("invalid_request", "model_price_error", "invalid_request_error"), _INPUT),
    **dict.fromkeys(
        (
            "insufficient_user_quota",
            "pre_consume_token_quota_failed",
            "quota_not_enough",
            "insufficient_quota",
        ),
        _MONEY,
    ),
    "invalid_api_key": _KEY,
    **dict.fromkeys(
        (
            "do_request_failed",
            "get_channel_failed",
            "read_response_body_failed",
            "unmarshal_response_failed",
        ),
        _LOST,
    ),
    "build_request_failed": Meaning(
        Kind.NEVER,
        Cause.INVALID_INPUT,
        hint="The gateway could not build Kling's request. If duration is sent as a number, set "
        "kling: {numeric_duration: false} for this provider in providers.yaml",
    ),
    "api_not_implemented": _ROUTE,
    "model_not_found": Meaning(
        Kind.WAIT,
        Cause.RATE_LIMITED,
        hint="The gateway has no channel for this model now; if it goes on, compare the model's name with its list",
        wait=60.0,
    ),
}

# Documented by fal for the fields of a request, and for what its checkers found.
FAL_CONTENT = frozenset({"content_policy_violation", "no_media_generated"})
FAL_INPUT = _words(
    "image_too_small image_too_large image_load_error file_download_error face_detection_error file_too_large "
    "greater_than greater_than_equal less_than less_than_equal multiple_of sequence_too_short sequence_too_long "
    "one_of feature_not_supported unsupported_image_format unsupported_audio_format unsupported_video_format "
    "missing string_too_long string_too_short value_error bad_request"
)
# Documented by fal: its own faults after a job was taken. It does not bill them.
FAL_PLATFORM = _words(
    "request_timeout startup_timeout runner_scheduling_failure runner_connection_timeout runner_disconnected "
    "runner_connection_refused runner_connection_error runner_incomplete_response runner_server_error "
    "internal_server_error generation_timeout downstream_service_error downstream_service_unavailable"
)
FAL_CANCELLED = frozenset({"client_cancelled", "client_disconnected"})
_FAL_INPUT_STEMS = (
    "value_error.",
    "type_error.",
    "string_",
    "int_",
    "float_",
    "bool_",
    "literal_",
    "list_",
    "dict_",
)

_MONEY_TEXT = re.compile(
    r"balance|arrears|insufficient.{0,20}(quota|credit|fund)|quota.{0,30}(not enough|insufficient|exhausted)"
    r"|resource pack.{0,30}(used up|expired|exhausted)|\btop.?up|account.{0,20}locked|余额|额度不足|欠费",
    re.IGNORECASE,
)
_CROWD_TEXT = re.compile(
    r"parallel task|over resource pack limit|concurren|上游负载|饱和", re.IGNORECASE
)
_SLOW_TEXT = re.compile(r"too many requests|rate.?limit|too fast|请求数限制|频率", re.IGNORECASE)
_POLICY_TEXT = re.compile(
    r"risk control|content.{0,12}(policy|safety|moderat|violat)|safety|moderation|sensitive|nsfw|违规|敏感|审核|风控",
    re.IGNORECASE,
)
_KEY_TEXT = re.compile(
    r"authenti|unauthori[sz]ed|api.?key|invalid.{0,12}(token|key)|credential|令牌", re.IGNORECASE
)
_MISSING_TEXT = re.compile(
    r"not.?found|not.?exist|does.?n.t exist|no such|不存在|未找到", re.IGNORECASE
)
_DUPLICATE_TEXT = re.compile(
    r"external.?task.?id.{0,60}(exist|duplicat|repeat|unique|already|used)"
    r"|(exist|duplicat|repeat|already).{0,60}external.?task.?id",
    re.IGNORECASE,
)
_UNFINISHED_TEXT = re.compile(
    r"(still|is) in (progress|queue)|not (been )?(yet )?completed", re.IGNORECASE
)


def by_text(text: str) -> Meaning | None:
    """Read a message whose code says nothing."""
    if _MONEY_TEXT.search(text):
        return _MONEY
    if _CROWD_TEXT.search(text):
        return _FEWER
    if _SLOW_TEXT.search(text):
        return _SLOWER
    return _CONTENT if _POLICY_TEXT.search(text) else None


def by_status(status: int, text: str) -> Meaning:
    """Read an answer of which only the HTTP status is known to mean something."""
    if status == 403:
        if _MONEY_TEXT.search(text):
            return _MONEY
        return _KEY if _KEY_TEXT.search(text) else _ACCOUNT
    if status == 429:
        found = by_text(text)
        return found if found in (_MONEY, _FEWER) else _SLOWER
    if status == 422 and _POLICY_TEXT.search(text):
        return _CONTENT
    known = {401: _KEY, 402: _MONEY, 404: _ROUTE, 405: _ROUTE, 501: _ROUTE}
    if status in known:
        return known[status]
    if 400 <= status < 500 and status not in (408, 409, 425, 499):
        return _INPUT
    return _LOST


def fal_cause(types: tuple[str, ...]) -> Cause | None:
    """Say what fal's error types blame; None where none of them is known."""
    for name in types:
        if name in FAL_CONTENT:
            return Cause.CONTENT_POLICY
        if name in FAL_PLATFORM:
            return Cause.PROVIDER_ERROR
        if name in FAL_INPUT or name.startswith(_FAL_INPUT_STEMS):
            return Cause.INVALID_INPUT
    return None


def says_missing(text: str) -> bool:
    """Whether a message says that there is no such thing."""
    return _MISSING_TEXT.search(text) is not None


def says_duplicate(text: str) -> bool:
    """Whether a message says that our `external_task_id` was used before."""
    return _DUPLICATE_TEXT.search(text) is not None


def says_unfinished(text: str) -> bool:
    """Whether an error only says that the result is not there yet (reported by several clients of fal)."""
    return _UNFINISHED_TEXT.search(text) is not None


def says_refused_content(text: str) -> bool:
    """Whether a failure blames what the prompt or the picture shows."""
    return _POLICY_TEXT.search(text) is not None
