"""`verify`: hashes every file again, and has what is gone or damaged fetched once more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from runner.cli.choosing import called, chosen
from runner.cli.general import General
from runner.cli.session import Session
from runner.cli.words import count, plain, typed
from runner.errors import StoreLocked
from runner.store.folder import StateFolder
from runner.store.reader import reading
from runner.verification import Checked, Verdict
from runner.verification import verify as checked

_FAILED = 3


def verify(general: General, names: Sequence[str], *, repair: bool) -> int:
    """Compare files with what was recorded of them; returns the exit code.

    Raises:
        UsageError: there is no such batch.
    """
    session = Session(general)
    folder = StateFolder(session.settings.state)
    counts: Counter[Verdict] = Counter()
    broken: list[Checked] = []
    with reading(folder) as reader:
        if reader is not None:
            numbers = [batch.number for batch in chosen(reader, names)]
            for each in checked(reader, folder.outputs, numbers):
                counts[each.verdict] += 1
                if each.verdict is not Verdict.WHOLE:
                    broken.append(each)
                    _tell(session, each)
    _sum_up(session, counts)
    if repair and not folder.is_empty():
        _repair(session, broken)
    if not broken:
        return 0
    command = "resume" if repair else "verify --repair"
    if not session.out.quiet:
        first, *rest = typed(session.command(command), 9, session.out.width)
        session.out.say(f"Next     {first.strip()}", *rest)
    return _FAILED


def _tell(session: Session, each: Checked) -> None:
    if session.out.json:
        session.out.record(
            {
                "type": "file",
                "batch": each.job.spec.batch,
                "id": each.job.spec.id,
                "path": each.path,
                "verdict": each.verdict.value,
            }
        )
    style = "yellow" if each.verdict is Verdict.MISSING else "red"
    session.out.say(f"{each.verdict:<8} {plain(each.path)}  {called(each.job)}", style=style)


def _sum_up(session: Session, counts: Counter[Verdict]) -> None:
    if session.out.json:
        session.out.record({"type": "verified", **{each.value: counts[each] for each in Verdict}})
    if session.out.quiet:
        return
    parts = [f"{count(counts[Verdict.WHOLE], 'file')} whole"]
    parts += [
        f"{counts[each]:,} {each}" for each in (Verdict.DAMAGED, Verdict.MISSING) if counts[each]
    ]
    session.out.say(", ".join(parts))


def _repair(session: Session, broken: Sequence[Checked]) -> None:
    """Send the jobs of these files back to be fetched, and remove what broken downloads left for nobody."""
    from runner.actions import Actions  # noqa: PLC0415 - only a repair needs the network's library

    actions = Actions(session.settings, session.clock)
    for done in asyncio.run(actions.fetch_again(broken)) if broken else ():
        if session.out.json:
            session.out.record(
                {
                    "type": "decision",
                    "batch": done.job.spec.batch,
                    "id": done.job.spec.id,
                    "state": done.state.value,
                    "changed": done.changed,
                    "note": done.note,
                }
            )
        if not done.changed or not session.out.quiet:
            session.out.say(f"{called(done.job)}: {plain(done.note)}")
    try:
        swept = asyncio.run(actions.sweep())
    except StoreLocked:  # a run that is at work needs its own
        return
    if swept and not session.out.quiet:
        session.out.say(f"{count(swept, 'partial file')} removed")
