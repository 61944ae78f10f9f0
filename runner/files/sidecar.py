"""The JSON beside a clip. A draft of it, written before the clip gets its name, says that the clip is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.events import SavedFile


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What is to be said of a job's files; `tag` marks them as those of its attempt."""

    tag: str
    content: Mapping[str, Any]

    def text(self, files: Sequence[SavedFile]) -> str:
        """What stands in it."""
        listed = [
            {"path": file.path, "sha256": file.sha256, "size": file.size, "type": file.media_type}
            for file in files
        ]
        value = {**self.content, "files": listed, "saved_by": self.tag}
        lines = [f"  {_dump(name)}: {_dump(each)}" for name, each in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def files(self, path: Path) -> tuple[SavedFile, ...] | None:
        """The files that a sidecar or a draft of this attempt lists; None where `path` is neither."""
        try:
            value = json.loads(path.read_bytes())
            if value["saved_by"] != self.tag:
                return None
            return tuple(
                SavedFile(one["path"], one["sha256"], one["size"], one["type"])
                for one in value["files"]
            )
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None


_dump = json.JSONEncoder(ensure_ascii=False).encode
