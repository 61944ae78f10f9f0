"""The JSON Schema that editors read says what the loader does."""

from __future__ import annotations

import json
import re
from typing import Any

from runner.manifest import schema
from runner.manifest.document import read_yaml
from runner.manifest.marks import plain

from .test_expand import SAMPLE


def fits(value: Any, part: dict[str, Any], root: dict[str, Any]) -> bool:
    """As much of JSON Schema as the manifest's needs."""
    if "$ref" in part:
        part = {**root["$defs"][part["$ref"].rpartition("/")[2]], **part}
    for word, need in (("anyOf", any), ("oneOf", any)):
        if word in part and not need(fits(value, option, root) for option in part[word]):
            return False
    kinds: dict[str, Any] = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool,
        "array": list, "object": dict, "null": type(None),
    }  # fmt: skip
    kind = part.get("type")
    if kind and (
        not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean")
    ):
        return False
    if "enum" in part and value not in part["enum"]:
        return False
    if isinstance(value, list):
        return all(fits(one, part.get("items", {}), root) for one in value)
    return not isinstance(value, dict) or fits_mapping(value, part, root)


def fits_mapping(value: dict[str, Any], part: dict[str, Any], root: dict[str, Any]) -> bool:
    """Names that are known, required or left to patterns."""
    known, patterns = part.get("properties", {}), part.get("patternProperties", {})
    rest = part.get("additionalProperties", True)
    for name, one in value.items():
        rule = known.get(name)
        if rule is None and any(re.search(pattern, name) for pattern in patterns):
            continue
        rule = rest if rule is None else rule
        if rule is False or (isinstance(rule, dict) and not fits(one, rule, root)):
            return False
    return set(part.get("required", ())) <= set(value)


def test_the_sample_fits_and_mistakes_do_not() -> None:
    """An editor accepts the documented sample and marks unknown names, wrong types and what is missing."""
    root = schema()
    sample = plain(read_yaml(SAMPLE.encode(), "f.yaml"))
    assert fits(sample, root, root)
    for change in (
        {"nmae": "x"}, {"prompts": "x"}, {"prompts": [{"promt": "x"}]}, {"params": [1]},
        {"on_doubt": "maybe"}, {"limits": {"cpu": 1}}, {"matrix": {"a": 1}}, {"version": "1"},
    ):  # fmt: skip
        assert not fits({**sample, **change}, root, root), change
    for name in ("version", "provider", "model", "prompts"):
        assert not fits({key: one for key, one in sample.items() if key != name}, root, root)


def test_every_field_is_explained() -> None:
    """Each name has a description for the editor to show, and the schema is plain JSON."""
    root = json.loads(json.dumps(schema()))
    assert root["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in (root, *root["$defs"].values()):
        for name, field in part["properties"].items():
            assert field.get("description"), name
