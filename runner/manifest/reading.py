"""What is found while a manifest is read: problems, warnings, and which variables are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.errors import Problem
from runner.manifest.complaints import did_you_mean
from runner.manifest.images import Images
from runner.manifest.item import Field, fill
from runner.manifest.marks import Node
from runner.template import Template, TemplateError
from runner.wire import excerpt


@dataclass(frozen=True, slots=True)
class Scope:
    """The variables that can be used in one place; `reasons` explains the absence of those that one might expect."""

    known: frozenset[str]
    reasons: Mapping[str, str] = field(default_factory=dict)

    def plus(self, *names: str) -> Scope:
        """With these too."""
        return Scope(self.known.union(names), self.reasons)

    def minus(self, **reasons: str) -> Scope:
        """Without these, for these reasons."""
        return Scope(self.known.difference(reasons), {**self.reasons, **reasons})


class Reading:
    """Collects what is wrong with one manifest, each thing once."""

    def __init__(self, file: str, images: Images) -> None:
        self.file = file
        self.images = images
        self.used: set[str] = set()
        self._problems: dict[Problem, None] = {}

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong so far."""
        return [problem for problem in self._problems if not problem.warning]

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Everything that is doubtful so far."""
        return tuple(sorted(problem for problem in self._problems if problem.warning))

    def complain(self, place: tuple[int, int], message: str) -> None:
        """Something is wrong at this line and column."""
        self._problems[Problem(self.file, *place, message)] = None

    def add(self, *problems: Problem) -> None:
        """Things are wrong, perhaps in another file."""
        self._problems |= dict.fromkeys(problems)

    def warn(self, place: tuple[int, int], message: str) -> None:
        """Something is doubtful at this line and column."""
        self._problems[Problem(self.file, *place, message, warning=True)] = None

    def template(self, node: Node, scope: Scope) -> Template | None:
        """Parse a text and check its variables; None where it isn't one (shape is somebody else's complaint)."""
        if not isinstance(node.value, str):
            return Template((str(node.value),)) if isinstance(node.value, int) else None
        if "${{" not in node.value:
            return Template((node.value,))
        try:
            template = Template.parse(node.value)
        except TemplateError as error:
            self.complain(node.spot(error.offset), str(error))
            return None
        self.check(node, dict(zip(template.names, template.offsets, strict=True)), scope)
        return template

    def check(self, node: Node, names: Mapping[str, int], scope: Scope) -> None:
        """Complain about the variables (name: offset) that `scope` lacks."""
        self.used.update(names)
        for name, offset in names.items():
            if name in scope.known:
                continue
            reason = scope.reasons.get(name)
            if reason is None:
                meant = did_you_mean(name, scope.known)
                self.used.update((meant,) if meant else ())  # one mistake, one message
                hint = (
                    f"Did you mean ${{{{ {meant} }}}}?" if meant else "Give it a value under vars:"
                )
                reason = f"the variable {excerpt(name, 40)} is unknown. {hint}"
            self.complain(node.spot(offset), reason)

    def field(self, name: str, node: Node, scope: Scope) -> Field:
        """Compile a field of the request; pictures of finished values are found right here."""
        names: set[str] = set()
        form = self._form(node, scope, names)
        if not names:
            form = fill(form, {})
            faults: list[tuple[tuple[str | int, ...], str]] = []
            if self.images.concerns(name, form):
                form = self.images.swap(name, form, faults)
            for path, message in faults:
                at = node.get(*path) or node
                self.complain((at.line, at.column), f"{name}: {message}")
        return Field(name, form, frozenset(names))

    def _form(self, node: Node, scope: Scope, names: set[str]) -> Any:
        if isinstance(node.value, dict):
            return {name: self._form(inner, scope, names) for name, inner in node.value.items()}
        if isinstance(node.value, list):
            return [self._form(inner, scope, names) for inner in node.value]
        if isinstance(node.value, str) and "${{" in node.value:
            template = self.template(node, scope)
            if template is not None:
                names.update(template.names)
                return template
        return node.value
