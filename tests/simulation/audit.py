"""What has to be true at every moment, looked at when a request leaves and when it was answered.

- Nothing is bought before its intent is durable, nor more often than the rows allow, nor what left the manifest.
- It is bought from the seller of the manifest, and asked for where it was bought; a key goes to its own seller.
- Nothing is bought once the store has failed, nor after the time to stop.
- The budgets of batch and run are held, and so are the rate, the number in flight and the number of submits.
"""

from __future__ import annotations

import json
from collections import defaultdict

from runner.budget import Money
from runner.simulator.task import Task
from tests.engine.night import KEYS
from tests.simulation.books import Books, Row
from tests.simulation.network import LATEST, Letter, Network, system_of
from tests.simulation.plan import HOST, PRICE, Plan

_FREE = ("refused", "absent")
_LATE = 30.0
"""Seconds after the time to stop in which a submit that was begun before may still leave."""


class Audit(Books):
    """Watches the requests of all lives."""

    def __init__(self, plan: Plan, network: Network) -> None:
        super().__init__(plan, network)
        self._bought: dict[str, list[Task]] = {}
        self._by_life: defaultdict[int, list[Task]] = defaultdict(list)
        self._by_batch: defaultdict[str, list[Task]] = defaultdict(list)
        self._submits: defaultdict[str, list[float]] = defaultdict(list)

    # -- a request leaves ------------------------------------------------------------------------------------------

    def leaving(self, letter: Letter) -> None:
        """A request leaves the machine."""
        self._key(letter)
        if letter.method == "POST":
            self._paying(letter)
            return
        system = system_of(letter.url)
        for part in letter.url.path.split("/"):
            if self.homes.get(part, system) != system and letter.url.raw_host == HOST:
                self.net.wrong(
                    "wrong seller", f"{part} is at {self.homes[part]}; {system} was asked"
                )

    def _key(self, letter: Letter) -> None:
        """A key goes to the seller that it belongs to, and never along with the request for a file."""
        shown = letter.headers.get("Authorization", "")
        url, system = letter.url, system_of(letter.url)
        if shown and (url.raw_host != HOST or not url.path.startswith("/as/")):
            self.net.wrong("key", f"a key went to {url.raw_host}{url.path}")
        for name, key in KEYS.items():
            if key in shown and name != self.plan.providers[system].auth.env:
                self.net.wrong("key", f"{name} went to {system}")

    def _paying(self, letter: Letter) -> None:
        """A paid request leaves."""
        prompt, system = str(json.loads(letter.body)["prompt"]), system_of(letter.url)
        row, terms = self.row(prompt), self.terms[self.net.life]
        assert self.disk is not None
        failed_at = self.disk.heard_at
        if failed_at is not None and self.net.sky.truth > failed_at:
            late = self.net.sky.truth - failed_at
            self.net.wrong(
                "failed store", f"{prompt!r} is sent {late:.3f} s after the store has failed"
            )
        if row.state != "submitting":
            self.net.wrong("bought twice", f"{prompt!r} is sent while it is {row.state}")
        if prompt not in self.wanted:
            self.net.wrong("bought twice", f"{prompt!r} is sent, and the manifest has it no longer")
        if system != self.shops[row.batch].batch.provider:
            self.net.wrong("wrong seller", f"{prompt!r} is sent to {system}")
        if terms.until is None or self.plan.jumps:
            return
        late = self.net.sky.truth - self.begun_at - terms.until
        if late > _LATE:
            self.net.wrong(
                "over a limit", f"{prompt!r} is sent {late:.0f} s after the time to stop"
            )

    # -- a request was answered ------------------------------------------------------------------------------------

    def arrived(self, letter: Letter, before: int) -> None:
        """A request was answered: look at what was bought with it, if anything."""
        if letter.method == "POST" and not letter.copy:
            self._submits[system_of(letter.url)].append(self.net.sky.truth)
        for task in self.net.world.ledger[before:]:
            self._accepted(letter, task)

    def _accepted(self, letter: Letter, task: Task) -> None:
        prompt = str(task.body["prompt"])
        row = self.row(prompt)
        batch = self.shops[row.batch].batch
        bought = self._bought.setdefault(prompt, [])
        bought.append(task)
        self.heard_of(task)
        self._once(prompt, row, task, twice=batch.on_doubt == "resubmit")
        terms, sent, theirs = (
            self.terms[letter.life],
            self._by_life[letter.life],
            self._by_batch[row.batch],
        )
        sent.append(task)
        theirs.append(task)
        self._afforded(row.batch, batch.budget, theirs)
        self._afforded(f"run {letter.life}", terms.budget, sent)
        if terms.limit is not None and len(sent) > terms.limit:
            self.net.wrong(
                "over a limit", f"{len(sent)} jobs were bought in one run, over {terms.limit}"
            )
        self._in_flight(task.system)

    def _once(self, prompt: str, row: Row, task: Task, *, twice: bool) -> None:
        """A job is bought once; `twice`: where its user says so, rather twice than not at all."""
        bought = self._bought[prompt]
        if row.state not in ("submitting", "in_doubt") and not twice:
            self.net.wrong("bought twice", f"{prompt!r} was bought while it was {row.state}")
        attempts = self.ask(
            "SELECT outcome, provider, client_ref FROM attempt WHERE job = ?", row.id
        )
        paid = [attempt for attempt in attempts if attempt[0] not in _FREE]
        allowed = 2 if twice else 1
        if len(bought) > min(allowed, len(paid)):
            self.net.wrong(
                "bought twice",
                f"{prompt!r} was bought {len(bought)} times; {len(paid)} attempts are in the rows,"
                f" and {allowed} may be",
            )
        if len(bought) > 1:
            self.net.counts["people: bought again, as on_doubt says"] += 1
        if not any(provider == task.system for _, provider, _ in paid):
            self.net.wrong(
                "wrong seller", f"{prompt!r} was bought from {task.system}, which no attempt names"
            )
        if task.external_id is not None and task.external_id not in {ref for *_, ref in paid}:
            self.net.wrong(
                "bought twice",
                f"{prompt!r} was bought as {task.external_id}, which no attempt names",
            )

    def _afforded(self, whose: str, budget: Money | None, tasks: list[Task]) -> None:
        now = self.net.sky.truth
        spent = sum(task.billed(now) for task in tasks)
        if budget is not None and PRICE * spent * 1_000_000 > budget.micros:
            self.net.wrong("over budget", f"{spent} jobs of {whose} were bought over {budget}")

    def _in_flight(self, system: str) -> None:
        limit = self.plan.providers[system].limits.in_flight
        if limit is None:
            return
        now = self.net.sky.truth
        running = [one for one in self.net.world.ledger.of(system) if not one.final(now)]
        counted = len(running) > limit and sum(self._counts(one) for one in running)
        if counted > limit:
            self.net.wrong(
                "over a limit", f"{counted} jobs are in flight at {system}, and {limit} may be"
            )

    def _counts(self, task: Task) -> bool:
        """Whether the program knows that a task is in flight; not so what is held, stuck or was sent again."""
        row = self.row(str(task.body["prompt"]))
        if row.due_at is None or row.state not in ("submitting", "running"):
            return False
        return not (self.lost(row.id) or self.was_stuck(row.id))

    def rates(self) -> None:
        """The night is over: no span of a window saw more submits than the rate allows.

        What a process that was killed had sent is known by its intent, a little before it arrived. A calendar that
        jumps makes windows of its own.
        """
        for name, times in self._submits.items():
            rate = self.plan.providers[name].limits.submits
            if rate is None or self.plan.jumps:
                continue
            span = rate.window - LATEST - 0.5
            for first, last in zip(times, times[rate.count :], strict=False):
                if last - first < span:
                    self.net.wrong(
                        "over a limit",
                        f"{rate.count + 1} submits to {name} in {last - first:.3f} s",
                    )
