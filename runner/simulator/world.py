"""The world of one simulator: settings, clock, dice, ledger, log and faults."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from .faults import FaultBook
from .ledger import Ledger, Slots
from .limiter import Limiter
from .reply import Call, Json
from .settings import Settings
from .signing import Signer
from .task import FOREVER, Outcome, Task

_ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOWER = "0123456789abcdefghijklmnopqrstuvwxyz"
_FIRST_TASK = 814237883686625347
_FATES = ("completed-with-error", "result-refused", "task-failed", "sweeper-failure", "no-video")
_SWEPT = "任务超时（60分钟）"  # noqa: RUF001 - as a gateway's sweeper writes it


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request as it came, and the status that it was answered with (0: no answer)."""

    at: float
    system: str
    host: str
    """The Host header: tells which of our names the caller believed to talk to."""
    method: str
    path: str
    """Relative to the system."""
    query: Mapping[str, str]
    scheme: str
    key: str
    body: Json
    status: int
    operation: str
    faults: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """The entry as JSON shows it."""
        return asdict(self)


class World:
    """What all handlers share. Nothing here waits: every state is computed from the clock."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        """Start with an empty ledger and no faults."""
        self.settings = settings
        self.clock = clock
        self.base_url = ""
        self.other_host = ""
        """Another name of this server: what is sent there was sent to a foreign host."""
        self.reset()

    def reset(self) -> None:
        """Forget all tasks, requests and faults, and start the dice anew."""
        self.rng = random.Random(self.settings.seed)
        self._noise = random.Random(f"{self.settings.seed}/request ids")
        self.faults = FaultBook(self.settings.seed)
        self.ledger = Ledger()
        self.log: deque[LogEntry] = deque(maxlen=self.settings.log_limit)
        self.signer = Signer(hashlib.sha256(f"{self.settings.seed}/webhooks".encode()).digest())
        self.first_seen: dict[str, float] = {}
        self._slots: dict[tuple[str, str], Slots] = {}
        self._limiters: dict[tuple[str, str], Limiter] = {}
        self.webhooks: list[Task] = []
        """Tasks whose delivery is still to come."""

    def slots(self, system: str, protocol: str) -> Slots:
        """The places that one system has for the tasks of one protocol."""
        place = (system, protocol)
        if place not in self._slots:
            self._slots[place] = Slots(self.settings.concurrency)
        return self._slots[place]

    def limiter(self, system: str, key: str) -> Limiter | None:
        """The request counter of one key at one system, if rates are limited."""
        if self.settings.rate_limit is None:
            return None
        place = (system, key)
        if place not in self._limiters:
            self._limiters[place] = Limiter(self.settings.rate_limit)
        return self._limiters[place]

    def uuid(self) -> str:
        """A UUID that nothing depends on: dice of its own, so that polls don't change what follows."""
        return str(uuid.UUID(int=self._noise.getrandbits(128), version=4))

    def mint(self, shape: str) -> str:
        """Make a task id: `uuid`, `digits` (18, above 2**53), `ulid` or `public` (`task_…`)."""
        if shape == "uuid":
            return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        if shape == "ulid":
            return "01" + "".join(self.rng.choices(_ULID, k=24))
        if shape == "public":
            return "task_" + "".join(self.rng.choices(_LOWER, k=32))
        return str(_FIRST_TASK + len(self.ledger) * 4096 + self.rng.randrange(4096))

    def accept(
        self, call: Call, *, home: str, id_shape: str, external_id: str | None, outcome: Outcome
    ) -> Task:
        """Enter a task into the ledger: from here on it is charged, heard of or not."""
        settings = self.settings
        task = Task(
            id=self.mint(id_shape),
            serial=len(self.ledger) + 1,
            system=call.system.name,
            protocol=call.protocol,
            model=call.path,
            home=home,
            body=call.record(),
            digest=hashlib.sha256(call.raw).hexdigest(),
            external_id=external_id,
            key_fingerprint=hashlib.sha256(call.credential[1].encode()).hexdigest()[:12],
            accepted_at=call.now,
            waits=settings.queue.draw(self.rng),
            runs=settings.run.draw(self.rng),
            price=settings.price,
            outcome=outcome,
        )
        if self.faults.fires("never-finishes", call):
            task.runs = FOREVER
        self.slots(task.system, task.protocol).take(task, queues=call.protocol == "fal")
        self.ledger.add(task)
        return task

    def shown(self, task: Task, call: Call) -> tuple[str, str | None]:
        """The state that this poll is told, and an odd word for it if a fault wants one."""
        task.polls += 1
        state = task.state(call.now)
        odd = None
        if state in ("queued", "running"):
            if state == task.shown == "running" and self.faults.fires("status-regresses", call):
                state = "queued"
            if fault := self.faults.fires("unknown-status", call):
                odd = str(fault.value)
        task.shown = state
        return state, odd

    def plan_webhook(self, task: Task, call: Call, url: str | None) -> None:
        """Remember to tell `url` about the end of a task, unless a fault loses it."""
        if not url:
            return
        task.webhook = url
        if self.faults.fires("webhook-lost", call):
            return
        names = ("webhook-twice", "webhook-bad-signature")
        task.webhook_plan = [name for name in names if self.faults.fires(name, call)]
        if late := self.faults.fires("webhook-late", call):
            task.webhook_delay = late.number
        self.webhooks.append(task)

    def media_url(self, task: Task) -> str:
        """The URL of a task's file."""
        kind = "jpg" if "/images/" in task.model else "mp4"
        return f"{self.base_url}/media/{task.system}/{task.id}.{kind}"

    def fate(self, call: Call, prompt: str) -> Outcome:
        """Decide at acceptance how a task will end."""
        word = self.settings.policy_word
        if word and word in prompt:
            return Outcome("policy", "The prompt was refused by the content policy")
        fault = self.faults.first(_FATES, call)
        if fault is None:
            return Outcome()
        text = str(fault.value)
        fates = {
            "completed-with-error": Outcome("error", text.replace("_", " ").capitalize(), text),
            "result-refused": Outcome("refused", "The result was refused", text),
            "task-failed": Outcome("failed", text, "internal_error"),
            "sweeper-failure": Outcome("swept", _SWEPT, "request_timeout"),
            "no-video": Outcome("empty"),
        }
        return fates[fault.name]
