"""Takes docs/demo.svg: runs `runner demo` in a real terminal (tmux) and draws the screen as it stood at one moment.

Run it by hand, where tmux is installed, when what the live table shows has changed.
"""
# ruff: noqa: INP001, S603 - a script that starts our own program and tmux

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).parent
WIDTH, HEIGHT = 112, 30
WANTED = re.compile(r"^failed .*provider .*fetching.* done .*━", re.DOTALL | re.MULTILINE)
OTHERWISE = re.compile(r"provider .* done .*━", re.DOTALL)


def screens(folder: Path) -> list[str]:
    """Every screen that `runner demo` shows, four a second, colours included."""
    tmux = ["tmux", "-L", f"picture-{folder.name}", "-f", "/dev/null"]
    (folder / "runner").write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m runner "$@"\n', "utf-8"
    )
    (folder / "runner").chmod(0o755)
    command = f"cd {shlex.quote(str(folder))} && PATH=.:$PATH PYTHONPATH={shlex.quote(str(HERE.parent))} runner demo"
    size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
    subprocess.run([*tmux, "new-session", "-d", "-s", "demo", *size, command], check=True)
    seen: list[str] = []
    while True:
        shown = subprocess.run(
            [*tmux, "capture-pane", "-e", "-p", "-t", "demo"],
            capture_output=True,
            text=True,
            check=False,
        )
        if shown.returncode:
            return seen
        seen.append(shown.stdout)
        time.sleep(0.25)


def drawn(screen: str) -> str:
    """A screen as SVG, without fonts from elsewhere."""
    lines = screen.rstrip().splitlines()
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        console = Console(
            record=True, width=WIDTH, file=nowhere, force_terminal=True, legacy_windows=False
        )
        for line in lines:
            console.print(Text.from_ansi(line), no_wrap=True, crop=True)
        form = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        return console.export_svg(
            title="runner demo", theme=MONOKAI, code_format=form, unique_id="demo"
        )


def main() -> None:
    """Take the picture."""
    with tempfile.TemporaryDirectory() as folder:
        seen = screens(Path(folder))
    plain = [(screen, re.sub(r"\x1b\[[0-9;]*m", "", screen)) for screen in seen]
    for wanted in (WANTED, OTHERWISE):
        fitting = [screen for screen, text in plain if wanted.search(text)]
        if fitting:
            (HERE / "demo.svg").write_text(
                drawn(fitting[len(fitting) // 2]), encoding="utf-8", newline="\n"
            )
            return
    raise SystemExit("no screen showed the table")


if __name__ == "__main__":
    main()
