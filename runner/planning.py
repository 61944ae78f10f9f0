"""What a run would do, and whether it may: a manifest's jobs against models, prices and what is stored already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from runner.budget import Bill, Money
from runner.errors import ManifestError, Problem, UsageError
from runner.job import Spec, State
from runner.manifest import Draft, Manifest, expand
from runner.providers import Provider, check, price
from runner.store.reader import Reader

SHOWN_PROBLEMS = 200
PAGE = 500
SAMPLES = 3


class Checker:
    """Lets a manifest's jobs through one by one, and refuses them all at the end if one of them has a mistake."""

    def __init__(
        self, manifest: Manifest, providers: Mapping[str, Provider], budget: Money | None = None
    ) -> None:
        self.manifest = manifest
        self.provider = _provider(manifest, providers)
        self.warnings: list[Problem] = list(manifest.warnings)
        self.cost: dict[str, Money] = {}
        self._budgets = [money for money in (manifest.budget, budget) if money]
        self._errors: dict[tuple[int, int, str], Problem] = {}
        self._warned: set[tuple[int, int, str]] = set()

    def specs(self) -> Iterator[Spec]:
        """Every job of the manifest, in order.

        Raises:
            ManifestError: after the last job, if any had a mistake: all of them at once.
        """
        for draft in expand(self.manifest, warn=self.warnings.append):
            self._check(draft)
            if len(self._errors) >= SHOWN_PROBLEMS:
                break
            yield draft.spec
        if self._errors:
            raise ManifestError(list(self._errors.values()))

    def price(self, spec: Spec) -> Money | None:
        """What one job costs at the manifest's provider; None where no price is known."""
        return price(self.provider, spec.model, spec.params)

    def _check(self, draft: Draft) -> None:
        spec = draft.spec
        for finding in check(self.provider, spec.model, spec.params):
            self._note(draft, finding.path, finding.message, warning=finding.warning)
        if not self._budgets:
            return
        cost = self.price(spec)
        if cost is None:
            self._note(draft, ("duration",), self._unpriced(spec), warning=False)
            return
        for money in self._budgets:
            if money.currency != cost.currency:
                text = f"the budget is in {money.currency} and {self.provider.name} is paid in {cost.currency}"
                self._note(draft, (), f"{text}. Write the budget in {cost.currency}", warning=False)

    def _unpriced(self, spec: Spec) -> str:
        return (
            f"a budget is set, but no price is known for {spec.model} at {self.provider.name}. Write it in "
            f"providers.yaml: providers: {{{self.provider.name}: {{prices: {{{spec.model}: {{per_second: 0.07}}}}}}}}"
        )

    def _note(self, draft: Draft, path: tuple[Any, ...], message: str, *, warning: bool) -> None:
        file, line, column = draft.where.locate(*path)
        place = (line, column, message)
        if warning:
            if place not in self._warned:
                self._warned.add(place)
                self.warnings.append(Problem(file, line, column, message, warning=True))
        else:
            self._errors.setdefault(place, Problem(file, line, column, message))


def _provider(manifest: Manifest, providers: Mapping[str, Provider]) -> Provider:
    provider = providers.get(manifest.provider)
    if provider is None:
        raise UsageError(
            f"{manifest.path}: no provider is called {manifest.provider}. Known: {', '.join(sorted(providers))}. "
            "Declare others in providers.yaml"
        )
    if not provider.base_url:
        raise UsageError(
            f"{provider.name} has no address: every seller has its own. Write it in providers.yaml: "
            f"providers: {{{provider.name}: {{base_url: https://api.example.com}}}}"
        )
    return provider


@dataclass(frozen=True, slots=True)
class Plan:
    """What `runner run` would do with a manifest. `changed` are new jobs under an id known with other content."""

    batch: str
    provider: str
    model: str
    host: str
    media_hosts: tuple[str, ...]
    new: int
    changed: int
    kept: Mapping[State, int]
    orphaned: int
    price: Money | None
    unpriced: int
    budget: Money | None
    samples: tuple[Spec, ...]
    warnings: tuple[Problem, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, for `--json`."""
        return {
            "batch": self.batch,
            "provider": self.provider,
            "model": self.model,
            "hosts": [self.host, *self.media_hosts],
            "new": self.new,
            "changed": self.changed,
            "kept": {state.value: count for state, count in self.kept.items()},
            "orphaned": self.orphaned,
            "price": str(self.price) if self.price else None,
            "jobs_without_price": self.unpriced,
            "budget": str(self.budget) if self.budget else None,
            "samples": [
                {"id": spec.id, "prompt": spec.prompt, "output": spec.output}
                for spec in self.samples
            ],
            "warnings": [str(problem) for problem in self.warnings],
        }


def plan(manifest: Manifest, providers: Mapping[str, Provider], reader: Reader | None) -> Plan:
    """Look at a manifest without sending or storing anything.

    Raises:
        ManifestError: it has mistakes.
    """
    checker = Checker(manifest, providers)
    names, all_known = _stored(manifest, reader)
    kept: Counter[State] = Counter()
    bill = Bill()
    changed = 0
    samples: list[Spec] = []
    specs = checker.specs()
    while page := list(islice(specs, PAGE)):
        known = reader.known([spec.key for spec in page]) if reader else {}
        kept.update(known.values())
        for spec in (spec for spec in page if spec.key not in known):
            bill.add(checker.price(spec))
            changed += spec.id in names
            if len(samples) < SAMPLES:
                samples.append(spec)
    return Plan(
        batch=manifest.name,
        provider=checker.provider.name,
        model=manifest.model,
        host=urlsplit(checker.provider.base_url).netloc,
        media_hosts=checker.provider.media_hosts,
        new=bill.count,
        changed=changed,
        kept=dict(kept),
        orphaned=all_known - sum(kept.values()),
        price=bill.total,
        unpriced=bill.unpriced,
        budget=manifest.budget,
        samples=tuple(samples),
        warnings=tuple(checker.warnings),
    )


def _stored(manifest: Manifest, reader: Reader | None) -> tuple[set[str], int]:
    """The ids that a batch has, and how many jobs."""
    if reader is None:
        return set(), 0
    for batch in reader.batches():
        if batch.name == manifest.name:
            names = reader.names(batch.number)
            return names, reader.size(batch.number)
    return set(), 0
