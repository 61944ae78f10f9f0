"""The envelopes that Kling and the gateways in front of it answer with.

K1 to K7 are submit answers, F1 to F7 task answers; each was documented by a reseller or seen in a
gateway's source. K1 and F1 are Kling's own.
"""

from __future__ import annotations

from collections.abc import Callable

from .reply import Json
from .task import Task
from .world import World

_WORDS = {
    "F1": ("submitted", "processing", "succeed", "failed"),
    "F2": ("SUBMITTED", "IN_PROGRESS", "SUCCESS", "FAILURE"),
    "F3": ("queued", "in_progress", "completed", "failed"),
    "F4": ("queued", "processing", "succeeded", "failed"),
    "F5": ("queued", "in_progress", "completed", "failed"),
    "F6": ("initializing", "in_progress", "completed", "failed"),
    "F7": ("pending", "processing", "completed", "failed"),
}
_STATES = ("queued", "running", "succeeded", "failed")


def word_for(shape: str, state: str, odd: str | None) -> str:
    """The status word of a shape for a state, unless a fault wants an odd one."""
    return odd or _WORDS[shape[:2]][_STATES.index(state)]


def envelope(world: World, data: Json) -> Json:
    """Kling's outer object around `data`."""
    return {"code": 0, "message": "SUCCEED", "request_id": world.uuid(), "data": data}


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _updated(task: Task, state: str) -> float:
    return {"queued": task.accepted_at, "running": task.start_at}.get(state, task.end_at)


def _url(world: World, task: Task, state: str) -> str:
    return world.media_url(task) if state == "succeeded" and task.outcome.kind == "ok" else ""


def _files(world: World, task: Task) -> Json:
    """Kling's `task_result`."""
    url = _url(world, task, "succeeded")
    if task.home.startswith("images/"):
        return {"images": [{"index": 0, "url": url}] if url else []}
    duration = task.body.get("duration", "5") if isinstance(task.body, dict) else "5"
    video = {"id": str(int(_ms(task.accepted_at)) * 10**5 + task.serial), "url": url,
             "watermark_url": "", "duration": f"{duration}.1"}  # fmt: skip
    return {"videos": [video] if url else []}


def native(world: World, task: Task, state: str, odd: str | None) -> Json:
    """The task object as Kling shows it."""
    info = {"external_task_id": task.external_id} if task.external_id else {}
    document: dict[str, Json] = {
        "task_id": task.id,
        "task_status": word_for("F1", state, odd),
        "task_status_msg": task.outcome.message if state == "failed" else "",
        "task_info": info,
    }
    if state == "succeeded":
        document["task_result"] = _files(world, task)
        document["watermark_info"] = {"enabled": False}
        document["final_unit_deduction"] = "1"
    return document | {
        "created_at": _ms(task.accepted_at),
        "updated_at": _ms(_updated(task, state)),
    }


def submitted(world: World, shape: str, task: Task) -> Json:
    """The answer to a submit in one of the shapes K1 to K7."""
    at = _ms(task.accepted_at)
    info = {"external_task_id": task.external_id} if task.external_id else {}
    times = {"created_at": at, "updated_at": at}
    data = {"task_id": task.id, "task_status": "submitted", "task_info": info, **times}
    if shape == "K1":
        return envelope(world, data)
    if shape == "K2":
        inner = {"task_id": task.id, "task_status": "submitted", "task_status_msg": "",
                 "task_result": {"videos": None}, **times}  # fmt: skip
        return {"code": 0, "message": "SUCCEED", "task_id": task.id, "request_id": world.uuid(),
                "data": inner}  # fmt: skip
    if shape in ("K3", "K4"):
        return {"id": task.id, "task_id": task.id, "object": "video", "model": _model(task),
                "status": "queued", "progress": 0, "created_at": at // 1000}  # fmt: skip
    if shape == "K5":
        request = world.uuid().replace("-", "")
        return {"object": "chat.completion", "code": "success", "message": "",
                "request_id": request, **data}  # fmt: skip
    if shape == "K6":
        return {"task_id": task.id, "status": "pending", "created_at": at // 1000}
    return {"code": "success", "message": "", "data": task.id}


def _model(task: Task) -> str:
    return str(task.body.get("model_name", "")) if isinstance(task.body, dict) else ""


def _dto(world: World, task: Task, state: str, odd: str | None, shape: str) -> Json:
    """F2: the gateway's own task record, with Kling's answer inside."""
    swept = state == "failed" and task.outcome.kind == "swept"
    url = _url(world, task, state)
    reason = task.outcome.message if state == "failed" else ""
    upstream = {"code": 0, "message": "SUCCEED", "request_id": world.uuid()}
    begun, done = state != "queued", state in ("succeeded", "failed")
    prompt = task.body.get("prompt", "") if isinstance(task.body, dict) else ""
    data: dict[str, Json] = {
        "id": 1200 + task.serial,
        "created_at": int(task.accepted_at),
        "updated_at": int(_updated(task, state)),
        "task_id": task.id,
        "platform": "50",
        "user_id": 7,
        "group": "default",
        "channel_id": 12,
        "quota": 0 if state == "failed" else 500000,
        "action": "textGenerate" if "text2" in task.home else "generate",
        "status": word_for("F2", state, odd),
        "fail_reason": url if shape == "F2-legacy" and url else reason,
        "submit_time": int(task.accepted_at),
        "start_time": int(task.start_at) if begun and not swept else 0,
        "finish_time": int(task.end_at) if done else 0,
        "progress": "100%" if done else "30%" if begun else "0%",
        "properties": {"input": prompt, "upstream_model_name": _model(task),
                       "origin_model_name": _model(task)},
        "data": None if swept else upstream | {"data": native(world, task, state, odd)},
    }  # fmt: skip
    if shape == "F2" and url:
        data["result_url"] = url
    return {"code": "success", "message": "", "data": data}


def _error(task: Task, state: str) -> Json:
    if state != "failed":
        return None
    return {"message": task.outcome.message, "code": task.outcome.code or "task_failed"}


def _openai(world: World, task: Task, state: str, odd: str | None) -> Json:
    """F3: an OpenAI video object, with Kling's milliseconds left in it as the source does."""
    document: dict[str, Json] = {
        "id": task.id,
        "object": "video",
        "model": _model(task),
        "status": word_for("F3", state, odd),
        "progress": {"queued": 0, "running": 30}.get(state, 100),
        "created_at": _ms(task.accepted_at),
    }
    if state == "succeeded":
        document |= {"completed_at": _ms(task.end_at), "seconds": "5.1"}
        document["metadata"] = {"url": _url(world, task, state)}
    if state == "failed":
        document["error"] = _error(task, state)
    return document


def _wrapped(world: World, task: Task, state: str, odd: str | None) -> Json:
    """F4: a flat record inside code and message."""
    data = {"error": _error(task, state), "format": "mp4", "metadata": None,
            "status": word_for("F4", state, odd), "task_id": task.id,
            "url": _url(world, task, state)}  # fmt: skip
    return {"code": "success", "message": "", "data": data}


def _flat(world: World, task: Task, state: str, odd: str | None) -> Json:
    """F5: everything at the top."""
    metadata = {"duration": 5, "fps": 24, "width": 320, "height": 180, "seed": task.serial}
    return {"task_id": task.id, "status": word_for("F5", state, odd),
            "url": _url(world, task, state), "format": "mp4", "metadata": metadata,
            "error": _error(task, state)}  # fmt: skip


def _generation(world: World, task: Task, state: str, odd: str | None) -> Json:
    """F6: a video.generation object."""
    result = _files(world, task) if state == "succeeded" else {}
    return {"id": task.id, "object": "video.generation", "status": word_for("F6", state, odd),
            "task_result": result, "error": _error(task, state)}  # fmt: skip


def _output(world: World, task: Task, state: str, odd: str | None) -> Json:
    """F7: code 200 and an `output` object."""
    data = {"task_id": task.id, "status": word_for("F7", state, odd),
            "output": {"video_url": _url(world, task, state)},
            "error": _error(task, state) or {"code": 0, "message": ""}}  # fmt: skip
    return {"code": 200, "data": data, "message": "success"}


_PLAIN: dict[str, Callable[[World, Task, str, str | None], Json]] = {
    "F3": _openai, "F4": _wrapped, "F5": _flat, "F6": _generation, "F7": _output,
}  # fmt: skip


def fetched(world: World, shape: str, task: Task, state: str, odd: str | None) -> Json:
    """The answer to a task query in one of the shapes F1 to F7."""
    if shape == "F1":
        return envelope(world, native(world, task, state, odd))
    if shape.startswith("F2"):
        return _dto(world, task, state, odd, shape)
    return _PLAIN[shape](world, task, state, odd)
