"""What the program's rows and files say, and whether they agree with the provider's ledger.

- Nothing that was accepted is lost: the rows hold its id, or say that the job is in the air or in doubt.
- A job stays where it was bought, whatever the manifest says since.
- `done` means that the file is there, whole, with the recorded hash, and that it is the clip of this very job.
- In the end everything has ended for a reason, and what was made and paid for was fetched.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runner.causes import Cause
from runner.job import Spec
from runner.simulator import media
from runner.simulator.task import Task
from tests.simulation.disk import Disk
from tests.simulation.network import Network
from tests.simulation.plan import Plan, Shop, Terms

_SPENT = (
    "SELECT {0}.id, {0}.spent_micros, (SELECT coalesce(sum(price_micros), 0) FROM attempt JOIN job"
    " ON job.id = attempt.job WHERE {1} = {0}.id AND billed IS NOT 0) FROM {0}"
)


class Row(NamedTuple):
    """A job as it is stored. `due_at` in milliseconds."""

    id: int
    state: str
    due_at: int | None
    batch: str
    cause: str | None
    provider: str


class Books:
    """Compares rows, files and ledger. `home` is the state folder of the present life."""

    def __init__(self, plan: Plan, network: Network) -> None:
        self.plan = plan
        self.home = Path()
        self.stats: Counter[str] = Counter()
        self.net = network
        self.shops: dict[str, Shop] = {}
        self.terms: dict[int, Terms] = {}
        self.begun_at = 0.0
        self.disk: Disk | None = None
        self.wanted: set[str] = set()
        self.homes: dict[str, str] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._unknown: dict[str, Task] = {}
        self._verified: set[int] = set()
        self._rows: sqlite3.Connection | None = None

    def begin(
        self, shops: Sequence[Shop], specs: dict[str, list[Spec]], terms: Terms, disk: Disk
    ) -> None:
        """A life begins, with these manifests and on these terms."""
        self.shops = {shop.batch.name: shop for shop in shops}
        self.terms[self.net.life] = terms
        self.begun_at = self.net.sky.truth
        self.disk = disk
        self.wanted = {spec.prompt for each in specs.values() for spec in each}
        self._names |= {
            spec.prompt: (name, spec.id) for name, each in specs.items() for spec in each
        }

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

    def row(self, prompt: str) -> Row:
        """The job that a prompt belongs to."""
        found = self.ask(
            "SELECT job.id, job.state, job.due_at, batch.name, job.cause, job.provider FROM spec"
            " JOIN job ON job.id = spec.id JOIN batch ON batch.id = job.batch WHERE batch.name = ? AND spec.name = ?",
            *self._names[prompt],
        )
        if not found:
            self.net.wrong("lost", f"{prompt!r} was bought, and no row knows it")
        return Row(*found[0])

    def lost(self, job: int) -> bool:
        """Whether the answer to one of its submits never came."""
        return bool(self.ask("SELECT 1 FROM attempt WHERE job = ? AND outcome = 'lost'", job))

    def was_stuck(self, job: int) -> bool:
        """Whether it was given up waiting for once: from then on it keeps its place from no other job."""
        return bool(
            self.ask("SELECT 1 FROM event WHERE job = ? AND data LIKE '%\"stuck\"%' LIMIT 1", job)
        )

    def heard_of(self, task: Task) -> None:
        """A task was accepted: from now on the rows have to account for it."""
        self._unknown[task.id] = task
        self.homes[task.id] = task.system

    # -- at every event --------------------------------------------------------------------------------------------

    def recorded(self) -> None:
        """Something was made durable: nothing that was accepted may have fallen out of the rows."""
        for remote_id, task in list(self._unknown.items()):
            known = self.ask(
                "SELECT 1 FROM attempt WHERE remote_id = ? AND provider = ?", remote_id, task.system
            )
            if known:
                del self._unknown[remote_id]
                self.net.receipts[task.system, task.protocol].append(remote_id)
                continue
            prompt = str(task.body["prompt"])
            row = self.row(prompt)
            if row.state in ("submitting", "in_doubt"):
                continue
            if not (self.lost(row.id) and self.shops[row.batch].batch.on_doubt == "resubmit"):
                self.net.wrong(
                    "lost",
                    f"{prompt!r} was accepted as {remote_id}; its job is {row.state} and knows nothing of it",
                )

    def saved(self, job: int) -> None:
        """A job is done: its file is there, and it is the clip that was made for it."""
        if job in self._verified:
            return
        rows = self.ask(
            "SELECT artifact.path, artifact.sha256, job.provider, attempt.remote_id, spec.params FROM artifact"
            " JOIN job ON job.id = artifact.job JOIN spec ON spec.id = job.id"
            " JOIN attempt ON attempt.job = job.id AND attempt.number = job.attempt WHERE job.id = ?",
            job,
        )
        if not rows:
            self.net.wrong("lost", f"job {job} is done without a file")
        for path, sha256, provider, remote_id, params in rows:
            task = self.net.world.ledger.find(provider, remote_id)
            if task is None or str(task.body["prompt"]) not in params:
                self.net.wrong(
                    "lost", f"job {job} is done with {remote_id}, which is another job's"
                )
            file = self.home / "outputs" / str(path)
            found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
            if found != sha256:
                self.net.wrong("lost", f"job {job} is done with {sha256}; {path} is {found}")
            if found != hashlib.sha256(media._content(task, "x.mp4")[0]).hexdigest():
                self.net.wrong("lost", f"{path} is not the clip that was made for job {job}")
        self._verified.add(job)

    # -- between two lives -----------------------------------------------------------------------------------------

    def everything(self) -> None:
        """A process is gone, in whatever way: its rows alone have to tell the whole truth."""
        self.recorded()
        for (job,) in self.ask("SELECT id FROM job WHERE state = 'done'"):
            self.saved(job)
        for table, key in (("batch", "job.batch"), ("run", "attempt.run")):
            for number, spent, reserved in self.ask(_SPENT.format(table, key)):
                if spent != reserved:
                    self.net.wrong(
                        "over budget",
                        f"{table} {number} says that {spent} are spent, and its attempts say {reserved}",
                    )
        moved = self.ask(
            "SELECT job.id, attempt.provider, job.provider FROM job JOIN attempt ON attempt.job = job.id"
            " AND attempt.number = job.attempt WHERE job.provider <> attempt.provider AND job.state <> 'queued'"
        )
        for job, was, now in moved:
            self.net.wrong("wrong seller", f"job {job} is at {was}, and its row says {now}")

    def states(self) -> Counter[str]:
        """How many jobs are where; those that left the manifest unsent are left out."""
        return Counter(
            dict(
                self.ask(
                    "SELECT state, count(*) FROM job WHERE orphan = 0 OR state <> 'queued' GROUP BY state"
                )
            )
        )

    def finish(self, *, full: bool) -> None:
        """The night is over, and nothing goes wrong any more: see that all has ended, each job for a reason.

        `full`: a provider has no place left, so jobs may still be queued.
        """
        self._verified.clear()
        self.everything()
        rows = self.ask(
            "SELECT job.id, job.state, job.due_at, job.cause, job.detail, batch.name, attempt.remote_id,"
            " job.provider FROM job JOIN batch ON batch.id = job.batch LEFT JOIN attempt ON attempt.job = job.id"
            " AND attempt.number = job.attempt WHERE orphan = 0 OR state <> 'queued'"
        )
        for job, state, due_at, cause, detail, batch, remote_id, provider in rows:
            self.stats[f"{state} {cause or ''}".rstrip()] += 1
            ended = state in ("done", "failed") or (state == "in_doubt" and due_at is None)
            waiting = state == "running" and Cause(cause or "stuck").needs_person
            unpaid = state == "queued" and (self.shops[batch].batch.budget is not None or full)
            if not (ended or waiting or unpaid):
                self.net.wrong(
                    "does not end",
                    f"job {job} of {batch} is {state} ({cause}: {detail}), due at {due_at}",
                )
            task = self.net.world.ledger.find(provider, remote_id) if waiting else None
            if task is not None and task.outcome.kind == "ok" and task.end_at < self.begun_at:
                self.net.wrong(
                    "lost", f"job {job} of {batch} was made as {remote_id}, and not fetched"
                )
