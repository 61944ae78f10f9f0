"""Requests and answers as plain values, and reading JSON that a stranger wrote."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from pydantic_core import from_json

from runner.events import Event


@dataclass(frozen=True, slots=True)
class Image:
    """The bytes of a local picture, on their way into a request body."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a provider. `path` is a path on the provider's own base, never a URL.

    `paid` marks a submit: sent once, on a connection of its own. `fresh_token` asks for a newly minted token, good at
    `server_now` (Unix seconds) where the provider said what time it is.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    paid: bool = False
    fresh_token: bool = False
    server_now: float | None = None


@dataclass(frozen=True)
class Response:
    """An answer: status, headers (names in lower case) and the body, already capped by whoever read it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def json(self) -> Any:
        """The body as JSON with every whole number kept exactly; None where it isn't valid JSON."""
        return parse_json(self.body)

    @property
    def text(self) -> str:
        """The body as text for a message: at most 300 characters, on one line, nothing a terminal obeys."""
        return excerpt(self.body.decode("utf-8", "replace"))


Exchange = Generator[Request, Response, Event]
"""A conversation with a provider: yields requests, is sent responses, returns what was learned."""


def parse_json(body: bytes) -> Any:
    """Decode strictly (no NaN, no bad UTF-8, bounded depth); None where it isn't JSON.

    A byte order mark in front is passed over, as the standard allows: it is no reason to lose a receipt.
    """
    try:
        return from_json(body.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
    except (ValueError, RecursionError):
        return None


def pick(value: Any, *paths: str) -> Any:
    """Return the first thing found under `paths` that is neither None nor an empty string.

    A path is names and list positions with dots: `data.task_result.videos.0.url`. Missing parts and wrong types
    are not errors: they only mean that this path leads nowhere.
    """
    top = value if isinstance(value, dict) else None
    for path in paths:
        names = _names(path)
        if top is not None and names[0] not in top:
            continue  # most paths lead nowhere from their first name on
        found = _follow(value, names)
        if found is not None and found != "":
            return found
    return None


def pick_text(value: Any, *paths: str) -> str | None:
    """Like `pick`, for texts and ids: whole numbers become their digits, anything else is passed over."""
    for path in paths:
        found = pick(value, path)
        if isinstance(found, str):
            return found
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found)
    return None


@lru_cache(maxsize=1024)
def _names(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _follow(value: Any, names: Iterable[str]) -> Any:
    for name in names:
        # JSON decodes to dict; asking for a Mapping costs ten times as much.
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def excerpt(text: str, limit: int = 300) -> str:
    """Make a stranger's text safe to show: one line, no control or direction marks, `limit` characters."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(
            char if char.isprintable() and char not in _DIRECTION_MARKS else " " for char in text
        )
    shown = " ".join(text.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


_DIRECTION_MARKS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def dump_json(value: Any) -> str:
    """Encode compactly, with sorted names: equal values have equal text."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
