"""Where a result goes: a path that every system can write, below the outputs folder.

One rule for all systems: names are NFC, without control, direction or reserved characters, not a Windows device, not
ending in a dot or space, at most 120 bytes each and 180 together. What is cut off is replaced by a hash of the whole,
so that two names stay two.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from runner.template import MissingVariable, Template, TemplateError, as_text

DEFAULT = "${{ batch }}/${{ id }}.${{ ext }}"
EXT = "${{ ext }}"
MAX_PART = 120
MAX_PATH = 180
MAX_FOLDERS = 6

_EASY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_RESERVED = re.compile(r"[<>:\"/\\|?*${}]")
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])\s*(?:\.|$)",
    re.IGNORECASE,
)
_MEDIA = re.compile(r"\.(mp4|webm|mov|mkv|gif|png|jpe?g|webp|mp3|wav)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Output:
    """An output template, cut at the slashes that are written in it."""

    parts: tuple[Template, ...]

    @classmethod
    def parse(cls, source: str) -> Self:
        """Read a template; `.${{ ext }}` is added where it is missing.

        Raises:
            TemplateError: it is absolute, leaves the folder, or isn't a template.
        """
        whole = Template.parse(source)
        if whole.names[-1:] == ("ext",) and whole.texts[-1] == "" and whole.texts[-2].endswith("."):
            cut = Template(
                (*whole.texts[:-2], whole.texts[-2][:-1]), whole.names[:-1], whole.offsets[:-1]
            )
        else:
            cut = whole
        if "ext" in cut.names:
            raise TemplateError("${{ ext }} can only stand at the end. End with .${{ ext }}")
        media = _MEDIA.search(cut.texts[-1])
        if media is not None and cut is whole:
            raise TemplateError(
                f"the kind of file is known only when it is here. Write .{EXT} instead of {media[0]}"
            )
        parts = _split(cut)
        _check(parts)
        return cls(parts)

    @property
    def names(self) -> frozenset[str]:
        """The variables it uses."""
        return frozenset(name for part in self.parts for name in part.names)

    def path(self, values: Mapping[str, Any]) -> str:
        """The path for these values, with `/` between its parts and `${{ ext }}` at its end.

        Raises:
            TemplateError: a variable is missing, or the path can't be made short enough.
        """
        parts = []
        for part in self.parts:
            text = part.texts[0]
            for at, name in enumerate(part.names):
                text += _value(values, name, part.offsets[at]) + part.texts[at + 1]
            parts.append(clean(text))
        if sum(map(len, parts)) * 4 + len(parts) + 5 > MAX_PATH:
            parts = _shorten(parts)
        return "/".join(parts) + "." + EXT


def _value(values: Mapping[str, Any], name: str, offset: int) -> str:
    if name not in values:
        raise MissingVariable(name, offset)
    value = values[name]
    text = value if type(value) is str else as_text(value)
    return slug(text) if name == "prompt" else text


def _split(whole: Template) -> tuple[Template, ...]:
    """Cut at the slashes of the texts; slashes inside of values never separate folders."""
    parts: list[Template] = []
    texts: list[str] = [""]
    names: list[str] = []
    offsets: list[int] = []
    for at, text in enumerate(whole.texts):
        first, *rest = text.split("/")
        texts[-1] += first
        for piece in rest:
            parts.append(Template(tuple(texts), tuple(names), tuple(offsets)))
            texts, names, offsets = [piece], [], []
        if at < len(whole.names):
            names.append(whole.names[at])
            offsets.append(whole.offsets[at])
            texts.append("")
    parts.append(Template(tuple(texts), tuple(names), tuple(offsets)))
    return tuple(parts)


def _check(parts: tuple[Template, ...]) -> None:
    first = parts[0].texts[0]
    if (len(parts) > 1 and parts[0] == Template(("",))) or re.match(r"[A-Za-z]:|~|\\", first):
        raise TemplateError(
            "an output path is relative to the outputs folder. Remove its beginning"
        )
    for part in parts:
        if not part.names and part.texts[0].strip(". ") == "":
            shown = part.texts[0].strip() or "an empty name"
            raise TemplateError(f"{shown} can't be a part of an output path. Remove it")
    if any("\\" in text for part in parts for text in part.texts):
        raise TemplateError("\\ can't stand in an output path. Write / between folders")
    if len(parts) > MAX_FOLDERS + 1:
        raise TemplateError(f"more than {MAX_FOLDERS} folders. Use fewer")


@lru_cache(maxsize=4096)
def clean(name: str) -> str:
    """One part of a path, made safe everywhere; the same name always becomes the same part."""
    if len(name) <= MAX_PART and _EASY.fullmatch(name) and not _DEVICE.match(name):
        return name
    kept = "".join(
        "-" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char
        for char in unicodedata.normalize("NFC", name)
    )
    kept = _RESERVED.sub("-", kept).lstrip(". ").rstrip(". ") or "_"
    if _DEVICE.match(kept):
        kept = "_" + kept
    return _cut(kept, MAX_PART)


def slug(text: str) -> str:
    """The first words of a prompt as part of a file name: at most 40 characters."""
    words = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", text[:200]).lower())
    return words.strip("-")[:40].rstrip("-")


def fold(path: str) -> str:
    """The form in which two paths are the same file on systems that ignore case."""
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path.casefold())


def _cut(part: str, limit: int) -> str:
    encoded = part.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return part
    mark = "-" + hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: limit - len(mark)].decode("utf-8", "ignore").rstrip(". ") + mark


def _shorten(parts: list[str]) -> list[str]:
    while (excess := len("/".join(parts).encode()) + 5 - MAX_PATH) > 0:
        longest = max(range(len(parts)), key=lambda at: len(parts[at].encode()))
        size = len(parts[longest].encode())
        shorter = _cut(parts[longest], max(20, size - excess))
        if shorter == parts[longest]:
            raise TemplateError(
                f"the output path is longer than {MAX_PATH} bytes. Use fewer folders"
            )
        parts = [*parts[:longest], shorter, *parts[longest + 1 :]]
    return parts
