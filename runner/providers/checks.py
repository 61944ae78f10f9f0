"""Checking a request body against what is known of its model, before money is spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from runner.providers.model import Field, Model, as_number, find_model
from runner.providers.provider import Provider
from runner.wire import Image, excerpt

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong in a body: where (names and list positions), and what to write instead."""

    path: Path
    message: str
    warning: bool = False


def normalise(provider: Provider, model: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Write lengths of time the way this seller's API wants them: `"5"` or `5`. Everything else stays as it is."""
    known = find_model(model)
    if known is None:
        return dict(params)
    traits = provider.kling if known.path.startswith("v1/") else provider.fal
    fields = known.fields_at(provider.name)
    return {
        name: _typed(fields[name], value, traits.numeric_duration) if name in fields else value
        for name, value in params.items()
    }


def check_fields(
    fields: Mapping[str, Field], params: Mapping[str, Any], at: Path
) -> Iterator[Finding]:
    """Check one level of a body: unknown names, missing ones, and each value against its field."""
    for name, value in params.items():
        if name in fields:
            yield from check_value(fields[name], value, (*at, name))
        else:
            near = get_close_matches(name, fields, 1)
            hint = f". Did you mean {near[0]}?" if near else ". It is sent as it is"
            yield Finding(
                (*at, name), f"{excerpt(name, 60)} is not a documented field{hint}", warning=True
            )
    for name, spec in fields.items():
        if spec.required and params.get(name) in (None, "", [], {}):
            yield Finding(at, f"{name} is missing. {_wanted(spec, name)}")


def check_value(spec: Field, value: Any, at: Path) -> Iterator[Finding]:
    """Check one value: its type first, then its limits."""
    name = str(at[-1]) if isinstance(at[-1], str) else f"{at[-2]}[{at[-1]}]"
    if value is None or spec.type == "any":
        return
    if not _fits(spec.type, value):
        yield Finding(at, f"{name} can't be {_shown(value)}. {_wanted(spec, name)}")
        return
    if spec.type in ("number", "seconds"):
        yield from _check_number(spec, value, at, name)
    elif spec.type == "string":
        yield from _check_text(spec, value, at, name)
    elif spec.type == "object":
        if spec.fields:
            yield from check_fields(spec.fields, value, at)
    elif spec.type == "array":
        yield from _check_list(spec, value, at, name)


def _check_number(spec: Field, value: Any, at: Path, name: str) -> Iterator[Finding]:
    number = as_number(value)
    if number is None:
        return
    listed = not spec.enum or any(number == as_number(item) for item in spec.enum)
    low = spec.min is not None and number < Decimal(str(spec.min))
    high = spec.max is not None and number > Decimal(str(spec.max))
    if low or high or not listed:
        yield Finding(at, f"{name} can't be {_shown(value)}. {_wanted(spec, name)}")


def _check_text(spec: Field, value: str, at: Path, name: str) -> Iterator[Finding]:
    if spec.enum and value not in spec.enum:
        yield Finding(at, f"{name} can't be {_shown(value)}. {_wanted(spec, name)}")
    elif spec.usual and value not in spec.usual:
        near = get_close_matches(value, spec.usual, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Documented: {', '.join(spec.usual)}"
        yield Finding(at, f"{name} {_shown(value)} is not a documented value. {hint}", warning=True)
    if spec.longest is not None and len(value) > spec.longest:
        message = (
            f"{name} has {len(value)} characters, documented are at most {spec.longest}. Shorten it"
        )
        yield Finding(at, message, warning=True)


def _check_list(spec: Field, value: Any, at: Path, name: str) -> Iterator[Finding]:
    few = spec.least is not None and len(value) < spec.least
    if few or (spec.most is not None and len(value) > spec.most):
        yield Finding(
            at, f"{name} has {len(value)} items. Write {spec.least or 0} to {spec.most or 'many'}"
        )
    for index, item in enumerate(value):
        if spec.items is not None:
            yield from check_value(spec.items, item, (*at, index))


def check_groups(model: Model, params: Mapping[str, Any]) -> Iterator[Finding]:
    """Check fields that exclude each other."""
    for group in model.exactly_one:
        given = [name for name in group if params.get(name)]
        if not given:
            yield Finding((), f"{' or '.join(group)} is missing. Write one of them")
        elif len(given) > 1:
            yield Finding(
                (given[-1],), f"{' and '.join(given)} exclude each other. Write one of them"
            )
    for group in model.at_most_one:
        given = [name for name in group if params.get(name)]
        if len(given) > 1:
            yield Finding(
                (given[-1],), f"{' and '.join(given)} exclude each other. Write at most one of them"
            )


def _fits(kind: str, value: Any) -> bool:
    if kind in ("number", "seconds"):
        return as_number(value) is not None
    if kind == "boolean":
        return isinstance(value, bool) or value in ("true", "false")
    if kind == "object":
        return isinstance(value, Mapping)
    if kind == "array":
        return isinstance(value, list | tuple)
    if kind == "image":
        return isinstance(value, str | Image) or (isinstance(value, Mapping) and "$image" in value)
    return isinstance(value, str)


def _typed(spec: Field, value: Any, numeric: bool) -> Any:
    if spec.type == "seconds":
        return _seconds(value, numeric)
    if spec.type == "object" and isinstance(value, Mapping):
        return {
            name: _typed(spec.fields[name], item, numeric) if name in spec.fields else item
            for name, item in value.items()
        }
    if spec.type == "array" and isinstance(value, list | tuple) and spec.items is not None:
        return [_typed(spec.items, item, numeric) for item in value]
    return value


def _seconds(value: Any, numeric: bool) -> Any:
    number = as_number(value)
    if number is None:
        return value
    if number == number.to_integral_value():
        return int(number) if numeric else str(int(number))
    return float(number) if numeric else str(value)


def _wanted(spec: Field, name: str) -> str:
    """Say what to write: the values, the range or the type."""
    if spec.enum:
        return f"Write one of: {', '.join(str(item) for item in spec.enum)}"
    if spec.min is not None or spec.max is not None:
        return f"Write a number from {spec.min} to {spec.max}"
    examples = {
        "string": f"Write a text: {name}: …",
        "number": f"Write a number: {name}: 0.5",
        "seconds": f"Write seconds: {name}: 5",
        "boolean": f"Write {name}: true or {name}: false",
        "object": f"Write names and values under {name}:",
        "array": f"Write a list under {name}:",
        "image": f"Write a path or an address: {name}: pictures/start.png",
    }
    return examples[spec.type]


def _shown(value: Any) -> str:
    return excerpt(
        repr(value) if isinstance(value, str | int | float) else type(value).__name__, 60
    )
