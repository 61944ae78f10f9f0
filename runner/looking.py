"""Looking at batches without touching them. Imports neither the network nor the manifest, so that it starts fast."""

from __future__ import annotations

from collections.abc import Sequence

from runner.report import Report, report
from runner.settings import Settings
from runner.store.folder import StateFolder
from runner.store.reader import reading


def look_at(settings: Settings, names: Sequence[str] = (), now: float | None = None) -> Report:
    """Look at batches by name, or at all of them, also while another runner works on them.

    With `now` (Unix seconds) what nobody looks after any more is found, too; right after a run there is no such thing.

    Raises:
        StoreError: the state folder can't be read.
    """
    with reading(StateFolder(settings.state)) as reader:
        return Report() if reader is None else report(reader, names, now)
