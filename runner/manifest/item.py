"""One entry of `prompts:`, ready to be made into jobs; and where its parts stand in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.job import Spec
from runner.manifest.marks import Node
from runner.manifest.matrix import Combination
from runner.manifest.outputs import Output
from runner.template import Template


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the request: a finished value, or a form with templates in it."""

    name: str
    form: Any
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """A file of rows: its real path and its name in messages.

    `mentions` are the variables that its rows name in `${{ }}`; `rows` is an upper bound.
    """

    path: Path
    file: str
    columns: frozenset[str]
    mentions: frozenset[str]
    rows: int


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of `prompts:`, compiled. `node` is its place, `root` the manifest's.

    `prompt` is None where a row's column gives it, or where there is none. `counting` says that the request itself
    depends on `index` or `repeat`.
    """

    file: str
    root: Node
    node: Node
    prompt: Template | None
    fields: tuple[Field, ...]
    id: Template | None
    output: Output
    repeat: int
    vars: Mapping[str, Any]
    source: Source | None
    combinations: Sequence[Combination]
    counting: bool

    def from_row(self, name: str) -> bool:
        """Whether a field of the request has its value from a row."""
        if self.source is None:
            return False
        if name == "prompt" and self.prompt is None and "prompt" in self.source.columns:
            return True
        parts = (self.prompt if name == "prompt" else None, *self.fields)
        names = {
            one
            for part in parts
            if isinstance(part, Template) or (part is not None and part.name == name)
            for one in part.names
        }
        return not names.isdisjoint(self.source.columns - set(self.vars))

    @property
    def bound(self) -> int:
        """At most this many jobs come of it."""
        rows = 1 if self.source is None else self.source.rows
        return rows * len(self.combinations) * self.repeat


@dataclass(frozen=True, slots=True)
class Where:
    """Where a job was written: its item, and the line of its row where it comes from a file."""

    item: Item
    row: int | None = None

    def locate(self, *path: str | int) -> tuple[str, int, int]:
        """File, line and column of a field of the request, such as `("duration",)`.

        The item's own `params:` come before the top level's; a value that a row gave is at its row; what is written
        nowhere is at the item.
        """
        item = self.item
        by_row = not path or item.from_row(str(path[0]))
        if by_row and item.source is not None and self.row is not None:
            return (item.source.file, self.row, 1)
        if path == ("prompt",) and item.node.get("prompt") is not None:
            return (item.file, *item.node.place("prompt"))
        for node in (item.node, item.root):
            if path and node.get("params", path[0]) is not None:
                return (item.file, *node.place("params", *path))
        if item.source is not None and self.row is not None:
            return (item.source.file, self.row, 1)
        return (item.file, item.node.line, item.node.column)


@dataclass(frozen=True, slots=True)
class Draft:
    """A job that isn't stored yet, and where it was written."""

    spec: Spec
    where: Where


def fill(form: Any, values: Mapping[str, Any]) -> Any:
    """A form with its templates rendered."""
    kind = type(form)
    if kind is Template:
        return form.render(values)
    if kind is dict:
        return {name: fill(inner, values) for name, inner in form.items()}
    if kind is list:
        return [fill(inner, values) for inner in form]
    return form
