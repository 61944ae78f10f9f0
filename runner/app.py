"""Puts the parts together: a manifest is planned, stored and run; a state folder is resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from runner.budget import Money
from runner.clock import Clock
from runner.engine import Ending, Engine, Options, Stopped
from runner.engine.board import Observer
from runner.errors import UsageError
from runner.files import Files
from runner.http import Http
from runner.job import Spec
from runner.looking import look_at
from runner.manifest import Manifest, load
from runner.planning import Checker
from runner.providers import Provider
from runner.report import Report
from runner.settings import Settings
from runner.steps import Edges
from runner.store import Added, Batch, SqliteStore, StateFolder
from runner.store.reader import reading

SLICE = 5_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run led to."""

    report: Report
    ending: Ending
    added: tuple[Added, ...] = ()

    @property
    def exit_code(self) -> int:
        """The worst that happened: disk, provider, person, budget, failure, time."""
        ending, rest = self.ending, self.report.exit_code()
        if ending.stopped is Stopped.DISK:
            return 9
        if ending.held:
            return 6
        if rest == 4:
            return rest
        if ending.over_budget:
            return 5
        if rest == 0 and ending.stopped is Stopped.TIME:
            return 8
        return rest


Started = Callable[[Engine, Sequence[Batch]], None]


class App:
    """Builds everything once and offers it. Nothing here reads the clock or the environment by itself."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or Clock()
        self.folder = StateFolder(settings.state)

    async def run(
        self,
        paths: Sequence[Path],
        options: Options,
        *,
        budget: Money | None = None,
        max_jobs: int | None = None,
        observer: Observer = lambda _job, _event: None,
        started: Started = lambda _engine, _batches: None,
        warned: Callable[[str], None] = lambda _text: None,
    ) -> Outcome:
        """Store what is new in these manifests, then work on them until nothing is left.

        Raises:
            ManifestError: a manifest has mistakes; nothing was sent.
            KeyMissing: a provider has no key; nothing was sent.
            StoreError: the state folder can't be used, or failed.
        """
        providers = self.settings.providers()
        manifests = [load(path, now=self.clock.now(), cap=max_jobs) for path in paths]
        _distinct(manifests)
        checkers = [Checker(manifest, providers, budget) for manifest in manifests]
        async with self._store() as store:
            batches, added = [], []
            for manifest, checker in zip(manifests, checkers, strict=True):
                if checker.provider.auth.needs_key:
                    self.settings.keys.find(checker.provider.auth)
                stored, counts = await store.add(
                    _batch(manifest), _slices(checker.specs()), self.clock.now()
                )
                batches.append(stored)
                added.append(counts)
                for warning in checker.warnings:
                    warned(str(warning))
            ending = await self._work(store, providers, batches, options, budget, observer, started)
        return Outcome(
            look_at(self.settings, [batch.name for batch in batches]), ending, tuple(added)
        )

    async def resume(
        self,
        options: Options,
        *,
        budget: Money | None = None,
        observer: Observer = lambda _job, _event: None,
        started: Started = lambda _engine, _batches: None,
    ) -> Outcome:
        """Continue every batch of the state folder that is not finished.

        Raises:
            UsageError: a batch was not stored whole.
        """
        providers = self.settings.providers()
        with reading(self.folder) as reader:
            if reader is None:
                raise UsageError(
                    f"{self.folder.root} holds no jobs yet. Begin with: runner run MANIFEST"
                )
        async with self._store() as store:
            batches = await _unfinished(store)
            ending = await self._work(store, providers, batches, options, budget, observer, started)
        return Outcome(look_at(self.settings, [batch.name for batch in batches] or ["\0"]), ending)

    def _store(self) -> SqliteStore:
        return SqliteStore(self.folder, self.clock.now())

    async def _work(
        self,
        store: SqliteStore,
        providers: dict[str, Provider],
        batches: Sequence[Batch],
        options: Options,
        budget: Money | None,
        observer: Observer,
        started: Started,
    ) -> Ending:
        run = await store.begin_run(self.clock.now(), budget)
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(Http(self.settings.keys, self.clock))
            edges = Edges(http, Files(self.folder.outputs, self.clock), self.clock)
            engine = Engine(
                store, edges, providers, batches, options=options, run=run, observer=observer
            )
            started(engine, batches)
            ending = await engine.run()
        await store.end_run(
            run, self.clock.now(), 0 if ending.stopped is Stopped.NOTHING_LEFT else 1
        )
        return ending


async def _unfinished(store: SqliteStore) -> list[Batch]:
    chosen = await store.unfinished()
    torn = [batch for batch in chosen if not batch.digest]
    if torn:
        raise UsageError(
            f"{torn[0].name} was not stored whole: its manifest was interrupted or has mistakes. "
            f"Type: runner run {torn[0].manifest}"
        )
    return chosen


def _batch(manifest: Manifest) -> Batch:
    limits = manifest.limits
    written = {
        "submits": str(limits.submits) if limits.submits else None,
        "requests": str(limits.requests) if limits.requests else None,
        "in_flight": limits.in_flight,
    }
    return Batch(
        name=manifest.name,
        manifest=str(manifest.path),
        digest=manifest.digest,
        provider=manifest.provider,
        on_doubt=manifest.on_doubt,
        timeout=manifest.timeout,
        limits={name: value for name, value in written.items() if value is not None},
        budget=manifest.budget,
    )


def _distinct(manifests: Sequence[Manifest]) -> None:
    seen: dict[str, Manifest] = {}
    for manifest in manifests:
        other = seen.setdefault(manifest.name, manifest)
        if other is not manifest:
            raise UsageError(
                f"{other.path} and {manifest.path} both make the batch {manifest.name}. "
                "Give one of them another name:"
            )


def _slices(specs: Iterable[Spec]) -> Iterator[list[Spec]]:
    iterator = iter(specs)
    while part := list(islice(iterator, SLICE)):
        yield part
