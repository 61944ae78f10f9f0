"""What is known of a model: its fields, their types and limits, as data from `models/*.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import yaml

from runner.providers.nodes import OWN


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request body.

    `type` is string, number, boolean, seconds (a length of time that goes out as text or as number), object, array,
    image or any. `enum` refuses other values, `usual` only warns, like `longest` (characters). `least` and `most` count
    list items. `rule` names a check of its own.
    """

    type: str
    required: bool = False
    enum: tuple[Any, ...] = ()
    usual: tuple[Any, ...] = ()
    min: float | None = None
    max: float | None = None
    longest: int | None = None
    least: int | None = None
    most: int | None = None
    default: Any = None
    rule: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)
    items: Field | None = None

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Field:
        """Build from the form in the model files."""
        known = dict(data)
        nested = {name: cls.read(item) for name, item in known.pop("fields", {}).items()}
        items = known.pop("items", None)
        for name in ("enum", "usual"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known, fields=nested, items=None if items is None else cls.read(items))


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its fields, rules between them, and what sets the generations under one path apart.

    `variants` are by `model_name`; `sellers` are fields that a seller, by provider name, documents differently.
    `image_bytes` and `image_types` limit local pictures.
    """

    path: str
    fields: Mapping[str, Field]
    rules: tuple[str, ...] = ()
    exactly_one: tuple[tuple[str, ...], ...] = ()
    at_most_one: tuple[tuple[str, ...], ...] = ()
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sellers: Mapping[str, Mapping[str, Field]] = field(default_factory=dict)
    image_bytes: int = 10_000_000
    image_types: tuple[str, ...] = ("image/jpeg", "image/png")

    def fields_at(self, seller: str) -> Mapping[str, Field]:
        """Return the fields as this seller documents them."""
        return {**self.fields, **self.sellers.get(seller, {})}


# Where pictures stand in models that nothing is known of.
_USUAL_IMAGES = (
    "image_url",
    "image",
    "image_tail",
    "start_image_url",
    "end_image_url",
    "tail_image_url",
    "first_frame_image",
    "last_frame_image",
    "static_mask",
    "static_mask_url",
    "image_urls.*",
    "image_list.*.image",
    "image_list.*.image_url",
)


def find_model(path: str) -> Model | None:
    """Return what is known of a model; None for one that was never met. `kling/v1/…` and `v1/…` are the same."""
    plain = path.strip("/")
    return _models().get(plain.removeprefix("kling/") if plain.startswith("kling/v1/") else plain)


def known_models() -> tuple[str, ...]:
    """Return the paths of all known models, sorted."""
    return tuple(sorted(_models()))


def image_fields(path: str) -> tuple[str, ...]:
    """Return where pictures stand in the body: `image_url`, `image_list.*.image` (`*` is any position of a list)."""
    model = find_model(path)
    return _USUAL_IMAGES if model is None else tuple(sorted(_images("", model.fields)))


def image_limits(path: str) -> tuple[int, tuple[str, ...]]:
    """Return the largest picture in bytes and the media types that the model takes."""
    model = find_model(path) or Model("", {})
    return model.image_bytes, model.image_types


def default_seconds(path: str, params: Mapping[str, Any]) -> Decimal | None:
    """Return how long the clip will be: what the params say, else the documented default; None where unknown."""
    if params.get("duration") is not None:
        return as_number(params["duration"])
    model = find_model(path)
    length = None if model is None else model.fields.get("duration")
    return None if length is None else as_number(length.default)


def as_number(value: Any) -> Decimal | None:
    """Return a number or a text that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return _as_number(value.strip() if isinstance(value, str) else repr(value))
    except ValueError:  # a whole number of thousands of digits
        return None


@lru_cache(maxsize=1024)  # a million jobs have the same few numbers
def _as_number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 50 else None


def _images(prefix: str, fields: Mapping[str, Field]) -> Iterator[str]:
    for name, spec in fields.items():
        yield from _images_in(prefix + name, spec)


def _images_in(place: str, spec: Field) -> Iterator[str]:
    if spec.type == "image":
        yield place
    if spec.items is not None:
        yield from _images_in(place + ".*", spec.items)
    yield from _images(place + ".", spec.fields)


@cache
def _models() -> dict[str, Model]:
    found: dict[str, Model] = {}
    for entry in sorted(
        (files("runner.providers") / "models").iterdir(), key=lambda item: item.name
    ):
        if not entry.name.endswith(".yaml"):
            continue
        data = yaml.load(entry.read_text("utf-8"), Loader=OWN)  # noqa: S506 - a safe one
        for item in data["models"]:
            for path in item["paths"]:
                found[path] = _model(path, item, data)
    return found


def _model(path: str, item: Mapping[str, Any], data: Mapping[str, Any]) -> Model:
    fields: dict[str, Any] = {}
    for name in item.get("uses", ()):
        fields |= data["sets"][name]
    fields |= item.get("fields", {})
    return Model(
        path=path,
        fields={name: Field.read(spec) for name, spec in fields.items()},
        rules=tuple(item.get("rules", ())),
        exactly_one=tuple(tuple(group) for group in item.get("exactly_one", ())),
        at_most_one=tuple(tuple(group) for group in item.get("at_most_one", ())),
        variants=item.get("variants", {}),
        sellers={
            seller: {name: Field.read(spec) for name, spec in changes.items()}
            for seller, changes in item.get("sellers", {}).items()
        },
        image_bytes=data["images"]["max_bytes"],
        image_types=tuple(data["images"]["media_types"]),
    )
