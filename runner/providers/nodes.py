"""YAML as marked text: every value knows its line, and nothing is guessed from how it looks.

`16:9` is a text here and `no` is a text; what a number is, is decided by whoever wants one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

import yaml

from runner.errors import Problem
from runner.wire import excerpt

T = TypeVar("T")

OWN: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""For the package's own files: many times faster. What users write is read by the one that explains mistakes best."""


@dataclass(slots=True)
class Marked:
    """A file that is being read: where its problems are collected."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def compose(self, text: str, loader: Any = yaml.SafeLoader) -> yaml.Node | None:
        """Parse one document; None, with a problem noted, where it is none."""
        try:
            return yaml.compose(text, Loader=loader)
        except yaml.MarkedYAMLError as problem:
            mark = problem.problem_mark or problem.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            self.problems.append(
                Problem(self.file, line, column, f"not YAML: {excerpt(str(problem.problem))}")
            )
        except (yaml.YAMLError, RecursionError) as problem:
            self.problems.append(Problem(self.file, 0, 0, f"not YAML: {excerpt(str(problem))}"))
        return None

    def wrong(self, node: yaml.Node, message: str) -> None:
        """Note a problem at a node."""
        mark = node.start_mark
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, message))

    def entries(
        self, node: yaml.Node, what: str, known: Collection[str] = ()
    ) -> Iterator[tuple[str, yaml.Node]]:
        """Walk the keys of a mapping. Doubled keys, keys outside `known` (unless empty) and tags are problems.

        Keys that begin with `x-` are for the user's own anchors and skipped.
        """
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{what} has to be names and values. Write {what}: {{name: value}}")
            return
        seen: set[str] = set()
        for key_node, value in node.value:
            key = self.text(key_node, f"a key of {what}")
            if key is None or key.startswith("x-"):
                continue
            if key in seen:
                self.wrong(
                    key_node, f"{excerpt(key)} is written twice under {what}. Keep one of them"
                )
            elif known and key not in known:
                near = get_close_matches(key, known, 1)
                hint = (
                    f"Did you mean {near[0]}?"
                    if near
                    else f"Write one of: {', '.join(sorted(known))}"
                )
                self.wrong(key_node, f"{what} has no key {excerpt(key)!r}. {hint}")
            else:
                seen.add(key)
                yield key, value

    def text(self, node: yaml.Node, what: str) -> str | None:
        """Read a text; None, with a problem noted, where there is none."""
        if not isinstance(node, yaml.ScalarNode):
            self.wrong(node, f"{what} has to be a single value")
        elif not str(node.tag).startswith("tag:yaml.org,2002:"):
            self.wrong(node, f"{what} has a tag, {excerpt(str(node.tag), 40)}. Remove it")
        elif node.value == "" or (node.style is None and node.value in ("~", "null")):
            self.wrong(node, f"{what} is empty. Write a value, or remove the line")
        else:
            return str(node.value)
        return None

    def texts(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        """Read a list of texts."""
        if not isinstance(node, yaml.SequenceNode):
            self.wrong(node, f"{what} has to be a list. Write {what}: [one, two]")
            return ()
        found = (self.text(item, f"an item of {what}") for item in node.value)
        return tuple(item for item in found if item is not None)

    def parsed(self, node: yaml.Node, what: str, parse: Callable[[str], T]) -> T | None:
        """Read a value through a function that raises ValueError with a message for people."""
        text = self.text(node, what)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as problem:
            self.wrong(node, f"{what}: {excerpt(str(problem))}")
            return None
