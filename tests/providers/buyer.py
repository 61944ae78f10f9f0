"""A customer of one simulated system, who speaks through a dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jwt

from runner.events import Accepted, Event
from runner.providers import Order, dialect_for, presets
from runner.wire import Exchange, Response
from tests.providers.talk import IMAGE
from tests.simulator.asking import Client


class Buyer:
    """Carries one system's conversations to the simulator."""

    def __init__(self, client: Client, system: str, model: str) -> None:
        self.client, self.system, self.model = client, system, model
        self.token = ""
        provider = presets()[system]
        self.dialect = dialect_for(
            replace(provider, base_url=provider.base_url or "https://gateway.example"), model
        )

    async def carry(self, exchange: Exchange | None) -> Event:
        """Have the whole conversation."""
        assert exchange is not None
        request = next(exchange)
        try:
            while True:
                if request.fresh_token or not self.token:
                    self.token = self._minted()
                named = {"Authorization": self.token} if self.system == "kling" else {}
                got = await self.client.ask(
                    self.system, request.method, request.path, request.body, **named
                )
                headers = {name.lower(): text for name, text in got.headers.items()}
                request = exchange.send(Response(got.status, headers, got.body))
        except StopIteration as stop:
            event: Event = stop.value
            return event

    async def buy(self, ref: str = "ref-1", prompt: str = "a paper boat") -> Event:
        """Submit one job."""
        params: dict[str, Any] = {"prompt": prompt, "duration": 5}
        if self.model == IMAGE:
            params["image_url"] = "https://example.com/in.png"
        return await self.carry(self.dialect.submit(Order(self.model, params, ref)))

    async def bought(self) -> Accepted:
        """Submit one job that is taken."""
        event = await self.buy()
        assert isinstance(event, Accepted)
        return event

    async def poll(self, accepted: Accepted) -> Event:
        """Ask how far it is."""
        return await self.carry(self.dialect.poll(accepted.remote))

    def end(self) -> None:
        """Let time pass until the last task has ended."""
        self.client.clock.now = self.client.sim.ledger[-1].end_at + 0.01

    def _minted(self) -> str:
        now = int(self.client.clock.now)
        claims = {"iss": "sim-access", "exp": now + 1800, "nbf": now - 5}
        secret = self.client.sim.settings.secret_key
        return f"Bearer {jwt.encode(claims, secret, 'HS256', {'typ': 'JWT'})}"
