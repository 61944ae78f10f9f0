"""`${{ name }}` in a text: one look-up, no code.

    A ${{ lord }} lord      a variable inside a text
    ${{ ratio }}            nothing but a variable: keeps the variable's type
    $${{ name }}            the characters ${{ name }} themselves

What a variable holds is put in as it stands and never looked at again, so a row of a file can't name other variables
through it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

NAME = re.compile(r"[^\W\d](?:[\w \-]*[\w\-])?")
"""A variable's name: letters, digits, `_`, `-` and inner spaces (columns of tables have them)."""

_OPENING = re.compile(r"\$?\$\{\{")
_INSIDE = re.compile(rf"\s*({NAME.pattern})\s*\}}\}}")


class TemplateError(ValueError):
    """A text that can't be rendered; `offset` is where in it, counted in characters."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


class MissingVariable(TemplateError):
    """A variable without a value; `name` is its name."""

    def __init__(self, name: str, offset: int) -> None:
        super().__init__(f"${{{{ {name} }}}} has no value here", offset)
        self.name = name


@dataclass(frozen=True, slots=True)
class Template:
    """A text cut at its variables: `texts[0] names[0] texts[1] names[1] … texts[n]`.

    `offsets` tells where in the source each name stands.
    """

    texts: tuple[str, ...]
    names: tuple[str, ...] = ()
    offsets: tuple[int, ...] = ()

    @classmethod
    def parse(cls, source: str) -> Self:
        """Cut `source` at its variables.

        Raises:
            TemplateError: something between `${{` and `}}` is not a name, or `}}` is missing.
        """
        texts, names, offsets = [""], [], []
        end = 0
        while (opening := _OPENING.search(source, end)) is not None:
            texts[-1] += source[end : opening.start()]
            end = opening.end()
            if opening[0].startswith("$$"):
                texts[-1] += "${{"
                continue
            inside = _INSIDE.match(source, end)
            if inside is None:
                raise TemplateError(_not_a_name(source, end), opening.start())
            names.append(inside[1])
            offsets.append(opening.start())
            texts.append("")
            end = inside.end()
        texts[-1] += source[end:]
        return cls(tuple(texts), tuple(names), tuple(offsets))

    @property
    def bare(self) -> bool:
        """Whether it is nothing but one variable."""
        return self.texts == ("", "")

    def render(self, values: Mapping[str, Any]) -> Any:
        """Put the values in; a bare variable keeps its type, anything else becomes text.

        Raises:
            MissingVariable: `values` lacks one.
            TemplateError: a list or a mapping stands inside a text.
        """
        if self.bare:
            name = self.names[0]
            if name not in values:
                raise MissingVariable(name, self.offsets[0])
            return values[name]
        return self.text(values)

    def text(self, values: Mapping[str, Any]) -> str:
        """Like `render`, but always text."""
        if not self.names:
            return self.texts[0]
        pieces = [self.texts[0]]
        for position, name in enumerate(self.names):
            value = values.get(name, values)
            if value is values:
                raise MissingVariable(name, self.offsets[position])
            if type(value) is not str:
                value = self._as_text(value, position)
            pieces.append(value)
            pieces.append(self.texts[position + 1])
        return "".join(pieces)

    def _as_text(self, value: Any, position: int) -> str:
        if isinstance(value, Mapping | list | tuple):
            name, kind = self.names[position], "mapping" if isinstance(value, Mapping) else "list"
            raise TemplateError(
                f"${{{{ {name} }}}} is a {kind} and can't stand inside a text. "
                "Let it be the whole value, or use one that holds text",
                self.offsets[position],
            )
        return as_text(value)


def as_text(value: Any) -> str:
    """A scalar the way YAML writes it: `true`, `5`, `0.5`; null is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _not_a_name(source: str, start: int) -> str:
    end = source.find("}}", start)
    if end < 0:
        return "${{ is never closed. Write ${{ name }}, or $${{ for the characters themselves"
    written = source[start:end].strip()
    last = written.rpartition(".")[2]
    if written != last and NAME.fullmatch(last):
        return f"a variable has one name, without dots. Write ${{{{ {last} }}}}"
    if not written:
        return "${{ }} names no variable. Write ${{ name }}, or $${{ for the characters themselves"
    return "only the name of a variable can stand between ${{ and }}. Write ${{ name }}"
