"""What has to be true at every moment, read from the rows and compared with the provider's ledger.

- Nothing is bought before its intent is durable, and never more often than the rows allow.
- Nothing that was accepted is lost: the rows hold its id, or say that the job is in the air or in doubt.
- The budget is held, and so are the rate and the number in flight.
- `done` means that the file is there, whole, with the recorded hash, and that it is the clip of this very job.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from runner.causes import Cause
from runner.simulator import media
from runner.simulator.task import Task
from tests.simulation.network import LATEST, Letter, Network
from tests.simulation.plan import PRICE, Plan, Shop

_FREE = ("refused", "absent")


class Audit:
    """Compares rows, files and ledger.

    `home` is the state folder of the present life, `names` each prompt's batch and job.
    """

    def __init__(self, plan: Plan, network: Network) -> None:
        self.plan = plan
        self.home = Path()
        self.names: dict[str, tuple[str, str]] = {}
        self.verified: set[int] = set()
        self.stats: Counter[str] = Counter()
        self._net = network
        self._shops = {shop.batch.name: shop for shop in plan.shops}
        self._unknown: dict[str, Task] = {}
        self._bought: dict[str, list[Task]] = {}
        self._submits: dict[str, list[float]] = {}
        self._rows: sqlite3.Connection | None = None

    # -- rows ----------------------------------------------------------------------------------------------------

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Read rows as they are durable now."""
        if self._rows is None:
            uri = (self.home / "runner.db").absolute().as_uri()
            self._rows = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None)
        return self._rows.execute(query, values).fetchall()

    def look_away(self) -> None:
        """Close the database."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def _job(self, prompt: str) -> tuple[Any, ...]:
        found = self.ask(
            "SELECT job.id, job.state, job.due_at, batch.name, job.cause FROM spec JOIN job ON job.id = spec.id"
            " JOIN batch ON batch.id = job.batch WHERE batch.name = ? AND spec.name = ?",
            *self.names[prompt],
        )
        if not found:
            self._net.wrong(f"{prompt!r} was bought, and no row knows it")
        row: tuple[Any, ...] = found[0]
        return row

    # -- at every request ------------------------------------------------------------------------------------------

    def arrived(self, letter: Letter, before: int) -> None:
        """A request was answered: look at what was bought with it, if anything."""
        ledger = self._net.world.ledger
        if letter.method == "POST" and not letter.copy:
            self._submits.setdefault(letter.url.path.split("/")[2], []).append(self._net.sky.truth)
        for task in ledger[before:]:
            self._accepted(task)

    def _accepted(self, task: Task) -> None:
        prompt = str(task.body["prompt"])
        job, state, _, batch, _ = self._job(prompt)
        shop = self._shops[batch]
        bought = self._bought.setdefault(prompt, [])
        bought.append(task)
        self._unknown[task.id] = task
        twice = shop.batch.on_doubt == "resubmit"  # the user says: rather twice than not at all
        if state not in ("submitting", "in_doubt") and not twice:
            self._net.wrong(f"{prompt!r} was bought while it was {state}")
        attempts = self.ask("SELECT outcome, provider, client_ref FROM attempt WHERE job = ?", job)
        paid = [row for row in attempts if row[0] not in _FREE]
        allowed = 2 if twice else 1
        if len(bought) > min(allowed, len(paid)):
            self._net.wrong(
                f"{prompt!r} was bought {len(bought)} times; {len(paid)} attempts are in the rows,"
                f" and {allowed} may be"
            )
        if not any(provider == task.system for _, provider, _ in paid):
            self._net.wrong(f"{prompt!r} was bought from {task.system}, which no attempt names")
        if task.external_id is not None and task.external_id not in {ref for *_, ref in paid}:
            self._net.wrong(f"{prompt!r} was bought as {task.external_id}, which no attempt names")
        self._budget(shop)
        self._in_flight(shop, task)

    def _budget(self, shop: Shop) -> None:
        if shop.batch.budget is None:
            return
        now = self._net.sky.truth
        spent = sum(
            task.billed(now)
            for prompt, tasks in self._bought.items()
            for task in tasks
            if prompt.startswith(shop.batch.name)
        )
        if PRICE * spent * 1_000_000 > shop.batch.budget.micros:
            self._net.wrong(
                f"{spent} jobs of {shop.batch.name} were bought over {shop.batch.budget}"
            )

    def _in_flight(self, shop: Shop, task: Task) -> None:
        limit = shop.provider.limits.in_flight
        if limit is None or task.system != shop.provider.name:
            return
        now, world = self._net.sky.truth, self._net.world
        running = [one for one in world.ledger.of(task.system) if not one.final(now)]
        counted = sum(self._counts(one) for one in running)
        if counted > limit:
            self._net.wrong(f"{counted} jobs are in flight at {task.system}, and {limit} may be")

    def _counts(self, task: Task) -> bool:
        """Whether the program knows that a task is in flight; not so what is held, stuck or was sent again."""
        job, state, due_at, _, cause = self._job(str(task.body["prompt"]))
        lost = self.ask("SELECT 1 FROM attempt WHERE job = ? AND outcome = 'lost'", job)
        return (
            due_at is not None
            and not lost
            and cause != "stuck"
            and state in ("submitting", "running")
        )

    def rates(self, jumps: bool) -> None:
        """The night is over: no span of a window saw more submits than the rate allows.

        What a process that was killed had sent is known by its intent, a little before it arrived. A calendar that
        jumps makes windows of its own.
        """
        for shop in self.plan.shops:
            if shop.rate is None or jumps:
                continue
            times = self._submits.get(shop.provider.name, [])
            span = shop.rate.window - LATEST - 0.5
            for first, last in zip(times, times[shop.rate.count :], strict=False):
                if last - first < span:
                    self._net.wrong(
                        f"{shop.rate.count + 1} submits to {shop.provider.name} in {last - first:.3f} s"
                    )

    # -- at every event --------------------------------------------------------------------------------------------

    def recorded(self) -> None:
        """Something was made durable: nothing that was accepted may have fallen out of the rows."""
        for remote_id, task in list(self._unknown.items()):
            known = self.ask(
                "SELECT 1 FROM attempt WHERE remote_id = ? AND provider = ?", remote_id, task.system
            )
            if known:
                del self._unknown[remote_id]
                continue
            prompt = str(task.body["prompt"])
            job, state, _, batch, _ = self._job(prompt)
            if state in ("submitting", "in_doubt"):
                continue
            lost = self.ask("SELECT 1 FROM attempt WHERE job = ? AND outcome = 'lost'", job)
            if not (lost and self._shops[batch].batch.on_doubt == "resubmit"):
                self._net.wrong(
                    f"{prompt!r} was accepted as {remote_id}; its job is {state} and knows nothing of it"
                )

    def saved(self, job: int) -> None:
        """A job is done: its file is there, and it is the clip that was made for it."""
        if job in self.verified:
            return
        rows = self.ask(
            "SELECT artifact.path, artifact.sha256, job.provider, attempt.remote_id, spec.params FROM artifact"
            " JOIN job ON job.id = artifact.job JOIN spec ON spec.id = job.id"
            " JOIN attempt ON attempt.job = job.id AND attempt.number = job.attempt WHERE job.id = ?",
            job,
        )
        if not rows:
            self._net.wrong(f"job {job} is done without a file")
        for path, sha256, provider, remote_id, params in rows:
            task = self._net.world.ledger.find(provider, remote_id)
            if task is None or str(task.body["prompt"]) not in params:
                self._net.wrong(f"job {job} is done with {remote_id}, which is another job's")
            file = self.home / "outputs" / str(path)
            found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
            if found != sha256:
                self._net.wrong(f"job {job} is done with {sha256}; {path} is {found}")
            if found != hashlib.sha256(media._content(task, "x.mp4")[0]).hexdigest():
                self._net.wrong(f"{path} is not the clip that was made for job {job}")
        self.verified.add(job)

    # -- between two lives -----------------------------------------------------------------------------------------

    def everything(self) -> None:
        """A process is gone, in whatever way: its rows alone have to tell the whole truth."""
        self.recorded()
        for (job,) in self.ask("SELECT id FROM job WHERE state = 'done'"):
            self.saved(job)
        for name, spent, reserved in self.ask(
            "SELECT batch.name, batch.spent_micros, (SELECT coalesce(sum(price_micros), 0) FROM attempt"
            " JOIN job ON job.id = attempt.job WHERE job.batch = batch.id AND billed IS NOT 0) FROM batch"
        ):
            if spent != reserved:
                self._net.wrong(
                    f"{name} says that {spent} are spent, and its attempts say {reserved}"
                )

    def states(self) -> Counter[str]:
        """How many jobs are where; those that left the manifest unsent are left out."""
        return Counter(
            dict(
                self.ask(
                    "SELECT state, count(*) FROM job WHERE orphan = 0 OR state <> 'queued' GROUP BY state"
                )
            )
        )

    def finish(self, *, jumps: bool, full: bool) -> None:
        """The night is over, and nothing goes wrong any more: see that all has ended, each job for a reason.

        `full`: a provider has no place left, so jobs may still be queued.
        """
        self.verified.clear()
        self.everything()
        self.rates(jumps)
        rows = self.ask(
            "SELECT job.id, job.state, job.due_at, job.cause, job.detail, batch.name FROM job"
            " JOIN batch ON batch.id = job.batch WHERE orphan = 0 OR state <> 'queued'"
        )
        for job, state, due_at, cause, detail, batch in rows:
            self.stats[f"{state} {cause or ''}".rstrip()] += 1
            ended = state in ("done", "failed") or (state == "in_doubt" and due_at is None)
            waiting = state == "running" and Cause(cause or "stuck").needs_person
            unpaid = state == "queued" and (self._shops[batch].batch.budget is not None or full)
            if not (ended or waiting or unpaid):
                self._net.wrong(
                    f"job {job} of {batch} is {state} ({cause}: {detail}), due at {due_at}"
                )
