"""Local pictures in the image fields of a request.

A local path becomes `{"$image": {"path", "sha256", "media_type", "size"}}`; how its bytes travel is the dialect's
business. URLs, `data:` URIs and bare base64 pass as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner.manifest.inside import OutsideError, find_inside
from runner.wire import excerpt

MAX_BYTES = 10_000_000
"""Kling documents 10 MB for a picture; nobody here takes more."""

FIELDS = frozenset({
    "image", "image_url", "image_tail", "tail_image_url", "start_image_url", "end_image_url",
    "static_mask", "static_mask_url",
})  # fmt: skip
_INNER_FIELDS = FIELDS | {"mask", "mask_url", "frontal_image_url"}
_LISTS = frozenset({"input_image_urls", "image_urls", "reference_image_urls"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{512,}={0,2}\s*")

Fault = tuple[tuple[str | int, ...], str]
"""Where in a value, and what is wrong."""


class Images:
    """Finds pictures below one folder; each is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, dict[str, Any] | str] = {}

    def concerns(self, name: str, value: Any) -> bool:
        """Whether a field of a request can hold a picture."""
        return name in FIELDS or name in _LISTS or isinstance(value, dict | list)

    def swap(self, name: str, value: Any, faults: list[Fault]) -> Any:
        """The value of the field `name` with its local pictures found; what is wrong is added to `faults`."""
        return self._swap(name, value, (), FIELDS, faults)

    def _swap(
        self,
        name: str,
        value: Any,
        path: tuple[str | int, ...],
        fields: frozenset[str],
        faults: list[Fault],
    ) -> Any:
        if isinstance(value, str):
            return self._picture(value, path, faults) if name in fields else value
        if isinstance(value, list):
            label = name if name in _LISTS else ""
            inner = _INNER_FIELDS | {label} if label else _INNER_FIELDS
            return [
                self._swap(label, one, (*path, at), inner, faults) for at, one in enumerate(value)
            ]
        if isinstance(value, dict):
            if any(key.startswith("$") for key in value):
                faults.append(
                    (
                        path,
                        "a name that starts with $ can't be in a request. Write the picture's path",
                    )
                )
                return None
            return {
                key: self._swap(key, one, (*path, key), _INNER_FIELDS, faults)
                for key, one in value.items()
            }
        return value

    def _picture(self, text: str, path: tuple[str | int, ...], faults: list[Fault]) -> Any:
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= 10_000:
                self._known.clear()
            found = self._known[text] = self._look(text)
        if isinstance(found, str):
            faults.append((path, found))
            return None
        return found.get("", found)

    def _look(self, text: str) -> dict[str, Any] | str:
        """The picture's description, `{"": text}` for what passes as it is, or what is wrong with it."""
        lowered = text[:8].lower()
        if lowered.startswith("data:") or _BASE64.fullmatch(text):
            return {"": text}
        if lowered.startswith(("http://", "https://")):
            return _bad_url(text) or {"": text}
        if _SCHEME.match(text) and not re.match(r"[A-Za-z]:[\\/]", text):
            return f"{excerpt(text, 80)} is no picture. Write https://…, or the name of a file beside the manifest"
        try:
            return {"$image": _describe(find_inside(self._folder, text), text)}
        except (OutsideError, OSError) as error:
            return (
                str(error)
                if isinstance(error, OutsideError)
                else f"{excerpt(text, 80)} can't be read. Check its permissions"
            )


def _bad_url(text: str) -> str | None:
    shown = excerpt(text.partition("?")[0], 80)
    try:
        parts = urlsplit(text)
        host, named = parts.hostname, parts.username is not None or parts.password is not None
    except ValueError:
        host, named = None, False
    if named:
        return "a URL can't hold a user name or password. Write it without the part before @"
    if not host:
        return f"{shown} has no host. Write https://host/picture.png"
    if not text.isprintable() or " " in text:
        return f"{shown} holds spaces or control characters. Write it percent-encoded"
    return None


def _describe(path: Path, written: str) -> dict[str, Any]:
    shown = excerpt(written, 80)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise OutsideError(f"{shown} has {size / 1e6:.1f} MB, 10 MB is the limit. Make it smaller")
    digest = hashlib.sha256()
    head = b""
    for chunk in _chunks(path):
        head = head or chunk[:32]
        digest.update(chunk)
    media_type = sniff(head)
    if media_type is None:
        raise OutsideError(f"{shown} is not a picture. Use JPEG, PNG, WebP, GIF or AVIF")
    return {"path": str(path), "sha256": digest.hexdigest(), "media_type": media_type, "size": size}


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def sniff(head: bytes) -> str | None:
    """The media type of a picture by its first bytes; None where it is none of those that APIs take."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "image/avif"
    return None
