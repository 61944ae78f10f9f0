"""Brings a database to the newest schema, one numbered file at a time, each in one transaction."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from pathlib import Path

from runner.errors import StoreError

APPLICATION_ID = 0x52554E52  # "RUNR", so that a stranger's database is never taken for ours


def migrations() -> list[tuple[int, str]]:
    """The numbered files of the package, oldest first."""
    folder = files("runner.store") / "migrations"
    found = [item for item in folder.iterdir() if item.name.endswith(".sql")]
    return sorted((int(item.name.split("_")[0]), item.read_text("utf-8")) for item in found)


def migrate(connection: sqlite3.Connection, database: Path) -> None:
    """Apply what is missing. A copy is made before an existing database is changed.

    Raises:
        StoreError: the database is a stranger's, or of a newer release.
    """
    steps = migrations()
    version = check(connection, database)
    todo = [(number, text) for number, text in steps if number > version]
    if not todo:
        return
    if version:
        copy = database.with_name(f"{database.stem}.before-{todo[0][0]:04d}.db")
        copy.unlink(missing_ok=True)
        connection.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
    for number, text in todo:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{text}\nPRAGMA application_id = {APPLICATION_ID};\n"
            f"PRAGMA user_version = {number};\nCOMMIT;"
        )


def check(connection: sqlite3.Connection, database: Path) -> int:
    """Return the schema version of the database (0: empty).

    Raises:
        StoreError: the database is a stranger's, or of a newer release.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if owner != APPLICATION_ID and (version or tables or owner):
        raise StoreError(f"{database} belongs to another program. Use another --state folder")
    newest = migrations()[-1][0]
    if version > newest:
        raise StoreError(
            f"{database} was written by a newer release (schema {version}, this one knows {newest}). "
            "Install that release or a later one"
        )
    return version
