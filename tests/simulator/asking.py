"""How the tests of the simulator ask: a clock that is set by hand, and one system's customer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from runner.simulator import Simulator

FAL_MODEL = "/fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
KLING_MODEL = "/kling/v1/videos/text2video"


@dataclass
class SetClock:
    """A clock that stands still until it is moved."""

    now: float = 1_762_157_958.0

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


@dataclass(frozen=True)
class Answer:
    """What came back: status 0 when the connection was closed without an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; raises ValueError when it isn't."""
        return json.loads(self.body)


class Client:
    """Asks one simulator, as one system's customer."""

    def __init__(self, sim: Simulator, http: aiohttp.ClientSession, clock: SetClock) -> None:
        self.sim, self.http, self.clock = sim, http, clock

    async def ask(
        self, system: str, method: str, path: str, body: Any = None, **headers: str
    ) -> Answer:
        """Send one request with the system's usual key unless `Authorization` is given."""
        scheme = self.sim.settings.systems[system].auth
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Authorization", f"{'Key' if scheme == 'Key' else 'Bearer'} sim-key")
        url = path if path.startswith("http") else self.sim.base_url(system) + path
        try:
            async with self.http.request(
                method, url, json=body, headers=named, allow_redirects=False
            ) as response:
                return Answer(response.status, response.headers, await response.read())
        except aiohttp.ServerDisconnectedError:
            return Answer(0, {}, b"")

    async def buy(self, system: str = "fal", path: str = "", **body: Any) -> Answer:
        """Submit a good request to a system; extra fields go into the body."""
        kling = not self.sim.settings.systems[system].fal
        path = path or (KLING_MODEL if kling else FAL_MODEL)
        return await self.ask(system, "POST", path, {"prompt": "a paper boat", **body})

    async def poll(self, system: str = "fal", number: int = -1, what: str = "/status") -> Answer:
        """Ask for the status (or `what`) of one of the accepted tasks."""
        task = self.sim.ledger[number]
        if task.protocol == "kling":
            return await self.ask(system, "GET", f"{task.model}/{task.id}")
        return await self.ask(system, "GET", f"/{task.home}/requests/{task.id}{what}")

    async def cancel(self, system: str = "fal", number: int = -1) -> Answer:
        """Ask for one of the accepted tasks to be stopped."""
        task = self.sim.ledger[number]
        return await self.ask(system, "PUT", f"/{task.home}/requests/{task.id}/cancel")

    async def finish(self, system: str = "fal", number: int = -1) -> Answer:
        """Let time pass until a task has ended, then fetch its result."""
        self.clock.now = self.sim.ledger[number].end_at + 0.01
        return await self.poll(system, number, what="")

    async def file(self, system: str = "fal", **headers: str) -> Answer:
        """Buy, wait, and download the file of a new task."""
        await self.buy(system)
        done = await self.finish(system)
        return await self.ask(system, "GET", done.json["video"]["url"], **headers)


Start = Callable[..., Awaitable[Client]]
