"""Carrying a dialect's conversation with recorded answers instead of a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runner.events import Event
from runner.wire import Exchange, Request, Response

FIXTURES = Path(__file__).parent.parent / "fixtures"
TEXT = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
IMAGE = "fal-ai/kling-video/v2.1/standard/image-to-video"
NATIVE = "v1/videos/text2video"
GATEWAY = "kling/v1/videos/text2video"


def recorded(file: str) -> dict[str, Any]:
    """Read one file of recorded answers and requests, by the id of the recording."""
    found: dict[str, Any] = json.loads((FIXTURES / f"{file}.json").read_text("utf-8"))
    return found


def answer(body: Any, status: int = 200, **headers: str) -> Response:
    """Build an answer; header names are written with `_` for `-`."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): text for name, text in headers.items()}, data)


def replay(file: str, name: str, case: int = 0) -> Response:
    """Return a recorded answer."""
    entry = recorded(file)[name][case]
    body = entry["text"] if "text" in entry else json.dumps(entry["body"])
    return Response(entry["status"], entry.get("headers", {}), body.encode())


def talk(exchange: Exchange, *answers: Response) -> tuple[Event, list[Request]]:
    """Send the answers in order; return the event and the requests that asked for them.

    The last answer is repeated where more is asked.
    """
    asked = [next(exchange)]
    waiting = list(answers)
    try:
        while True:
            asked.append(exchange.send(waiting.pop(0) if len(waiting) > 1 else waiting[0]))
            assert len(asked) < 10, "the conversation does not end"
    except StopIteration as stop:
        event: Event = stop.value
        return event, asked
