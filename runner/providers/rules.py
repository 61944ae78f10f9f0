"""Whole-body checks: a model's fields, the rules between them, and what its generation can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from runner.providers.checks import Finding, check_fields, check_groups
from runner.providers.model import Field, Model, as_number, find_model, known_models
from runner.providers.provider import Provider
from runner.wire import excerpt

_AXES = ("horizontal", "vertical", "pan", "tilt", "roll", "zoom")
_MOVES = ("simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward")


def check(provider: Provider, model: str, params: Mapping[str, Any]) -> list[Finding]:
    """Check a rendered body. Errors are what the API would refuse; anything less certain is a warning.

    `params` may hold pictures as paths, addresses, loaded images or stored references.
    """
    known = find_model(model)
    if known is None:
        near = get_close_matches(model.strip("/"), known_models(), 1, 0.85)
        hint = f". Did you mean {near[0]}?" if near else ""
        return [
            Finding(
                (),
                f"the model {excerpt(model)} is not known here, its fields are not checked{hint}",
                True,
            )
        ]
    fields = known.fields_at(provider.name)
    found = [*check_fields(fields, params, ()), *check_groups(known, params)]
    found += _check_rules(known, fields, params)
    found += _check_variant(known, params)
    if "external_task_id" in params and provider.kling.external_id and known.path.startswith("v1/"):
        message = "external_task_id is set by the runner, which looks lost answers up by it. Remove the line"
        found.append(Finding(("external_task_id",), message))
    return found


def _check_rules(
    model: Model, fields: Mapping[str, Field], params: Mapping[str, Any]
) -> Iterator[Finding]:
    for name, spec in fields.items():
        if spec.rule == "camera" and isinstance(params.get(name), Mapping):
            yield from _check_camera(params[name], name)
    if "multi_shot" in model.rules:
        yield from _check_shots(model, fields, params)


def _check_camera(camera: Mapping[str, Any], name: str) -> Iterator[Finding]:
    """Check a camera movement: `simple` moves along exactly one axis, the others take no axes (documented by Kling)."""
    kind, config = camera.get("type"), camera.get("config")
    if kind not in _MOVES:
        yield Finding(
            (name, "type"), f"{name}.type can't be {kind!r}. Write one of: {', '.join(_MOVES)}"
        )
    elif kind != "simple":
        if config is not None:
            yield Finding((name, "config"), f"{name}.config is only for type: simple. Remove it")
    elif not isinstance(config, Mapping):
        yield Finding(
            (name,),
            f"{name} of type simple needs config:. Write one axis, such as config: {{zoom: 5}}",
        )
    else:
        yield from _check_axes(config, name)


def _check_axes(config: Mapping[str, Any], name: str) -> Iterator[Finding]:
    moving = 0
    for axis, value in config.items():
        number = as_number(value)
        if axis not in _AXES:
            message = f"{name}.config has no axis {axis!r}. Write one of: {', '.join(_AXES)}"
            yield Finding((name, "config", str(axis)), message)
        elif number is None or not -10 <= number <= 10:
            message = f"{name}.config.{axis} can't be {value!r}. Write a number from -10 to 10"
            yield Finding((name, "config", axis), message)
        else:
            moving += number != 0
    if moving != 1:
        yield Finding(
            (name, "config"), f"{name}.config moves {moving} axes. Exactly one must not be 0"
        )


def _check_shots(
    model: Model, fields: Mapping[str, Field], params: Mapping[str, Any]
) -> Iterator[Finding]:
    """Check prompts against shots: one prompt, or several shots that add up to the clip."""
    several = params.get("multi_shot") in (True, "true")
    prompt_needed = not several or params.get("shot_type") == "intelligence"
    if prompt_needed and not params.get("prompt") and "image" not in model.fields:
        yield Finding((), "prompt is missing. Write a text: prompt: …")
    if not several:
        return
    shots = params.get("multi_prompt")
    if not params.get("shot_type"):
        yield Finding(
            (), "shot_type is missing. With multi_shot, write shot_type: customize or intelligence"
        )
    if params.get("image_tail"):
        yield Finding(("image_tail",), "image_tail can't go with multi_shot. Remove one of them")
    if params.get("shot_type") == "customize" and not shots:
        yield Finding(
            (), "multi_prompt is missing. With shot_type: customize, write one to six shots"
        )
    length = fields["duration"].default if "duration" in fields else None
    yield from _check_lengths(shots, params.get("duration", length))


def _check_lengths(shots: Any, whole: Any) -> Iterator[Finding]:
    total, wanted = Decimal(0), as_number(whole)
    if not isinstance(shots, list | tuple) or not shots or wanted is None:
        return
    for shot in shots:
        length = as_number(shot.get("duration")) if isinstance(shot, Mapping) else None
        if length is None:
            return
        total += length
    if total != wanted:
        yield Finding(
            ("multi_prompt",),
            f"the shots last {total} s together, duration is {wanted}. Make them equal",
        )


def _check_variant(model: Model, params: Mapping[str, Any]) -> Iterator[Finding]:
    """Check what this generation can do. Only the length is sure; the maker's other tables contradict each other."""
    name_field = model.fields.get("model_name")
    name = params.get("model_name", name_field.default if name_field else None)
    variant = model.variants.get(name) if isinstance(name, str) else None
    if variant is None:
        return
    if variant.get("missing"):
        message = f"{name} is not documented for {model.path}; the provider may refuse it or use another model"
        yield Finding(("model_name",), message, warning=True)
    length = as_number(params.get("duration"))
    lengths = variant.get("duration", ())
    if lengths and length is not None and length not in [Decimal(item) for item in lengths]:
        values = ", ".join(str(item) for item in lengths)
        yield Finding(
            ("duration",), f"{name} does not make {length} s clips. Write one of: {values}"
        )
    modes = variant.get("mode")
    if modes is not None and params.get("mode") is not None and params["mode"] not in modes:
        hint = f"Documented: {', '.join(modes)}" if modes else "Remove mode:"
        yield Finding(
            ("mode",),
            f"{name} is not documented with mode {params['mode']!r}. {hint}",
            warning=True,
        )
    for field in variant.get("without", ()):
        if params.get(field) not in (None, "", False, "false", "off"):
            message = f"{name} is documented without {field}. Remove it or change model_name:"
            yield Finding((field,), message, warning=True)
