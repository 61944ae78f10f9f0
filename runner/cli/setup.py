"""`init` and `schema`: what one needs before the first run."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from runner.cli.general import General
from runner.cli.session import Session
from runner.cli.words import plain, shell
from runner.errors import UsageError
from runner.manifest import schema as manifest_schema

SCHEMA_NAME = "manifest.schema.json"


def schema_text() -> str:
    """The manifest's JSON Schema as it is written into files."""
    return json.dumps(manifest_schema(), ensure_ascii=False, indent=2) + "\n"


def schema(general: General, write: Path | None) -> None:
    """Print the JSON Schema, or write it into a file.

    Raises:
        UsageError: the file can't be written.
    """
    session = Session(general)
    if write is None:
        # One line under --json, because there every line is JSON of its own.
        if session.out.json:
            session.out.record(manifest_schema())
        else:
            session.out.say(schema_text().rstrip())
        return
    try:
        write.write_text(schema_text(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"{write} can't be written: {error.strerror}") from None
    session.out.say(f"Written: {plain(str(write))}")


def init(general: General, folder: Path) -> None:
    """Write the first files into a folder. What is there already stays as it is.

    Raises:
        UsageError: the folder can't be written.
    """
    session = Session(general)
    examples = files("runner") / "examples"
    texts = {
        "manifest.yaml": (examples / "manifest.yaml").read_text("utf-8"),
        "providers.yaml": (examples / "providers.yaml").read_text("utf-8"),
        SCHEMA_NAME: schema_text(),
        ".gitignore": (examples / "gitignore.txt").read_text("utf-8"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = {name: _create(folder / name, text) for name, text in texts.items()}
    except OSError as error:
        raise UsageError(f"{folder} can't be written: {error.strerror}") from None
    out = session.out
    if out.json:
        out.record({"type": "init", "folder": str(folder), "written": written})
        return
    for name, new in written.items():
        out.say(f"{'written' if new else 'kept   '}  {plain(str(folder / name))}")
    path = shell(folder / "manifest.yaml")
    out.say("", "1. Say what you want in manifest.yaml. An editor that reads YAML schemas helps.")
    out.say(f"2. {session.command('plan ' + path)}", "   shows what it would buy. Nothing is sent.")
    out.say(
        f"3. {session.command('run ' + path)}",
        "   buys it. runner providers says which key it needs.",
    )


def _create(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True
