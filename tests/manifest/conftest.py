"""A folder in which a test writes a manifest and the files beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import ManifestError, Problem
from runner.job import Spec
from runner.manifest import Draft, Manifest, expand, load

HEAD = "version: 1\nprovider: fal\nmodel: fal-ai/some/model\n"
"""Three lines, so that a case's own text starts on line 4."""

NOW = 1_763_700_000.0

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 24


class Folder:
    """A manifest's folder; `problems` are the messages without the file's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: str | bytes) -> Path:
        """Put a file there, its line ends as they are."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def load(self, body: str | bytes, *, head: str = HEAD, cap: int | None = None) -> Manifest:
        """Load a manifest of this text."""
        data = body if isinstance(body, bytes) else (head + body).encode()
        return load(self.write("film.yaml", data), now=NOW, cap=cap)

    def expand(self, body: str, *, head: str = HEAD, cap: int | None = None) -> Iterator[Draft]:
        """Start making its jobs; what it warns of comes into `warnings`."""
        self.warnings: list[Problem] = []
        return expand(self.load(body, head=head, cap=cap), warn=self.warnings.append)

    def specs(self, body: str, *, head: str = HEAD) -> list[Spec]:
        """Make all its jobs."""
        return [draft.spec for draft in self.expand(body, head=head)]

    def problems(self, body: str | bytes, *, head: str = HEAD, cap: int | None = None) -> list[str]:
        """Everything that is wrong, in order: `file:line:column: message`."""
        try:
            list(expand(self.load(body, head=head, cap=cap)))
        except ManifestError as error:
            return [
                str(problem).replace(str(self.path) + "/", "").replace(str(self.path) + "\\", "")
                for problem in error.problems
            ]
        return []


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path)
