"""Results on disk: where they go, how they get there, and that they are whole.

Rules:

1. A file under its final name is complete: every byte is written and synced, its length and its structure are checked.
2. The bytes alone decide a file's extension, the manifest its name; a server decides neither.
3. Nothing that exists is ever overwritten. A file that is already there with the same bytes is taken as ours, so that
   a crash between any two steps ends well.
4. Nothing is written outside the outputs folder, through a link neither.

Steps, in this order: part file, check, sync, draft of the sidecar, final name, sidecar's name, folder sync.
"""

from __future__ import annotations

from runner.files.download import Opener, Source
from runner.files.outputs import Files
from runner.files.part import part_tag

__all__ = ["Files", "Opener", "Source", "part_tag"]
