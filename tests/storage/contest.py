"""Many processes that want one state folder at the same moment: `python -m tests.storage.contest FOLDER COUNT`.

Prints one JSON line for each: whether it got in, what it was told, and the milliseconds from its first own work on the
folder to the answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from runner.errors import StoreLocked
from runner.store import SqliteStore, StateFolder


async def enter(folder: StateFolder, done: int) -> dict[str, object]:
    """Try to get in; whoever does stays until everybody has been answered."""
    began = time.perf_counter()
    try:
        async with SqliteStore(folder, time.time()):
            answer: dict[str, object] = {
                "in": True,
                "ms": (time.perf_counter() - began) * 1000,
                "pid": os.getpid(),
            }
            await asyncio.to_thread(os.read, done, 1)
            return answer
    except StoreLocked as error:
        return {"in": False, "ms": (time.perf_counter() - began) * 1000, "told": str(error)}


def main(root: Path, count: int) -> None:
    """Fork them, let them go at once, wait for the answers."""
    go, done, said = os.pipe(), os.pipe(), os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os.close(go[1])
            os.close(done[1])
            os.read(go[0], 1)  # ends when the parent closes its side
            answer = asyncio.run(enter(StateFolder(root), done[0]))
            os.write(said[1], json.dumps(answer).encode() + b"\n")
            os._exit(0)
        children.append(child)
    os.close(go[1])
    lines: list[bytes] = []
    with os.fdopen(said[0], "rb") as answers:
        lines.extend(answers.readline() for _ in range(count - 1))
        os.close(done[1])
        lines.append(answers.readline())
    for child in children:
        os.waitpid(child, 0)
    sys.stdout.write(b"".join(lines).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
