"""The group commit: few commits for many writes, and no write is half, lost or in another's way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

import pytest

from runner.errors import StoreError, StoreFull
from runner.store import SqliteStore, StateFolder
from tests.conftest import T0


def remember(name: str, size: int = 1) -> Callable[[sqlite3.Connection], int]:
    """A write that leaves a row, of so many bytes."""
    return lambda c: (
        c.execute("INSERT INTO provider (name, detail) VALUES (?, ?)", (name, "x" * size)).rowcount
    )


async def names(store: SqliteStore) -> set[str]:
    """The rows that such writes left."""
    rows = await store._flusher.write(lambda c: c.execute("SELECT name FROM provider").fetchall())
    return {name for (name,) in rows}


async def test_many_writes_are_few_commits(store: SqliteStore) -> None:
    """What comes in during a commit shares the next one: a hundred writers wait for a handful of disk flushes."""
    statements: list[str] = []
    await store._flusher.alone(lambda c: c.set_trace_callback(statements.append))
    await asyncio.gather(*(store._flusher.write(remember(f"p{n}")) for n in range(200)))
    await store._flusher.alone(lambda c: c.set_trace_callback(None))
    assert 1 <= statements.count("COMMIT") <= 3
    assert len(await names(store)) == 200


async def test_writes_happen_in_the_order_they_were_asked_for(store: SqliteStore) -> None:
    """A later write sees the earlier one, also within one transaction."""
    seen = await asyncio.gather(
        *(
            store._flusher.write(lambda c: len(c.execute("SELECT 1 FROM run").fetchall()))
            if n % 2
            else store.begin_run(T0)
            for n in range(20)
        )
    )
    assert seen[1::2] == list(range(1, 11))


@pytest.mark.parametrize(
    "error", [RuntimeError("mine"), KeyError("mine"), sqlite3.IntegrityError("mine")]
)
async def test_a_write_that_raises_fails_alone(store: SqliteStore, error: Exception) -> None:
    """The others in its transaction are durable, what it did itself is undone, and the store goes on."""

    def torn(connection: sqlite3.Connection) -> None:
        remember("torn")(connection)
        raise error

    write = store._flusher.write
    outcomes = await asyncio.gather(
        write(remember("a")),
        write(torn),
        write(remember("b")),
        write(remember("a")),
        return_exceptions=True,
    )
    assert (outcomes[0], outcomes[1], outcomes[2]) == (1, error, 1)
    assert isinstance(outcomes[3], sqlite3.IntegrityError)
    assert await names(store) == {"a", "b"}


async def fill(store: SqliteStore) -> BaseException:
    """Write until nothing fits any more; returns what the writer was told."""
    await store._flusher.alone(
        lambda c: c.execute(
            f"PRAGMA max_page_count = {c.execute('PRAGMA page_count').fetchone()[0] + 4}"
        ).fetchone()
    )
    with pytest.raises(StoreFull, match="Free some space") as told:
        await asyncio.gather(*(store._flusher.write(remember(f"f{n}", 4000)) for n in range(100)))
    return told.value


async def test_a_full_disk_stops_everything(folder: StateFolder) -> None:
    """After a failed write nothing is taken any more, even when there is room again; reopened, all is there."""
    async with SqliteStore(folder, T0) as store:
        await store._flusher.write(remember("before"))
        told = await fill(store)
        await store._flusher.alone(
            lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone()
        )
        for _ in range(3):
            with pytest.raises(StoreFull) as again:
                await store.begin_run(T0)
            assert again.value is told
    async with SqliteStore(folder, T0) as store:
        assert "before" in await names(store)
        await store._flusher.write(remember("after"))


async def test_everybody_in_a_transaction_that_failed_is_told(store: SqliteStore) -> None:
    """Of those that shared a failed commit nobody believes that it was written."""
    await store._flusher.alone(
        lambda c: c.execute(
            f"PRAGMA max_page_count = {c.execute('PRAGMA page_count').fetchone()[0] + 2}"
        ).fetchone()
    )
    outcomes = await asyncio.gather(
        *(store._flusher.write(remember(f"p{n}", 2000)) for n in range(50)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {StoreFull}


async def test_closing_commits_what_is_pending(folder: StateFolder) -> None:
    """Writes that were asked for before the end are durable after it."""
    async with SqliteStore(folder, T0) as store:
        tasks = [asyncio.create_task(store._flusher.write(remember(f"p{n}"))) for n in range(20)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*tasks) == [1] * 20
    async with SqliteStore(folder, T0) as store:
        assert len(await names(store)) == 20


async def test_a_write_after_the_end_is_refused(folder: StateFolder) -> None:
    """Who comes too late is told so, and doesn't wait for ever."""
    async with SqliteStore(folder, T0) as store:
        pass
    async with asyncio.timeout(5):
        with pytest.raises(StoreError, match="closed"):
            await store.begin_run(T0)


async def test_a_cancelled_caller_does_not_cancel_the_write(store: SqliteStore) -> None:
    """Once handed over, a write happens whether or not its caller still waits."""
    task = asyncio.create_task(store._flusher.write(remember("given")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await names(store) == {"given"}


async def test_the_connection_is_as_safe_as_promised(store: SqliteStore) -> None:
    """A commit is on the disk when it returns: WAL with FULL, or a power cut would lose receipts."""
    pragmas = ("journal_mode", "synchronous", "application_id")
    found = await store._flusher.alone(
        lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    )
    assert found == ["wal", 2, 0x52554E52]
