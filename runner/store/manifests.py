"""The statements that turn an expanded manifest into rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from runner.budget import Money
from runner.job import Spec
from runner.store.contract import Batch
from runner.store.rows import millis, seconds
from runner.wire import dump_json, parse_json


def begin(connection: sqlite3.Connection, batch: Batch, now: float) -> tuple[int, int]:
    """Start to take stock of a batch; returns its number and the number of the last spec before it.

    An empty digest says that a manifest is being stored; only `finish` puts one in.
    """
    connection.execute(
        "INSERT INTO batch (name, manifest, provider, on_doubt, created_at, updated_at)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (name) DO UPDATE SET digest = ''",
        (batch.name, batch.manifest, batch.provider, batch.on_doubt, millis(now)),
    )
    connection.execute("DROP TABLE IF EXISTS temp.seen")
    connection.execute("CREATE TEMP TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
    (number,) = connection.execute("SELECT id FROM batch WHERE name = ?", (batch.name,)).fetchone()
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM spec").fetchone()
    return int(number), int(last)


def undo(connection: sqlite3.Connection, batch: Batch, last: int, digest: str) -> None:
    """Forget the jobs that were stored since `begin`: the manifest turned out to be wrong."""
    connection.execute("DELETE FROM job WHERE id > ?", (last,))
    connection.execute("DELETE FROM spec WHERE id > ?", (last,))
    connection.execute("UPDATE batch SET digest = ? WHERE id = ?", (digest, batch.number))
    connection.execute(
        "DELETE FROM batch WHERE id = ? AND NOT EXISTS (SELECT 1 FROM job WHERE batch = ?1)",
        (batch.number,),
    )


def put(connection: sqlite3.Connection, batch: Batch, specs: Sequence[Spec], now: float) -> int:
    """Store a slice; says how many of them are new."""
    keys = [(bytes.fromhex(spec.key),) for spec in specs]
    connection.executemany("INSERT OR IGNORE INTO temp.seen VALUES (?)", keys)
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM spec").fetchone()
    connection.executemany(
        "INSERT INTO spec (key, batch, name, position, repeat, model, params, output)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
        [
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
            for (key,), spec in zip(keys, specs, strict=True)
        ],
    )
    return connection.execute(
        "INSERT INTO job (id, batch, provider, state, due_at, changed_at)"
        " SELECT id, batch, ?, 'queued', 0, ? FROM spec WHERE id > ?",
        (batch.provider, millis(now), last),
    ).rowcount


def finish(connection: sqlite3.Connection, batch: Batch, now: float) -> int:
    """Mark what left the manifest and what came back, give queued jobs their provider; says how many left."""
    connection.execute(
        "UPDATE job SET orphan = 1 WHERE batch = ? AND orphan = 0 AND id IN"
        " (SELECT id FROM spec WHERE batch = ?1 AND key NOT IN (SELECT key FROM temp.seen))",
        (batch.number,),
    )
    connection.execute(
        "UPDATE job SET orphan = 0 WHERE batch = ? AND orphan = 1 AND id IN"
        " (SELECT id FROM spec WHERE batch = ?1 AND key IN (SELECT key FROM temp.seen))",
        (batch.number,),
    )
    connection.execute("DROP TABLE temp.seen")
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


def total(connection: sqlite3.Connection, batch: Batch) -> int:
    """All jobs of a batch, orphaned ones too."""
    return int(
        connection.execute("SELECT count(*) FROM job WHERE batch = ?", (batch.number,)).fetchone()[
            0
        ]
    )


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
