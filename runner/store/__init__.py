"""The only memory: jobs, attempts, money and history in SQLite."""

from __future__ import annotations

from runner.store.contract import Added, Batch, Claimed, Intent, ProviderState, Store
from runner.store.folder import StateFolder
from runner.store.sqlite import SqliteStore

__all__ = [
    "Added",
    "Batch",
    "Claimed",
    "Intent",
    "ProviderState",
    "SqliteStore",
    "StateFolder",
    "Store",
]
