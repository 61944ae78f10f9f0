"""A whole night: lives of the program one after the other until everything has ended, and the verdict."""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from runner.causes import Cause
from runner.engine import Ending, Stopped
from runner.job import Spec
from runner.simulator.task import FOREVER
from tests.simulation.audit import Audit
from tests.simulation.life import Life, quiet_graves
from tests.simulation.loop import Killed, watched_threads
from tests.simulation.network import Network, Wrong
from tests.simulation.plan import SELLERS, Plan, Shop, Terms, make_spec, money
from tests.simulation.sky import DAWN, Sky, Trace

BOUND = 8 * 3600.0
"""Seconds after the last fault within which everything has to end."""
LIVES = 200  # somebody who types --limit 1 each time needs many
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Result:
    """What a night was like. `problem` is empty where every promise was kept."""

    seed: int
    problem: str
    digest: str
    seconds: float
    hours: float
    lives: int
    accepted: int
    states: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


class Night:
    """One seed."""

    def __init__(self, plan: Plan, *, verbose: bool = False) -> None:
        self.plan = plan
        self.sky = Sky()
        self.trace = Trace(self.sky, verbose=verbose)
        self.net = Network(plan, self.sky, self.trace, self._wrong)
        self.audit = Audit(plan, self.net)
        self.net.watch = self.audit
        self._dice = random.Random(f"people {plan.seed}")
        self._shops = list(plan.shops)
        self._specs: dict[str, list[Spec]] = {}
        self._dropped: dict[str, list[Spec]] = {}
        self._lives: list[Life] = []
        self._states: Counter[str] = Counter()
        self._problem = ""
        for shop in plan.shops:
            jobs = plan.jobs // len(plan.shops)
            name = shop.batch.name
            self._specs[name] = [make_spec(shop.model, name, index) for index in range(jobs)]
            self._dropped[name] = []

    def run(self) -> Result:
        """Live through it."""
        begun = time.perf_counter()
        random.seed(self.plan.seed)  # the jitter of retries
        with quiet_graves(), self._listening():
            lives = self._run()
        return Result(
            self.plan.seed, self._problem, self.trace.digest, time.perf_counter() - begun,
            (self.sky.truth - DAWN) / 3600, lives, len(self.net.world.ledger),
            self._states, self.net.counts,
        )  # fmt: skip

    def _run(self) -> int:
        memory = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
        root = Path(tempfile.mkdtemp(prefix="night-", dir=memory))
        try:
            with watched_threads():
                self._live(root)
        except Killed:
            assert self._problem
        finally:
            self.audit.look_away()
            self.sky.end_life()
            for life in self._lives:
                life.bury()
            shutil.rmtree(root, ignore_errors=True)
        lives = len(self._lives)
        self._lives.clear()
        return lives

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """While this is open, a failure that the program only logs is one that nobody has thought of."""
        log, handler = logging.getLogger("runner"), _Ear(self._wrong)
        log.addHandler(handler)
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.propagate = True

    def _live(self, root: Path) -> None:
        """Start the program again and again, as a person or cron would, until nothing is left to do."""
        kills, shakes = list(self.plan.kills), list(self.plan.shakes)
        terms, quiet = list(self.plan.terms), 0
        end: Ending | str = ""
        for number in range(LIVES):
            life = self._begin(root / f"{number}")
            if self.net.calm:
                quiet += 1
                self.sky.skew = 0.0
            faults = quiet == 0
            end = life.live(
                self._shops,
                self._specs,
                terms.pop() if terms and faults else Terms(),
                shakes if faults else [],
                kills.pop() if kills and faults else None,
                max(0.0, self.plan.calm_at - (self.sky.truth - DAWN)) + BOUND,
            )
            done = self._done(end)
            # All is done, and nobody has anything in store: the next one who looks does so when all is well.
            self._end(end, until_calm=done and not (kills or shakes or terms))
            if quiet and (done or (quiet > 3 and self._full(end))):
                break
            if quiet > 3:
                self._wrong("does not end", f"although nothing is wrong: {end}")
        else:
            self._wrong("does not end", f"{LIVES} lives were not enough")
        self.audit.finish(full=self._full(end))
        self.audit.rates()

    def _begin(self, home: Path) -> Life:
        """Start the program on what the one before left."""
        self.net.life = len(self._lives)
        if self._lives:
            self._edit()
            self._lives[-1].leave_to(home)
            self.audit.look_away()
            self._lives[-1].bury()
        self.audit.home = home
        life = Life(home, self.sky, self.net, self.audit, self.trace)
        self._lives.append(life)
        return life

    def _end(self, end: Ending | str, *, until_calm: bool) -> None:
        """Write down how a life ended, look at what it left, and let some time pass."""
        word = end if isinstance(end, str) else end.stopped.value
        held = "" if isinstance(end, str) else " ".join(sorted(end.held))
        self.trace.write(f"-- {word} {held}".rstrip())
        self.net.counts[f"life: {word}"] += 1
        if self._problem:
            raise Killed
        self.audit.everything()
        pause = self._dice.choice([1.0, 20.0, 300.0, 1800.0])
        if held:
            pause = max(pause, 1800.0)  # who was refused waits before trying again
        if until_calm:
            pause = max(pause, self.plan.calm_at - (self.sky.truth - DAWN))
        self.sky.end_life(pause)

    def _done(self, end: Ending | str) -> bool:
        """Whether the night is over: nothing is left that a run could do."""
        if isinstance(end, str) or end.stopped is not Stopped.NOTHING_LEFT or end.held:
            return False
        self._states = self.audit.states()
        return not (self._states["queued"] and not end.over_budget)

    def _full(self, end: Ending | str) -> bool:
        """Whether a provider takes nothing more because jobs that never finish have all of its places."""
        if isinstance(end, str) or not end.held:
            return False
        forever = Counter(task.system for task in self.net.world.ledger if task.end_at == FOREVER)
        places = self.plan.settings.concurrency
        return all(
            cause is Cause.RATE_LIMITED and forever[name] >= places
            for name, cause in end.held.items()
        )

    def _edit(self) -> None:
        """Change the manifests: lines leave and come back and are new; another seller, or more money."""
        self._shops = [self._revised(shop) for shop in self._shops]
        if self._dice.random() < 0.6:
            return
        self.net.counts["people: manifest edited"] += 1
        for shop in self._shops:
            name = shop.batch.name
            here, gone = self._specs[name], self._dropped[name]
            for _ in range(min(self._dice.randrange(4), len(here) - 1)):
                gone.append(here.pop(self._dice.randrange(len(here))))
            for _ in range(self._dice.randrange(4) if gone else 0):
                if gone:
                    here.append(gone.pop(0))
            known = len(here) + len(gone)
            here += [
                make_spec(shop.model, name, known + more) for more in range(self._dice.randrange(3))
            ]

    def _revised(self, shop: Shop) -> Shop:
        """The head of a manifest, now and then changed."""
        batch = shop.batch
        seller = self._dice.choice(SELLERS[shop.model])
        if self._dice.random() < 0.15 and seller != batch.provider:
            self.net.counts["people: provider changed"] += 1
            batch = replace(batch, provider=seller)
        if self._dice.random() < 0.1 and batch.budget is not None:
            self.net.counts["people: budget raised"] += 1
            batch = replace(batch, budget=batch.budget + money(5))
        return replace(shop, batch=batch)

    def _wrong(self, promise: str, text: str) -> NoReturn:
        """A promise was broken: the night ends here."""
        if not self._problem:
            self._problem = f"{promise}: {text}"
            self.trace.write(f"WRONG {self._problem}")
        raise Killed


class _Ear(logging.Handler):
    """Hears what the program logs as an error."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(logging.ERROR)
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        """End the night."""
        why = record.exc_info[1] if record.exc_info else None
        self._wrong("breaks", f"{record.getMessage()}: {why!r}")
