"""What the real services refuse in a request body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .reply import Json

RATIOS = ("16:9", "9:16", "1:1")
SHORT = ("5", "10")


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: the field, what is wrong, fal's name for it, and what is allowed."""

    field: str
    message: str
    kind: str = "value_error"
    permitted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _FalModel:
    """What fal's schema of a family of Kling endpoints asks for."""

    pattern: str
    image: str | None = None
    durations: tuple[str, ...] = SHORT
    prompt: bool = True


def _seconds(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(first, last + 1))


_FAL_MODELS = (
    _FalModel("*/v3/turbo/*/image-to-video", "image_url", _seconds(3, 15), prompt=False),
    _FalModel("*/v3/*/image-to-video", "start_image_url", _seconds(3, 15), prompt=False),
    _FalModel("*/v3/*", None, _seconds(3, 15), prompt=False),
    _FalModel("*/o3/*/image-to-video", "image_url", _seconds(3, 15), prompt=False),
    _FalModel("*/o1/*image-to-video", "start_image_url", _seconds(3, 10)),
    _FalModel("*/v2.6/*/image-to-video", "start_image_url"),
    _FalModel("*/image-to-video", "image_url"),
    _FalModel("*/text-to-video", None),
)


def _one_of(body: Json, field: str, allowed: Sequence[str]) -> Problem | None:
    if field not in body or body[field] in allowed:
        return None
    listed = ", ".join(repr(item) for item in allowed)
    message = f"unexpected value; permitted: {listed}"
    return Problem(field, message, "value_error.const", tuple(allowed))


def _share(body: Json, field: str) -> Problem | None:
    value = body.get(field, 0.5)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Problem(field, "value is not a valid float", "type_error.float")
    if not 0 <= value <= 1:
        kind = "greater_than_equal" if value < 0 else "less_than_equal"
        return Problem(field, "value must be between 0 and 1", kind)
    return None


def fal_problem(path: str, body: Json) -> Problem | None:
    """Return the first thing that fal's schema of this endpoint refuses; unknown fields are ignored."""
    if not isinstance(body, dict):
        return Problem("", "value is not a valid dict", "type_error.dict")
    if "prompt" in body and not isinstance(body["prompt"], str):
        return Problem("prompt", "str type expected", "type_error.str")
    models = (item for item in _FAL_MODELS if fnmatchcase(path, item.pattern))
    model = next(models, None) if "/kling-video/" in path else None
    if model is None:
        return None
    if model.prompt and not body.get("prompt"):
        return Problem("prompt", "field required", "missing")
    if model.image and not body.get(model.image):
        return Problem(model.image, "field required", "missing")
    return (
        _one_of(body, "duration", model.durations)
        or (None if model.image else _one_of(body, "aspect_ratio", RATIOS))
        or _share(body, "cfg_scale")
    )


def _camera(body: Json) -> str | None:
    control = body.get("camera_control")
    if control is None:
        return None
    if not isinstance(control, dict):
        return "camera_control is invalid"
    kinds = ("simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward")
    config = control.get("config")
    if control.get("type") not in kinds:
        return f"camera_control.type value {control.get('type')!r} is invalid"
    if control["type"] != "simple":
        return "camera_control.config must be empty for this type" if config else None
    moves = [value for value in (config or {}).values() if value]
    if len(moves) != 1 or not -10 <= moves[0] <= 10:
        return "camera_control.config must have exactly one non-zero value in [-10, 10]"
    return None


def kling_values(body: Json, *, strict: bool) -> str | None:
    """Return what is wrong with the values of a Kling video body, apart from what is missing."""
    duration = body.get("duration", "5")
    longer = str(body.get("model_name", "")).startswith(("kling-v3", "kling-video-o1"))
    durations = _seconds(3, 15) if longer else SHORT
    if (strict and not isinstance(duration, str)) or str(duration) not in durations:
        return f"duration value {duration!r} is invalid"
    if body.get("aspect_ratio", "16:9") not in RATIOS:
        return f"aspect_ratio value {body['aspect_ratio']!r} is invalid"
    if strict and _share(body, "cfg_scale"):
        return f"cfg_scale value {body['cfg_scale']!r} is invalid"
    for field in ("prompt", "negative_prompt"):
        if len(str(body.get(field) or "")) > 2500:
            return f"{field} is longer than 2500 characters"
    return _camera(body) if strict else None


def _mode(body: Json) -> str | None:
    if body.get("mode", "std") in ("std", "pro", "4k"):
        return None
    return f"mode value {body['mode']!r} is invalid"


def kling_problem(action: str, body: Json, *, strict: bool = True) -> str | None:
    """Return the message of Kling's 1201 for a body, or None. Lenient is what resellers let pass."""
    if not isinstance(body, dict):
        return "the request body is not a JSON object"
    if action == "image2video":
        image = body.get("image")
        if not image:
            return "image is required"
        if str(image).startswith("data:"):
            return "image must be a URL or bare base64, without a data: prefix"
    elif not body.get("prompt") and not body.get("multi_shot") and "2video" in action:
        return "prompt is required"
    if body.get("multi_shot") is True and not body.get("shot_type"):
        return "shot_type is required with multi_shot"
    if "video" not in action:
        return None
    return _mode(body) or kling_values(body, strict=strict)
