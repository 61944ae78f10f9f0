"""Names that a user gives: variables and ids."""

from __future__ import annotations

import re

from runner.manifest.marks import Node
from runner.manifest.reading import Reading
from runner.manifest.spec import BUILT_IN
from runner.template import NAME, TemplateError
from runner.wire import excerpt

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")


def clean_id(text: str) -> str:
    """An id as it is used: spaces become `-`; empty means none.

    Raises:
        TemplateError: it has other characters than letters, digits, `.`, `_`, `-`, or more than 80.
    """
    cleaned = "-".join(text.split())
    if cleaned and not _ID.fullmatch(cleaned):
        raise TemplateError(
            f"id: {excerpt(text, 60)!r} can't name a file everywhere. Use at most 80 of a-z, A-Z, 0-9, . _ -"
        )
    return cleaned


def check_names(reading: Reading, node: Node | None, kind: str) -> None:
    """Complain about variables that can't be used or that hide a built-in one."""
    if node is None or not isinstance(node.value, dict):
        return
    for name, inner in node.value.items():
        place = node.keys[name]
        if name in BUILT_IN:
            reading.complain(place, f"{name} is built in. Use another name for this {kind}")
        elif not NAME.fullmatch(name):
            reading.complain(
                place,
                f"{excerpt(name, 40)!r} can't be used as ${{{{ … }}}}. "
                "Start with a letter, then letters, digits, _ and -",
            )
        if isinstance(inner.value, str) and "${{" in inner.value:
            reading.warn(
                (inner.line, inner.column),
                f"${{{{ in the {kind} {name} stays as it is: values are not looked into",
            )
