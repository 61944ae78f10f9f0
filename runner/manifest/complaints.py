"""What pydantic finds, in plain words and at its place in the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from runner.errors import Problem
from runner.manifest.marks import Node
from runner.manifest.spec import ItemSpec, LimitsSpec, ManifestSpec
from runner.wire import excerpt

_PROVIDERS_BUSINESS = frozenset({
    "base_url", "url", "host", "endpoint", "headers", "header", "auth", "authorization", "key",
    "keys", "api_key", "api_keys", "secret", "token", "providers", "media_hosts", "prices",
    "price", "proxy", "env", "webhook", "webhook_url",
})  # fmt: skip
_EXAMPLES = {
    "version": "version: 1",
    "provider": "provider: fal",
    "model": "model: fal-ai/kling-video/v2.5-turbo/pro/text-to-video",
    "prompts": "prompts: and one prompt per line after '- '",
    "budget": "budget: 25 USD",
    "timeout": "timeout: 2h",
    "submits": "submits: 30/1m",
    "requests": "requests: 10/1s",
    "in_flight": "in_flight: 20",
    "on_doubt": "on_doubt: hold or on_doubt: resubmit",
    "matrix": "matrix: with a list under each axis, such as ratio: [16:9, 9:16]",
    "limits": "limits: {submits: 30/1m, in_flight: 20}",
    "params": "params: with one field of the request per line",
    "vars": "vars: {film: 35mm film}",
    "repeat": "repeat: 3",
    "include": "include: [{lord: noble, hat: crown}]",
    "exclude": "exclude: [{lord: noble}]",
}
_WORDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of names to values",
    "model_attributes_type": "a mapping of names to values",
}


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    close = difflib.get_close_matches(word, sorted(known), 1, 0.6)
    return close[0] if close else None


def check_shape(value: Any, root: Node, file: str) -> tuple[ManifestSpec | None, list[Problem]]:
    """Validate the plain `value` of `root`: the spec, or everything that is wrong with its shape."""
    try:
        return ManifestSpec.model_validate(value), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
    problems: dict[tuple[int, int], Problem] = {}
    for (
        detail
    ) in found:  # a union complains once for each of its members: one complaint per place is enough
        path = _path(root, detail["loc"], detail["type"])
        line, column = root.place(*path)
        if detail["type"] == "missing":
            problem = Problem(file, line, column, _missing(path))
            problems[(line, -len(problems) - 1)] = problem
        else:
            problem = Problem(file, line, column, _message(root, path, detail))
            problems.setdefault((line, column), problem)
    return None, list(problems.values())


def _path(root: Node, loc: Sequence[str | int], kind: str) -> tuple[str | int, ...]:
    """Pydantic's location without the names of union members, which stand nowhere in the file."""
    path: tuple[str | int, ...] = ()
    for name in loc:
        if root.get(*path, name) is not None:
            path = (*path, name)
    return (*path, loc[-1]) if kind == "missing" else path


def _missing(path: Sequence[str | int]) -> str:
    name = str(path[-1])
    return f"{name} is missing. Write {_EXAMPLES.get(name, name + ':')}"


def _message(root: Node, path: tuple[str | int, ...], detail: Any) -> str:
    kind = detail["type"]
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    label = f"{name}: " if name else ""
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "value_error":
        return label + str(detail["ctx"]["error"])
    if kind == "literal_error":
        return f"{label}{_shown(root, path)} is not one of the choices. Write {_EXAMPLES[name]}"
    if kind == "too_short":
        return f"{label}this list is empty. Write at least one entry"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = detail["ctx"].get("ge", detail["ctx"].get("le"))
        words = "at least" if kind == "greater_than_equal" else "at most"
        return f"{label}{_shown(root, path)} has to be {words} {bound:,}. Write {_EXAMPLES[name]}"
    return label + _wrong_type(root, path, kind, name)


def _wrong_type(root: Node, path: tuple[str | int, ...], kind: str, name: str) -> str:
    wanted = _WORDS.get(kind, "something else")
    node = root.get(*path)
    value = node.value if node is not None else None
    if not path:
        return "a manifest is a mapping of names to values. Start it with version: 1"
    if path[0] == "vars" or (len(path) > 2 and path[2] == "vars"):
        wanted = "text, a number, true or false"
    if len(path) == 2 and path[0] == "prompts":
        return _not_a_prompt(value)
    if value is None:
        return f"nothing is written here, {wanted} is needed. Write {_EXAMPLES.get(name, 'it, or remove the line')}"
    if wanted == "text" and isinstance(value, bool | int | float):
        return f"{_shown(root, path)} is {_is(value)}, text is needed. Put it in quotes"
    hint = _EXAMPLES.get(name, f"{wanted} here")
    return f"{_shown(root, path)} is {_is(value)}, {wanted} is needed. Write {hint}"


def _not_a_prompt(value: Any) -> str:
    if value is None:
        return "a prompt is missing after the dash. Write one, or remove the line"
    if isinstance(value, list):
        return "a list can't be a prompt. Write one prompt after each dash"
    return "a prompt is text. Put it in quotes"


def _shown(root: Node, path: tuple[str | int, ...]) -> str:
    node = root.get(*path)
    if node is None or isinstance(node.value, dict | list):
        return "this"
    value = node.value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else excerpt(str(value), 60) or "''"


def _is(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    for kind, words in ((str, "text"), (int | float, "a number"), (list, "a list")):
        if isinstance(value, kind):
            return words
    return "a mapping"


def _unknown(path: tuple[str | int, ...]) -> str:
    name, parents = str(path[-1]), path[:-1]
    shown = excerpt(name, 60)
    level: type[BaseModel] = ManifestSpec
    if parents:
        level = LimitsSpec if parents[0] == "limits" else ItemSpec
    known = {field.alias or word for word, field in level.model_fields.items()}
    if name.lower().replace("-", "_") in _PROVIDERS_BUSINESS:
        return (
            f"{shown} can't be set in a manifest, so that a manifest from a stranger can't redirect a key. "
            "providers.yaml does that"
        )
    meant = did_you_mean(name, known)
    if meant is not None:
        return f"{shown} is unknown. Did you mean {meant}?"
    if level is ItemSpec and (" " in name or not name.isascii()):
        return f"{shown} is unknown here. If it is the start of a prompt that holds a colon, put the prompt in quotes"
    if level is LimitsSpec:
        return f"{shown} is unknown. Write submits, in_flight or requests"
    return f"{shown} is unknown. If it is a field of the request, write it under params:"
