"""The statements that turn an expanded manifest into rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from runner.budget import Money
from runner.job import Spec
from runner.store.contract import Batch
from runner.store.rows import millis, seconds
from runner.wire import dump_json, parse_json

_KEYS = 500  # looked up by one statement


@dataclass(slots=True)
class Stock:
    """A batch whose jobs are being taken stock of.

    `last` is the last spec of the database before it. `seen` has a byte for each up to there, 1 once the manifest names
    it: a million known jobs take a megabyte. What is new needs no mark.
    """

    batch: int
    last: int
    seen: bytearray
    empty: bool

    @property
    def kept(self) -> int:
        """How many known jobs the manifest names."""
        return self.seen.count(1)


def begin(connection: sqlite3.Connection, batch: Batch, now: float) -> Stock:
    """Start to take stock of a batch.

    An empty digest says that a manifest is being stored; only `finish` puts one in.
    """
    connection.execute(
        "INSERT INTO batch (name, manifest, provider, on_doubt, created_at, updated_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (name) DO UPDATE SET digest = ''",
        (batch.name, batch.manifest, batch.provider, batch.on_doubt, millis(now)),
    )
    (number,) = connection.execute("SELECT id FROM batch WHERE name = ?", (batch.name,)).fetchone()
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM spec").fetchone()
    some = connection.execute("SELECT 1 FROM spec WHERE batch = ? LIMIT 1", (number,)).fetchone()
    return Stock(number, last, bytearray(last + 1), empty=some is None)


def undo(connection: sqlite3.Connection, stock: Stock, digest: str) -> None:
    """Forget the jobs that were stored since `begin`: the manifest turned out to be wrong."""
    connection.execute("DELETE FROM job WHERE id > ?", (stock.last,))
    connection.execute("DELETE FROM spec WHERE id > ?", (stock.last,))
    connection.execute("UPDATE batch SET digest = ? WHERE id = ?", (digest, stock.batch))
    connection.execute(
        "DELETE FROM batch WHERE id = ? AND NOT EXISTS (SELECT 1 FROM job WHERE batch = ?1)",
        (stock.batch,),
    )


def put(
    connection: sqlite3.Connection, batch: Batch, stock: Stock, specs: Sequence[Spec], now: float
) -> int:
    """Store a slice; says how many of them are new."""
    keys = [bytes.fromhex(spec.key) for spec in specs]
    known = {} if stock.empty else _known(connection, keys)
    for number in known.values():
        if number <= stock.last:
            stock.seen[number] = 1
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM spec").fetchone()
    connection.executemany(
        "INSERT INTO spec (key, batch, name, position, repeat, model, params, output)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
        (
            (
                key,
                batch.number,
                spec.id,
                spec.index,
                spec.repeat,
                spec.model,
                dump_json(spec.params),
                spec.output,
            )
            for key, spec in zip(keys, specs, strict=True)
            if key not in known
        ),
    )
    return connection.execute(
        "INSERT INTO job (id, batch, provider, state, due_at, changed_at)"
        " SELECT id, batch, ?, 'queued', 0, ? FROM spec WHERE id > ?",
        (batch.provider, millis(now), last),
    ).rowcount


def _known(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
    """The specs that are stored, by key."""
    found: dict[bytes, int] = {}
    for start in range(0, len(keys), _KEYS):
        page = keys[start : start + _KEYS]
        marks = ",".join("?" * len(page))
        found.update(
            connection.execute(f"SELECT key, id FROM spec WHERE key IN ({marks})", page).fetchall()
        )
    return found


def finish(connection: sqlite3.Connection, batch: Batch, stock: Stock, now: float) -> int:
    """Mark what left the manifest and what came back, give queued jobs their provider; says how many left."""
    stored = connection.execute(
        "SELECT id, orphan FROM job WHERE batch = ? AND id <= ?", (batch.number, stock.last)
    )
    changed = [(orphan ^ 1, number) for number, orphan in stored if stock.seen[number] == orphan]
    connection.executemany("UPDATE job SET orphan = ? WHERE id = ?", changed)
    connection.execute(
        "UPDATE job SET provider = ? WHERE batch = ? AND state = 'queued' AND provider <> ?1",
        (batch.provider, batch.number),
    )
    budget = batch.budget
    connection.execute(
        "UPDATE batch SET manifest = ?, digest = ?, provider = ?, on_doubt = ?, timeout_ms = ?, limits = ?,"
        " budget_micros = ?, currency = coalesce(?, currency), updated_at = ? WHERE id = ?",
        (
            batch.manifest,
            batch.digest,
            batch.provider,
            batch.on_doubt,
            millis(batch.timeout),
            dump_json(dict(batch.limits or {})),
            budget.micros if budget else None,
            budget.currency if budget else None,
            millis(now),
            batch.number,
        ),
    )
    (orphaned,) = connection.execute(
        "SELECT count(*) FROM job WHERE batch = ? AND orphan = 1", (batch.number,)
    ).fetchone()
    return int(orphaned)


def batches(connection: sqlite3.Connection) -> list[Batch]:
    """Every batch, as it was last run."""
    rows = connection.execute(
        "SELECT id, name, manifest, digest, provider, on_doubt, timeout_ms, limits, budget_micros, currency"
        " FROM batch ORDER BY id"
    ).fetchall()
    return [
        Batch(
            name=name,
            manifest=manifest,
            digest=digest,
            provider=provider,
            on_doubt=on_doubt,
            timeout=seconds(timeout),
            limits=parse_json(limits.encode()),
            budget=None if micros is None else Money(micros, currency),
            number=number,
        )
        for number, name, manifest, digest, provider, on_doubt, timeout, limits, micros, currency in rows
    ]
