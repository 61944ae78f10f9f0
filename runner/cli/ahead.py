"""`plan`: what a run would do, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.text import Text

from runner.cli.general import General
from runner.cli.session import Session
from runner.cli.words import count, plain, shell, typed
from runner.job import State
from runner.manifest import load
from runner.planning import Plan
from runner.planning import plan as planned
from runner.store.folder import StateFolder
from runner.store.reader import reading

_PROMPT = 100


def plan(general: General, manifests: Sequence[Path], max_jobs: int | None = None) -> None:
    """Print what running these manifests would do.

    Raises:
        ManifestError: one of them has mistakes.
    """
    session = Session(general)
    out, settings = session.out, session.settings
    for path in manifests:
        manifest = load(path, now=session.clock.now(), cap=max_jobs)
        with reading(StateFolder(settings.state)) as reader:
            found = planned(manifest, settings.providers(), reader)
        if out.json:
            out.record({"type": "plan", "manifest": str(path), **found.as_json()})
            continue
        for warning in found.warnings:
            out.note(plain(str(warning)), style="yellow")
        out.say(*_shown(session, found))
    first, *rest = typed(session.command(f"run {' '.join(map(shell, manifests))}"), 9, out.width)
    out.say("Nothing has been sent.", f"Next     {first.strip()}", *rest)


def _shown(session: Session, found: Plan) -> Iterable[Text]:
    yield Text(f"Batch {plain(found.batch)}", style="bold")
    yield Text(f"  {_jobs(found)}")
    yield Text(f"  provider  {found.provider} at {plain(found.host)}")
    yield Text(f"  model     {plain(found.model)}")
    if found.media_hosts:
        yield Text(f"  files     also from {', '.join(map(plain, found.media_hosts))}")
    yield Text(f"  price     {_price(found)}")
    if found.budget:
        yield Text(f"  budget    {found.budget}")
    yield Text(f"  outputs   {plain(str(session.state / 'outputs'))}")
    for spec in found.samples:
        yield Text.assemble((f"  {plain(spec.id)}", "cyan"), f"  {plain(_path(spec.output))}")
        if spec.prompt:
            yield Text(f"      {plain(spec.prompt.replace(chr(10), ' '), _PROMPT)}", style="dim")
    if found.new > len(found.samples):
        yield Text(f"  … and {found.new - len(found.samples):,} more new", style="dim")


def _path(output: str) -> str:
    """An output path; what kind of file it will be is known only when it is here."""
    return output.removesuffix("${{ ext }}") + "*" if output.endswith("${{ ext }}") else output


def _jobs(found: Plan) -> str:
    parts = [f"{count(found.new, 'new job')} to buy"]
    if found.changed:
        parts.append(f"{found.changed:,} of them changed")
    kept = sum(found.kept.values())
    if kept:
        done = found.kept.get(State.DONE, 0)
        parts.append(f"{kept:,} kept" + (f" ({done:,} done)" if done else ""))
    if found.orphaned:
        parts.append(f"{found.orphaned:,} no longer in the manifest")
    return " · ".join(parts)


def _price(found: Plan) -> str:
    if not found.new:
        return "nothing to pay"
    if found.price is None:
        return (
            f"not known. Write it into providers.yaml: providers: {{{found.provider}: "
            f"{{prices: {{{plain(found.model)}: {{per_second: 0.07}}}}}}}}"
        )
    known = f"{found.price}"
    return (
        known
        if not found.unpriced
        else f"{known}, and {count(found.unpriced, 'job')} without a known price"
    )
