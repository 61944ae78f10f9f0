"""Where answers hold the files that were made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from runner.events import Artifact
from runner.wire import pick, pick_text

# The order matters: a gateway's own field for the result comes before the upstream's answer that it quotes.
_GATEWAY_URLS = ("data.result_url", "data.fail_reason")
_ROOTS = (
    "data.task_result",
    "task_result",
    "data.data.data.task_result",
    "data.data.task_result",
    "",
    "data.data",
    "data",
    "response",
    "data.response",
    "result",
    "payload",
    "output",
    "data.output",
)
_KINDS = ("videos", "video", "images", "image", "audios", "audio")
_URLS = (
    "data.video_url",
    "video_url",
    "metadata.url",
    "data.metadata.url",
    "data.url",
    "url",
    "data.output.video_url",
    "data.output.url",
    "output.video_url",
    "output.url",
    "data.output",
    "output",
)
_MOST = 100


def is_address(value: Any) -> bool:
    """Whether it is a text that can be an http address: one line, a host, nothing invisible."""
    if not isinstance(value, str) or not 8 < len(value) <= 8192:
        return False
    if not value.isprintable() or " " in value:
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def named_artifacts(body: Any) -> tuple[Artifact, ...]:
    """Return the files under fields that name their kind (`video`, `images`, …), wherever the envelope puts them."""
    for root in _ROOTS:
        holder = pick(body, root) if root else body
        if not isinstance(holder, dict):
            continue
        for kind in _KINDS:
            found = tuple(_files(holder[kind])) if kind in holder else ()
            if found:
                return found
    return ()


def all_artifacts(body: Any) -> tuple[Artifact, ...]:
    """Return the files of an answer that says the job is done: there a bare `url` is a result, too.

    Older gateways put the address into `fail_reason` (seen in gateway source), newer ones into `result_url`.
    """
    named = named_artifacts(body)
    gateway = _first_address(body, _GATEWAY_URLS)
    if gateway is not None and all(artifact.url != gateway for artifact in named):
        return (Artifact(gateway),)
    if named:
        return named
    bare = _first_address(body, _URLS)
    return () if bare is None else (Artifact(bare),)


def _first_address(body: Any, paths: tuple[str, ...]) -> str | None:
    for path in paths:
        value = pick(body, path)
        if is_address(value):
            return str(value)
    return None


def _files(value: Any) -> Iterator[Artifact]:
    for item in value[:_MOST] if isinstance(value, list) else [value]:
        if is_address(item):
            yield Artifact(item)
        elif isinstance(item, dict) and is_address(item.get("url")):
            yield Artifact(
                url=item["url"],
                content_type=_short(pick_text(item, "content_type", "mime_type")),
                size=_size(pick(item, "file_size", "size")),
                remote_id=_short(pick_text(item, "id")),
                duration=_seconds(pick(item, "duration")),
            )


def _short(text: str | None) -> str | None:
    return text if text is not None and len(text) <= 200 and text.isprintable() else None


def _size(value: Any) -> int | None:
    """Bytes, or None for anything that can't be a count of bytes."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 53:
        return None
    return value


def _seconds(value: Any) -> float | None:
    """Seconds from a number or, as Kling writes them, from a text like `5.1`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
