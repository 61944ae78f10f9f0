"""The road between the program and the simulator, without sockets: what is on its way, and what becomes of it.

A request that left arrives, whatever becomes of whoever sent it: letters on their way outlive the process. Faults:

- `unreachable`: no connection; nothing left.
- `lost`: it left, and never arrives.
- `late`: the connection breaks, and up to eight seconds later the request arrives all the same.
- `unanswered`: it arrives, and its answer is lost.
- `slow`: request and answer take up to 20 seconds each way.
- `doubled`: somebody on the road sends it twice, and the second answer comes back.

And a lie of the provider that the simulator does not know: a receipt that names the id of an earlier job.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

import aiohttp
from yarl import URL

from runner.simulator import Fault, desk
from runner.simulator.reply import Call, Reply
from runner.simulator.systems import locate
from runner.simulator.world import World
from tests.simulation.plan import DISK, HOST, Plan
from tests.simulation.sky import DAWN, Sky, Trace

LATEST = 8.0
"""Seconds after which nothing that was sent arrives any more."""
_OURS = {*DISK, "unreachable"}
_PATHS = {"server-error-on-poll": ("*/status", "*/v1/*")}


class Wrong(Protocol):
    """Ends the night: `promise` in a few words that are counted, and what happened."""

    def __call__(self, promise: str, text: str) -> NoReturn:
        """End it."""


class Watch(Protocol):
    """Looks at every request, when it leaves and when it was answered (`before` it, so many tasks were known)."""

    def leaving(self, letter: Letter) -> None:
        """A request leaves."""

    def arrived(self, letter: Letter, before: int) -> None:
        """A request was answered."""


@dataclass(order=True, slots=True)
class Letter:
    """A request on its way. `at` is when it arrives, `life` counts the processes: which one sent it."""

    at: float
    number: int
    method: str = field(compare=False)
    url: URL = field(compare=False)
    headers: Mapping[str, str] = field(compare=False)
    body: bytes = field(compare=False)
    life: int = field(compare=False)
    copy: bool = field(default=False, compare=False)
    reply: Reply | None = field(default=None, compare=False)


class Network:
    """Carries requests to the simulator's desk in the order in which they arrive.

    `receipts` are the ids that the rows hold, by seller and protocol: those that a receipt may repeat.
    """

    def __init__(self, plan: Plan, sky: Sky, trace: Trace, wrong: Wrong) -> None:
        self.plan = plan
        self.sky = sky
        self.trace = trace
        self.wrong = wrong
        self.world = World(plan.settings, lambda: sky.truth)
        self.world.base_url = f"https://{HOST}"
        self.world.other_host = "https://elsewhere.example"
        self.counts: Counter[str] = Counter()
        self.life = 0
        self.watch: Watch | None = None
        self.receipts: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._dice = random.Random(f"road {plan.seed}")
        self._lies = random.Random(f"lies {plan.seed}")
        self._mail: list[Letter] = []
        self._number = 0
        self._season: tuple[object, ...] | None = None

    # -- weather -------------------------------------------------------------------------------------------------

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self.sky.truth - DAWN >= self.plan.calm_at

    def in_window(self, name: str, system: str = "*") -> bool:
        """Whether something is altogether wrong just now."""
        at = self.sky.truth - DAWN
        return any(
            window.name == name
            and window.start <= at < window.end
            and window.system in ("*", system)
            for window in self.plan.windows
        )

    def _turn_season(self) -> None:
        """Put the faults of this moment in force."""
        at = self.sky.truth - DAWN
        open_now = tuple(
            window for window in self.plan.windows
            if window.name not in _OURS and window.start <= at < window.end
        )  # fmt: skip
        season = (self.calm, *open_now)
        if season == self._season:
            return
        self._season = season
        self.world.faults.clear()
        if self.calm:
            return
        for fault in self.plan.faults:
            self.world.faults.add(fault)
        for window in open_now:
            for path in _PATHS.get(window.name, ("*",)):
                self.world.faults.add(Fault(window.name, system=window.system, path=path))

    # -- letters -------------------------------------------------------------------------------------------------

    def fate(self, url: URL, method: str) -> str:
        """What becomes of a request on the road."""
        system = system_of(url)
        if self.in_window("unreachable", system):
            return self._hit("unreachable")
        if self.calm:
            return ""
        chosen = self._dice.random()
        for name, rate in self.plan.network.items():
            chosen -= rate
            if chosen < 0:
                twice = method == "GET" or system == "kling"  # elsewhere nobody could help it
                return self._hit(name) if name != "doubled" or twice else ""
        return ""

    def _hit(self, name: str) -> str:
        self.counts[f"road: {name}"] += 1
        return name

    def delay(self, fate: str) -> float:
        """Seconds one way."""
        return self._dice.uniform(1.0, 20.0) if fate == "slow" else self._dice.uniform(0.01, 0.2)

    def throw(self, share: float) -> bool:
        """Throw the dice."""
        return self._dice.random() < share

    def post(
        self, delay: float, method: str, url: URL, headers: Mapping[str, str], body: bytes
    ) -> Letter:
        """Send a letter on its way; it arrives in `delay` seconds."""
        self._number += 1
        at = self.sky.truth + delay
        letter = Letter(at, self._number, method, url, headers, body, self.life)
        if self.watch is not None:
            self.watch.leaving(letter)
        heapq.heappush(self._mail, letter)
        if self.sky.loop is not None:
            self.sky.loop.call_later(delay + 1e-5, self.deliver)
        return letter

    def deliver(self) -> None:
        """Have everything answered that has arrived by now."""
        while self._mail and self._mail[0].at <= self.sky.truth + 1e-6:
            letter = heapq.heappop(self._mail)
            self._turn_season()
            before = len(self.world.ledger)
            letter.reply = self._answer(letter)
            if self.watch is not None:
                self.watch.arrived(letter, before)
            letter.reply = self._repeated(letter.reply, before)

    def _answer(self, letter: Letter) -> Reply:
        url, headers = letter.url, letter.headers
        system, path = locate(self.world.settings.systems, url.path)
        assert system is not None
        call = Call(system, letter.method, path, url.query, headers, letter.body, self.sky.truth)
        reply = desk.answer(self.world, call, url.raw_host or "")
        self.counts[f"request: {call.operation}"] += 1
        for name in call.faults:
            self.counts[f"provider: {name}"] += 1
        status = "dropped" if reply.delivery.drop else reply.status
        self.trace.write(f"{letter.method} {path} {status} {' '.join(call.faults)}".rstrip())
        return reply

    def _repeated(self, reply: Reply, before: int) -> Reply:
        """Now and then, let a receipt name the id of an earlier job; the ledger knows better."""
        if len(self.world.ledger) == before or self.calm:
            return reply
        task = self.world.ledger[before]
        known = self.receipts[task.system, task.protocol]
        if not known or self._lies.random() >= self.plan.repeats:
            return reply
        self.counts["provider: repeated-id"] += 1
        return reply.but(
            body=reply.body.replace(task.id.encode(), self._lies.choice(known).encode())
        )


def unreachable(host: str) -> aiohttp.ClientConnectorError:
    """What aiohttp raises when there is no connection."""
    return aiohttp.ClientConnectorError(_Where(host), OSError(111, "Connection refused"))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Where:
    host: str
    port: int = 443
    ssl: bool = True
    is_ssl: bool = True


def system_of(url: URL) -> str:
    """The seller that an address belongs to."""
    parts = url.path.split("/")
    return parts[2] if len(parts) > 2 else ""
