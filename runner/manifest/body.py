"""The body of one request: prompt, params and the id that was written for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.manifest.images import Fault, Images
from runner.manifest.item import Item, fill
from runner.manifest.names import clean_id
from runner.template import MissingVariable, Template, TemplateError, as_text


class MisplacedError(ValueError):
    """A field can't be made; `path` leads to it, and its text says why."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


def make_body(
    item: Item, row: Mapping[str, Any], values: dict[str, Any], images: Images
) -> tuple[dict[str, Any], str]:
    """The params (prompt first) and the written id, or "" where none is written.

    `values` gets `prompt` and `id`, in that order, so that what comes later can use them.

    Raises:
        MisplacedError: a variable is missing, an id can't be used, a picture can't be found.
    """
    params: dict[str, Any] = {}
    path = "prompt"
    try:
        prompt = _prompt(item, row, values)
        if prompt is not None:
            params["prompt"] = prompt
        values["prompt"] = prompt or ""
        path = "id"
        written = ""
        if item.id is not None:
            values.setdefault("id", "")
            written = clean_id(item.id.text(values))
            values["id"] = written
        for field in item.fields:
            path = field.name
            if path == "prompt" and prompt is not None:
                continue
            value = field.form
            if field.names:
                value = fill(value, values)
                if images.concerns(path, value):
                    value = _with_pictures(path, value, images)
            if value is not None:
                params[path] = value
                if path == "prompt":
                    values["prompt"] = as_text(value)
    except TemplateError as error:
        raise MisplacedError((path,), say(error)) from None
    return params, written


def say(error: TemplateError) -> str:
    """What went wrong while rendering, and what to do about it."""
    if isinstance(error, MissingVariable):
        return f"{error}. Add it to the row, or give it a value for all under vars:"
    return str(error)


def _prompt(item: Item, row: Mapping[str, Any], values: Mapping[str, Any]) -> str | None:
    if item.prompt is not None:
        return item.prompt.text(values)
    written = row.get("prompt")
    if written is None:
        return None
    if not isinstance(written, str):
        if isinstance(written, dict | list):
            raise TemplateError("the prompt has to be text. Put it in quotes")
        return as_text(written)
    if "${{" in written:
        written = Template.parse(written).text(values)
    return written if written.strip() else None


def _with_pictures(name: str, value: Any, images: Images) -> Any:
    faults: list[Fault] = []
    swapped = images.swap(name, value, faults)
    if faults:
        path, message = faults[0]
        raise MisplacedError((name, *path), f"{name}: {message}")
    return swapped
