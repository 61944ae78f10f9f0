"""Rewrites the parts of the documentation that are made from the code; `--check` only says which are out of date.

A part stands between `<!-- generated: NAME -->` and `<!-- /generated -->`. The text around it is written by hand.
"""
# ruff: noqa: INP001 - a script, not a package

from __future__ import annotations

import re
import sys

from declared import ROOT
from tables import BLOCKS

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(
    r"(<!-- generated: ([a-z-]+)(?: (\S+))? -->\n).*?(<!-- /generated -->)", re.DOTALL
)


def fresh(page: str) -> str:
    """A page with its generated parts as they should be."""
    return BLOCK.sub(
        lambda found: f"{found[1]}{BLOCKS[found[2]](page, found[3] or '')}\n{found[4]}", page
    )


def main(arguments: list[str]) -> int:
    """Rewrite the pages, or with `--check` return 1 where one is out of date."""
    stale = [path for path in PAGES if fresh(text := path.read_text("utf-8")) != text]
    for path in stale:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if "--check" not in arguments:
            path.write_text(fresh(path.read_text("utf-8")), encoding="utf-8", newline="\n")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
