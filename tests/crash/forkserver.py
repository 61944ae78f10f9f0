"""Pays for the imports once and forks one child for each life: `python -m tests.crash.forkserver`.

Reads one `Life` a line from stdin and answers with the child's wait status. It has no threads and no loop, so a fork
of it is whole.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from tests.crash.life import Life, live
from tests.crash.sweep import sweeping


def main() -> None:
    """Serve until stdin ends."""
    gc.collect()
    gc.freeze()
    for line in sys.stdin.buffer:
        life = Life.read(line)
        child = os.fork()
        if child == 0:
            _be(life)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def _be(life: Life) -> None:
    code = 99
    try:
        log = os.open(Path(life.folder) / "stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 2)
        with sweeping(life):
            code = live(life)
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
