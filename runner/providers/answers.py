"""The parts of an answer that every protocol has: ids, error codes, error texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from runner.wire import Response, excerpt, parse_json, pick, pick_text

ID_PATHS = (
    "data.task_id",
    "data.id",
    "task_id",
    "id",
    "data.taskId",
    "taskId",
)
"""Where seven generations of Kling fronts put the id of a task, best first (seen in gateway source and reseller pages).

The oldest task relays put it into `data` itself; see `task_id`.
"""

STRONG_ID_PATHS = ("data.task_id", "task_id")
"""Fields that hold nothing but the id of a task that exists, so they outweigh an error code beside them."""

_ID = re.compile(r"[\x21-\x7e]{1,200}")
_NO_ID = frozenset({".", "..", "0", "null", "none", "nil", "undefined", "false", "true"})
_FINE_CODES = frozenset({"0", "200", "success", "succeed", "succeeded", "ok"})
_CODE_PATHS = ("error.code", "code", "data.error.code", "error_code")
_TEXT_PATHS = (
    "error.message",
    "data.task_status_msg",
    "task_status_msg",
    "data.error.message",
    "data.fail_reason",
    "data.data.data.task_status_msg",
    "data.error",
    "error",
    "error_message",
    "message",
    "msg",
    "detail.message",
    "error_type",
)


def usable_id(text: str | None) -> str | None:
    """Return the id if it can be one: up to 200 visible ASCII characters, not a placeholder for nothing."""
    if text is None or _ID.fullmatch(text) is None or text.lower() in _NO_ID:
        return None
    return text


def find_id(body: Any, *paths: str) -> str | None:
    """Return the first usable id under `paths`."""
    for path in paths:
        found = usable_id(pick_text(body, path))
        if found is not None:
            return found
    return None


def segment(remote_id: str) -> str:
    """Percent-encode an id so that it is exactly one segment of a path."""
    return quote(remote_id, safe="")


def error_code(body: Any) -> str | None:
    """Return the error code in lower case, numbers as digits; None where there is none or it means "fine"."""
    for path in _CODE_PATHS:
        code = pick_text(body, path)
        if code is not None and code.strip().lower() not in _FINE_CODES:
            return code.strip().lower()
    return None


def says_fine(body: Any) -> bool:
    """Whether a body is an object that reports no error of its own."""
    if not isinstance(body, Mapping) or error_code(body) is not None:
        return False
    return not body.get("error") and body.get("detail") is None


def error_types(answer: Response, body: Any) -> tuple[str, ...]:
    """Return fal's machine-readable error types: the header's, the body's, each field error's, best first."""
    found = [answer.headers.get("x-fal-error-type", ""), pick_text(body, "error_type") or ""]
    detail = pick(body, "detail")
    if isinstance(detail, list):
        found += [pick_text(item, "type") or "" for item in detail[:20]]
    return tuple(dict.fromkeys(text.strip().lower() for text in found if text.strip()))


def error_text(answer: Response, body: Any = None) -> str:
    """Return what the provider wrote, safe to show: fal's `detail`, the message fields, else the body itself."""
    body = answer.json if body is None else body
    text = _detail_text(pick(body, "detail"))
    if not text:
        found = (pick(body, path) for path in _TEXT_PATHS)
        text = next((item for item in found if isinstance(item, str) and item.strip()), "")
    return excerpt(text) or answer.text or f"HTTP {answer.status} with an empty body"


def embedded(body: Any) -> Any:
    """Return the upstream's answer that a gateway put as text into its own error message, where there is one."""
    message = pick(body, "message", "error.message")
    if not isinstance(message, str) or "{" not in message:
        return None
    found = parse_json(message[message.index("{") :].encode("utf-8", "replace"))
    return found if isinstance(found, Mapping) else None


def _detail_text(detail: Any) -> str:
    """Join fal's field errors; `detail` is a text or a list of them (both documented)."""
    if isinstance(detail, str):
        return detail
    if not isinstance(detail, list):
        return ""
    parts = []
    for item in detail[:5]:
        message = item if isinstance(item, str) else pick_text(item, "msg", "message", "type")
        where = pick(item, "loc")
        place = ".".join(str(name) for name in where[-3:]) if isinstance(where, list) else ""
        if message:
            parts.append(f"{place}: {message}" if place else message)
    return "; ".join(parts)
