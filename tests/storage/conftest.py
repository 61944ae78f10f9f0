"""State folders in memory, where there is a disk for that: what these tests break does not depend on the disk."""

from __future__ import annotations

from tests.crash.conftest import tmp_path

__all__ = ["tmp_path"]
