"""One YAML document into nodes, and bombs refused.

The tree is built here from the parser's events, so that PyYAML's loaders (which can be made to recurse, to multiply
aliases and to run constructors) never see the file: every limit is checked before anything is built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from runner.errors import ManifestError, Problem
from runner.manifest.marks import Node, typed
from runner.wire import excerpt

MAX_BYTES = 10_000_000
MAX_DEPTH = 32
MAX_ALIASES = 1_000
MAX_NODES = 500_000
MAX_EXPANDED = 1_000_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_HALVES = re.compile("[\ud800-\udfff]")


def read_yaml(
    data: bytes, file: str, loader: Any = _LOADER, *, found: list[Problem] | None = None
) -> Node:
    """Parse one YAML document.

    Mistakes that leave something to read (a name that stands twice, a tag) are put into `found`, if it is given, so
    that they are told together with what else is wrong.

    Raises:
        ManifestError: everything that is wrong with it as YAML, with places.
    """
    text = _decode(data, file)
    composer = _Composer(file)
    try:
        for event in yaml.parse(text, Loader=loader):
            composer.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        message = _plain_words(error, text, mark)
        raise ManifestError(
            [*composer.problems, Problem(file, line + 1, column + 1, message)]
        ) from None
    except yaml.YAMLError as error:
        raise ManifestError([Problem(file, 1, 1, f"not YAML: {excerpt(str(error))}")]) from None
    if composer.problems and (found is None or composer.root is None):
        raise ManifestError(composer.problems)
    if found is not None:
        found.extend(composer.problems)
    if composer.root is None:
        raise ManifestError([Problem(file, 1, 1, "the file is empty. Start it with version: 1")])
    return composer.root


def _decode(data: bytes, file: str) -> str:
    def refuse(line: int, column: int, message: str) -> ManifestError:
        """The one problem of a file that can't be read at all."""
        return ManifestError([Problem(file, line, column, message)])

    if len(data) > MAX_BYTES:
        raise refuse(
            1,
            1,
            "larger than 10 MB. Move the prompts to a .csv or .jsonl file, and write from: FILE",
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise refuse(1, 1, "encoded as UTF-16. Save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = _place(before, len(before))
        raise refuse(line, column, "not UTF-8 here. Save the file as UTF-8") from None
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        line, column = _place(text, forbidden.start())
        raise refuse(
            line, column, f"the character U+{ord(forbidden[0]):04X} can't stand in YAML. Delete it"
        )
    return text


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def _plain_words(error: yaml.MarkedYAMLError, text: str, mark: Any) -> str:
    problem = excerpt(str(error.problem or error.context or "not YAML"))
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    at = line[mark.column : mark.column + 1] if mark else ""
    if at == "\t" or line[: len(line) - len(line.lstrip())].count("\t"):
        return "a tab can't indent YAML. Use spaces"
    if "cannot start any token" in problem and at in "@`%|>":
        return f"a text can't start with {at} unless it is quoted. Put it in quotes"
    if "mapping values are not allowed" in problem:
        return "a colon here starts a new mapping. Put a text that holds ': ' in quotes, or check the indentation"
    if "undefined alias" in problem or "undefined tag handle" in problem:
        return f"{problem}. Tags and unknown names can't be read; remove it"
    return f"not YAML: {problem}. Check indentation, quotes and brackets"


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is still open. `size` counts its nodes with every alias written out."""

    value: Any
    line: int
    column: int
    anchor: str | None
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    name: str | None = None
    name_at: tuple[int, int] = (0, 0)
    merging: bool = False
    merges: list[Node] = field(default_factory=list)
    size: int = 1


class _Composer:
    """Builds nodes from events, and refuses bombs while they are still events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._nodes = self._aliases = self._documents = 0

    def feed(self, event: Any) -> None:
        """Take the next event."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._count(event)
            self._place(self._scalar(event), 1, event.anchor, event)
        elif kind is yaml.SequenceStartEvent or kind is yaml.MappingStartEvent:
            self._open(event, [] if kind is yaml.SequenceStartEvent else {})
        elif kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
            self._close(event)
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                self._refuse(event, "a second document starts here. Keep one manifest in a file")

    def _refuse(self, event: Any, message: str) -> None:
        self._complain(event, message)
        raise ManifestError(self.problems)

    def _complain(self, event: Any, message: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, message))

    def _count(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(
                event, f"more than {MAX_NODES:,} values. Move the prompts to a .csv or .jsonl file"
            )
        if event.tag is not None:
            tag = excerpt(event.tag, 40)
            self._complain(
                event,
                f"the tag {tag} can't be used. Remove it, and quote the value to make it text",
            )

    def _scalar(self, event: Any) -> Node:
        start, end, text = event.start_mark, event.end_mark, event.value
        quotes = (
            1 if event.style else 0
        )  # an unquoted scalar's style is None, or '' from the C parser
        exact = (
            event.style not in ("|", ">")
            and start.line == end.line
            and end.column - start.column == len(text) + 2 * quotes
        )
        if not text.isascii() and _HALVES.search(text):
            self._complain(
                event, "holds half a character (a lone surrogate). Write the character itself"
            )
            text = _HALVES.sub("?", text)
        value = text if event.style else typed(text)
        return Node(value, start.line + 1, start.column + 1, quotes if exact else -1)

    def _open(self, event: Any, value: Any) -> None:
        self._count(event)
        if len(self._frames) >= MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels. Flatten it")
        frame = self._frames[-1] if self._frames else None
        if frame is not None and isinstance(frame.value, dict) and frame.name is None:
            self._refuse(
                event, "a list or mapping can't be a name. Write a plain name before the colon"
            )
        mark = event.start_mark
        self._frames.append(_Frame(value, mark.line + 1, mark.column + 1, event.anchor))

    def _close(self, event: Any) -> None:
        frame = self._frames.pop()
        for source in frame.merges:
            for name, node in source.value.items():
                if name not in frame.value:
                    frame.value[name] = node
                    frame.keys[name] = source.keys[name]
        node = Node(frame.value, frame.line, frame.column, -1, frame.keys)
        self._place(node, frame.size, frame.anchor, event)

    def _alias(self, event: Any) -> None:
        self._aliases += 1
        name = excerpt(event.anchor, 40)
        if self._aliases > MAX_ALIASES:
            self._refuse(event, f"more than {MAX_ALIASES:,} aliases. Use params: and vars: instead")
        if any(frame.anchor == event.anchor for frame in self._frames):
            self._refuse(event, f"*{name} stands inside itself. Remove it")
        if event.anchor not in self._anchors:
            self._refuse(
                event, f"*{name} names nothing. Write &{name} at the value that it stands for"
            )
        node, size = self._anchors[event.anchor]
        self._place(node, size, None, event)

    def _place(self, node: Node, size: int, anchor: str | None, event: Any) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, size)
        if not self._frames:
            self.root = node
            return
        frame = self._frames[-1]
        frame.size += size
        if frame.size > MAX_EXPANDED:
            self._refuse(event, f"aliases multiply to more than {MAX_EXPANDED:,} values. Use fewer")
        if isinstance(frame.value, list):
            frame.value.append(node)
        elif frame.name is None:
            self._name(frame, node, event)
        else:
            self._entry(frame, frame.name, node)
            frame.name = None

    def _name(self, frame: _Frame, node: Node, event: Any) -> None:
        if isinstance(node.value, dict | list):
            self._refuse(
                event, "a list or mapping can't be a name. Write a plain name before the colon"
            )
        written = event.value if isinstance(event, yaml.ScalarEvent) else str(node.value)
        if not written:
            self._complain(event, "a name is missing before the colon. Write one")
        frame.merging = written == "<<" and not getattr(event, "style", None)
        frame.name = written
        frame.name_at = (event.start_mark.line + 1, event.start_mark.column + 1)

    def _entry(self, frame: _Frame, name: str, node: Node) -> None:
        if frame.merging:
            sources = node.value if isinstance(node.value, list) else [node]
            if all(isinstance(source.value, dict) for source in sources):
                frame.merges.extend(sources)
                return
            message = "<< merges mappings only. Write <<: *name or <<: [*one, *two]"
        elif name in frame.value:
            first = frame.keys[name][0]
            message = f"{excerpt(name, 40)} stands twice, first on line {first}. Remove one"
        else:
            frame.value[name] = node
            frame.keys[name] = frame.name_at
            return
        self.problems.append(Problem(self.file, *frame.name_at, message))
