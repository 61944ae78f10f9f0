"""A request as the simulator sees it, and the reply that it decided on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .systems import System

Json = Any
"""A JSON document: what `json.loads` returns."""

_UNREAD = object()
_LONG = 10_000
_BARE_IDS = re.compile(r'("(?:task_id|id|request_id)": ?|"data": ?)"(\d{15,})"')


@dataclass(slots=True)
class Call:
    """One request, parsed as far as the system that is addressed; `path` is relative to that system."""

    system: System
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    now: float
    protocol: str = "fal"
    """`fal` or `kling`; set by the router."""
    operation: str = "other"
    """submit, status, result, cancel, fetch, list, media or other; set by the router."""
    faults: list[str] = field(default_factory=list)
    """Names of the faults that fired on this request."""
    _document: Json = _UNREAD

    @property
    def credential(self) -> tuple[str, str]:
        """The scheme word and the key of the Authorization header, empty when there is none."""
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        return scheme, key.strip()

    def json(self) -> Json:
        """The body as JSON, or None when it isn't; it is read once."""
        if self._document is _UNREAD:
            try:
                self._document = json.loads(self.raw)
            except (ValueError, RecursionError):
                self._document = None
        return self._document

    def record(self) -> Json:
        """The body as ledger and log keep it: texts of pictures are cut short."""
        return _shortened(self.json())


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a reply goes out, when not simply whole."""

    drop: bool = False
    """Close the connection without a byte."""
    hang: float = 0.0
    """Seconds to wait before anything is sent."""
    cut_at: int | None = None
    """Close the connection after this many bytes of the announced body."""
    no_length: bool = False
    """Send without Content-Length."""
    bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One decided answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = Delivery()

    def but(self, **changes: Any) -> Reply:
        """Return this reply with some fields replaced."""
        return replace(self, **changes)

    def adding(self, **headers: str) -> Reply:
        """Return this reply with more headers; underscores stand for dashes."""
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **extra})

    def with_bare_ids(self) -> Reply:
        """Return this reply with ids of 15 or more digits as JSON integers instead of strings."""
        text = _BARE_IDS.sub(r"\1\2", self.body.decode("utf-8", "replace"))
        return replace(self, body=text.encode())


DROPPED = Reply(0, delivery=Delivery(drop=True))
"""The connection is closed without an answer."""


def _shortened(document: Json) -> Json:
    """The same document; in an object, texts of more than 10,000 characters are cut."""
    if not isinstance(document, dict):
        return document
    return {
        key: f"{value[:40]}... ({len(value)} characters)"
        if isinstance(value, str) and len(value) > _LONG
        else value
        for key, value in document.items()
    }


def json_reply(document: Json, status: int = 200, **headers: str) -> Reply:
    """Make a JSON reply; header names are written with underscores."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return Reply(status, body, {"Content-Type": "application/json"}).adding(**headers)


def html_reply(title: str, status: int = 200) -> Reply:
    """Make the page that a front proxy or a web console answers with."""
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>"
        "</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status, page.encode(), {"Content-Type": "text/html"})
