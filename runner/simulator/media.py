"""Result files: small clips that really play, made different for each task."""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
from functools import cache
from pathlib import Path

from .reply import Call, Delivery, Reply, html_reply, json_reply
from .task import Task
from .world import World

CLIPS = Path(__file__).parent / "clips"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@cache
def _clips() -> dict[str, bytes]:
    """The clips that come with the simulator, by name."""
    return {path.stem: path.read_bytes() for path in sorted(CLIPS.glob("*.mp4"))}


@cache
def _picture() -> bytes:
    return (CLIPS / "input.jpg").read_bytes()


def _clip_for(task: Task) -> bytes:
    clips = list(_clips().values())
    return clips[hashlib.sha256(task.id.encode()).digest()[0] % len(clips)]


def _mark(task: Task) -> bytes:
    """A `free` box that holds the task's id: legal at the end of an MP4, ignored by players."""
    note = f"simulated task {task.system}/{task.id}".encode()
    return struct.pack(">I4s", 8 + len(note), b"free") + note


def size_of(task: Task) -> int:
    """Bytes of a task's video."""
    return len(_clip_for(task)) + len(_mark(task))


def _content(task: Task, name: str) -> tuple[bytes, str]:
    if name.endswith(".jpg"):
        note = task.id.encode()
        comment = b"\xff\xfe" + struct.pack(">H", len(note) + 2) + note
        return _picture()[:2] + comment + _picture()[2:], "image/jpeg"
    return _clip_for(task) + _mark(task), "video/mp4"


def answer(world: World, call: Call) -> Reply:
    """Answer a request below /media: a task's file, the sample picture, or a clip by name."""
    if call.method not in ("GET", "HEAD"):
        return json_reply({"error": "method not allowed"}, 405)
    name = call.path.rsplit("/", 1)[-1]
    stem = name.rpartition(".")[0]
    if call.path == "/media/input.jpg":
        return _ranged(call, _picture(), "image/jpeg")
    if call.path.startswith("/media/clips/") and stem in _clips():
        return _ranged(call, _clips()[stem], "video/mp4")
    task = world.ledger.find(call.system.name, stem)
    if task is None or task.state(call.now) != "succeeded":
        return _xml(404, "NoSuchKey")
    refusal = _moved(world, call) or _expired(world, call, task) or _spoilt(world, call)
    if refusal is not None:
        return refusal
    body, content_type = _content(task, name)
    if call.method == "GET":
        task.downloads += 1
    return _bent(world, call, body, content_type)


def _xml(status: int, code: str) -> Reply:
    """The error of an object store."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
    return Reply(status, text.encode(), {"Content-Type": "application/xml"})


def _moved(world: World, call: Call) -> Reply | None:
    """Send the caller to the same file under another host name, once per name."""
    fault = world.faults.fires("media-redirect", call)
    if fault is None:
        return None
    base = str(fault.value or world.other_host)
    if base.endswith("//" + call.headers.get("Host", "")):
        return None
    name = call.path.rsplit("/", 1)[-1]
    target = f"{base}/media/{call.system.name}/{name}"
    return Reply(302, b"", {"Location": target})


def _expired(world: World, call: Call, task: Task) -> Reply | None:
    lifetime = world.settings.result_ttl
    if fault := world.faults.fires("result-expires", call):
        lifetime = fault.number
    if lifetime is None or call.now < task.end_at + lifetime:
        return None
    return _xml(world.settings.expired_status, "AccessDenied")


def _spoilt(world: World, call: Call) -> Reply | None:
    """Faults that leave nothing of the file."""
    names = ("media-403", "media-404", "media-503", "media-html", "media-disguised", "media-empty")
    fault = world.faults.first(names, call)
    if fault is None:
        return None
    if fault.name == "media-empty":
        return Reply(200, b"", {"Content-Type": "video/mp4"})
    if fault.name == "media-html":
        return html_reply("Please sign in")
    if fault.name == "media-disguised":
        return html_reply("Please sign in").adding(Content_Type="video/mp4")
    return _xml(int(fault.name[-3:]), "AccessDenied")


def _bent(world: World, call: Call, body: bytes, content_type: str) -> Reply:
    """The file, with the faults that spoil only how it is sent."""
    fires = world.faults.fires
    if fault := fires("media-wrong-type", call):
        content_type = str(fault.value)
    if fires("media-ignores-range", call):
        reply = _whole(body, content_type).but(status=200)
        reply = reply.but(headers={k: v for k, v in reply.headers.items() if k != "Accept-Ranges"})
    elif fires("media-gzip", call):
        reply = _whole(gzip.compress(body, mtime=0), content_type).adding(Content_Encoding="gzip")
    else:
        reply = _ranged(call, body, content_type)
    no_length = fires("media-no-length", call) is not None
    cut, slow = fires("media-cut", call), fires("media-slow", call)
    return reply.but(
        delivery=Delivery(
            no_length=no_length,
            cut_at=int(len(reply.body) * cut.number) if cut else None,
            bytes_per_second=slow.number if slow else None,
        )
    )


def _whole(body: bytes, content_type: str) -> Reply:
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    return Reply(200, body, {"Content-Type": content_type, "Accept-Ranges": "bytes", "ETag": tag})


def _ranged(call: Call, body: bytes, content_type: str) -> Reply:
    """The file, or the part of it that was asked for (one range; If-Range by ETag)."""
    whole = _whole(body, content_type)
    tag = whole.headers["ETag"]
    if call.headers.get("If-None-Match") == tag:
        return whole.but(status=304, body=b"")
    match = _RANGE.fullmatch(call.headers.get("Range", ""))
    if match is None or call.headers.get("If-Range", tag) != tag or not (match[1] or match[2]):
        return whole
    size = len(body)
    if match[1]:
        first = int(match[1])
        last = min(int(match[2] or size - 1), size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first >= size or first > last:
        return whole.but(status=416, body=b"").adding(Content_Range=f"bytes */{size}")
    part = whole.but(status=206, body=body[first : last + 1])
    return part.adding(Content_Range=f"bytes {first}-{last}/{size}")
