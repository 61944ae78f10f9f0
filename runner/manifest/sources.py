"""`from:`, a file of rows beside the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.errors import ManifestError
from runner.manifest import rows
from runner.manifest.complaints import did_you_mean
from runner.manifest.inside import OutsideError, find_inside
from runner.manifest.item import Field, Source
from runner.manifest.marks import Node
from runner.manifest.reading import Reading
from runner.wire import excerpt


def read_source(reading: Reading, node: Node, folder: Path) -> Source | None:
    """Find the file that an item names and look through it; None where it names none, or none that can be used."""
    text = node.get("from")
    if text is None or not isinstance(text.value, str):
        return None
    place, written = node.place("from"), text.value
    if Path(written).suffix.lower() not in rows.KINDS:
        reading.complain(
            place, f"from: {excerpt(written, 80)} is no table. Use .csv, .tsv, .jsonl or .txt"
        )
        return None
    file = str(folder / written)
    try:
        real = find_inside(folder, written)
        found = rows.survey(real)
        columns = rows.columns(real, file)
        if found.ids and real.suffix.lower() == ".jsonl":
            columns |= {"id"}
        return Source(real, file, columns, found.mentions, found.rows)
    except OutsideError as error:
        reading.complain(place, f"from: {error}")
    except OSError as error:
        reading.complain(place, f"from: can't be read ({error.strerror}). Check its permissions")
    except ManifestError as error:
        for problem in error.problems:
            reading.add(problem)
    return None


def need_prompt(reading: Reading, node: Node, source: Source, fields: Sequence[Field]) -> None:
    """Complain about a table of which nothing is used: its column of prompts has another name."""
    used = {name for field in fields for name in field.names}
    if "prompt" in source.columns or not source.columns or used & source.columns:
        return
    meant = did_you_mean("prompt", {name.lower() for name in source.columns})
    column = next(
        (name for name in sorted(source.columns) if name.lower() == meant), min(source.columns)
    )
    reading.complain(
        node.place("from"),
        f"{excerpt(source.file, 80)} has no column called prompt. "
        f"Rename one, or write prompt: ${{{{ {excerpt(column, 40)} }}}}",
    )
