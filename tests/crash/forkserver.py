"""Pays for imports and providers files once, and forks a child for each life: `python -m tests.crash.forkserver`.

Reads one `Life` a line from stdin and answers with the child's wait status. It has no threads and no loop, so a fork
of it is whole.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
from functools import cache
from pathlib import Path

import runner.settings
from runner.providers import find_model, load_providers
from tests.crash.life import Life, live
from tests.crash.sweep import sweeping

LONGEST = 10
"""Seconds that a life may take; on a busy machine it takes half of one."""


def main() -> None:
    """Serve until stdin ends."""
    known = cache(load_providers)
    setattr(runner.settings, "load_providers", known)  # noqa: B010 - it is not that module's to give
    find_model("v1/videos/text2video")
    for line in sys.stdin.buffer:
        life = Life.read(line)
        known(Path(life.providers))
        gc.freeze()
        child = os.fork()
        if child == 0:
            _be(life)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def _be(life: Life) -> None:
    code = 99
    signal.alarm(LONGEST)  # a life that hangs ends, too
    faulthandler.dump_traceback_later(LONGEST - 1)
    try:
        log = os.open(Path(life.folder) / "stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 2)
        os.environ.update(life.disk)
        with sweeping(life):
            code = live(life)
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
