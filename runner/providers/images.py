"""Local pictures inside a request body."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from runner.wire import Image


def data_uri(image: Image) -> str:
    """Encode as fal takes it: a data URI."""
    return f"data:{image.media_type};base64,{bare_base64(image)}"


def bare_base64(image: Image) -> str:
    """Encode as Kling takes it: base64 without a prefix (documented: a `data:` prefix is an error)."""
    return base64.b64encode(image.data).decode("ascii")


def encoded(value: Any, encode: Callable[[Image], str]) -> Any:
    """Copy a value with every picture in it, at any depth, replaced by its encoded text."""
    if isinstance(value, Image):
        return encode(value)
    if isinstance(value, Mapping):
        return {str(name): encoded(item, encode) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(item, encode) for item in value]
    return value
