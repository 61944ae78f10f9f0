"""YAML into values that remember their line and column.

Typing is that of the YAML 1.2 core schema, narrowed to what is never a surprise: `true`/`false`, `null`/`~`/nothing,
and decimal numbers. `16:9`, `no`, `012`, `0x1F`, `0o7`, `.inf` and dates stay text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,99})")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII
)
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Node(NamedTuple):
    """A value and its place (1-based).

    `value` is a scalar, a list of nodes or a mapping of names to nodes; `keys` holds the places of a mapping's names.
    `inset` is how many characters of a one-line scalar come before its text (1 for a quote), -1 where the text can't
    be found again by counting.
    """

    value: Any
    line: int
    column: int
    inset: int = -1
    keys: Mapping[str, tuple[int, int]] = {}

    def get(self, *path: str | int) -> Node | None:
        """The node under `path`; None where there is none."""
        node: Node = self
        for name in path:
            inner = node.value
            if isinstance(inner, dict) and name in inner:
                node = inner[str(name)]
            elif isinstance(inner, list) and isinstance(name, int) and name < len(inner):
                node = inner[name]
            else:
                return None
        return node

    def place(self, *path: str | int) -> tuple[int, int]:
        """Line and column of what is under `path`, or of the deepest part of it that exists.

        A mapping's entry is at its name, a list's entry at its value.
        """
        node, place = self, (self.line, self.column)
        for name in path:
            inner = node.get(name)
            if inner is None:
                continue
            place = node.keys.get(str(name)) or (inner.line, inner.column)
            node = inner
        return place

    def spot(self, offset: int) -> tuple[int, int]:
        """Line and column of a character of this scalar's text."""
        return (self.line, self.column + (self.inset + offset if self.inset >= 0 else 0))


def plain(node: Node) -> Any:
    """The value without its places."""
    if isinstance(node.value, dict):
        return {name: plain(inner) for name, inner in node.value.items()}
    if isinstance(node.value, list):
        return [plain(inner) for inner in node.value]
    return node.value


def typed(text: str) -> Any:
    """The value of an unquoted scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in "+-.0123456789":
        if _INTEGER.fullmatch(text):
            return int(text)
        if not text.lstrip("+-").isdigit() and _FLOAT.fullmatch(text):
            number = float(text)
            return number if abs(number) < float("inf") else text
    return text
