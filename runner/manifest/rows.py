"""Rows of .csv, .tsv, .jsonl and .txt files, one at a time.

A row is a mapping of columns to values and the line on which it starts. Files are UTF-8 with or without a BOM; lines
end in LF or CRLF. A .csv may be separated by semicolons, as spreadsheets in half of Europe write it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import ManifestError, Problem
from runner.template import NAME
from runner.wire import excerpt

KINDS = (".csv", ".tsv", ".jsonl", ".txt")
MAX_LINE = 1_000_000
MAX_DEPTH = 32

_MENTION = re.compile(rb"\$\{\{\s*([^{}\r\n]{1,200}?)\s*\}\}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

Row = tuple[dict[str, Any], int]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a quick look at a file says.

    `rows` is an upper bound, `mentions` the variables in `${{ }}`; `ids` says that some object may have an id.
    """

    rows: int
    mentions: frozenset[str]
    ids: bool


def survey(path: Path) -> Survey:
    """Read the whole file once, without decoding rows."""
    lines = 0
    ids = False
    mentions: set[bytes] = set()
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            lines += 1
            ids = ids or b'"id"' in line
            if b"${{" in line:
                mentions.update(_MENTION.findall(line))
    names = (mention.decode("utf-8", "replace") for mention in mentions)
    return Survey(lines, frozenset(name for name in names if NAME.fullmatch(name)), ids)


def read_rows(path: Path, file: str) -> Iterator[Row]:
    """Stream the rows of a file; `file` is its name in messages.

    Raises:
        ManifestError: a row can't be read; the message has its line.
    """
    lines = _Lines(path, file)
    kind = path.suffix.lower()
    if kind == ".txt":
        yield from _texts(lines)
    elif kind == ".jsonl":
        yield from _objects(lines)
    else:
        yield from _table(lines, "\t" if kind == ".tsv" else ",")


def columns(path: Path, file: str) -> frozenset[str]:
    """The columns of a file: its header, or the names in its first object.

    Raises:
        ManifestError: the beginning of the file can't be read.
    """
    kind = path.suffix.lower()
    if kind == ".txt":
        return frozenset({"prompt"})
    lines = _Lines(path, file)
    if kind == ".jsonl":
        return frozenset(next(_objects(lines), ({}, 0))[0])
    names, _ = _header(iter(lines), lines, "\t" if kind == ".tsv" else ",")
    return frozenset(names) - {""}


class _Lines:
    """The decoded lines of a file; `number` is that of the last one given out."""

    def __init__(self, path: Path, file: str) -> None:
        self.path = path
        self.file = file
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        with self.path.open("rb") as stream:
            while line := stream.readline(MAX_LINE):
                self.number += 1
                if len(line) >= MAX_LINE:
                    raise self.refuse("this line is longer than 1 MB. Cut it")
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError:
                    raise self.refuse(self._not_utf8(line)) from None
                if "\0" in text:
                    raise self.refuse("this line holds a NUL character. Delete it")
                yield text.removeprefix("\ufeff") if self.number == 1 else text

    def _not_utf8(self, line: bytes) -> str:
        if self.number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            return "encoded as UTF-16. Save it as UTF-8"
        return "this row is not UTF-8. Save the file as UTF-8"

    def refuse(self, message: str, line: int | None = None) -> ManifestError:
        """A problem at this line, or at the last one given out."""
        return ManifestError([Problem(self.file, line or self.number, 1, message)])


def _texts(lines: _Lines) -> Iterator[Row]:
    for line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            yield {"prompt": text}, lines.number


def _objects(lines: _Lines) -> Iterator[Row]:
    for line in lines:
        text = line.strip()
        if not text:
            continue
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            problem = Problem(
                lines.file,
                lines.number,
                error.colno,
                f"not JSON: {error.msg}. Write one object per line",
            )
            raise ManifestError([problem]) from None
        except (ValueError, RecursionError) as error:
            words = (
                "nested too deeply"
                if isinstance(error, RecursionError)
                else excerpt(str(error), 100)
            )
            raise lines.refuse(f"not JSON: {words}. Write one object per line") from None
        if not isinstance(value, dict):
            raise lines.refuse('a row has to be an object. Write {"prompt": "…"}')
        if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            raise lines.refuse(f"nested deeper than {MAX_DEPTH} levels. Flatten it")
        if _SURROGATE.search(text) and not _encodable(value):
            raise lines.refuse(
                "holds half a character (a lone surrogate). Write the character itself"
            )
        yield value, lines.number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON knows")


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [two for one in inner for two in one if isinstance(two, dict | list)]
    return deepest


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _table(lines: _Lines, delimiter: str) -> Iterator[Row]:
    stream = iter(lines)
    names, delimiter = _header(stream, lines, delimiter)
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    width = len(names)
    named = [(at, name) for at, name in enumerate(names) if name]
    while True:
        start = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            words = (
                "a quote is opened and never closed"
                if "unexpected end" in str(error)
                else str(error)
            )
            raise lines.refuse(
                f"this row can't be read: {words}. Check its quotes", start
            ) from None
        if cells is None:
            return
        if not cells:
            continue
        if len(cells) != width:
            raise lines.refuse(
                f"this row has {len(cells)} cells, the header has {width}. "
                f"Put a cell that holds {delimiter!r} in double quotes",
                start,
            )
        yield {name: cells[at] for at, name in named}, start


def _header(stream: Iterator[str], lines: _Lines, delimiter: str) -> tuple[list[str], str]:
    first = next(stream, "")
    if delimiter == "," and ";" in first and "," not in first:
        delimiter = ";"
    try:
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    except csv.Error as error:
        raise lines.refuse(
            f"the header can't be read: {error}. Write the names of the columns", 1
        ) from None
    if not any(names):
        raise lines.refuse(
            "the header is missing. Write the names of the columns in the first line", 1
        )
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise lines.refuse(f"two columns are called {excerpt(min(twice), 60)}. Rename one", 1)
    return names, delimiter
