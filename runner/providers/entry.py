"""One provider of a providers file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import yaml

from runner.budget import Price
from runner.limits import Limits, Rate, parse_duration
from runner.providers import values
from runner.providers.nodes import Marked
from runner.providers.provider import Auth, Provider, Traits
from runner.wire import excerpt

_KEYS = (
    "base_url",
    "auth",
    "limits",
    "media_hosts",
    "prices",
    "max_result",
    "poll",
    "fal",
    "kling",
)
_PER = ("per_second", "per_job", "per_image")
_LENGTHS = ("min_poll", "expected", "result_lifetime")
_TRAITS = tuple(item.name for item in fields(Traits))


@dataclass(frozen=True, slots=True)
class Entry:
    """Reads one provider's node; what is wrong with it is noted in `marked`.

    `preset`: it is the package's own, which may leave its address open.
    """

    marked: Marked
    name: str
    preset: bool = False

    def read(self, node: yaml.Node, before: Provider | None) -> Provider:
        """Read the entry on top of a preset of the same name, or as a provider of its own."""
        provider = before or Provider(self.name, "", Auth("none", ""))
        changes: dict[str, Any] = {}
        for key, value in self.marked.entries(node, self.name, _KEYS):
            found = self._value(key, value, provider)
            if found is not None:
                changes[key] = found
        if before is None and isinstance(node, yaml.MappingNode):
            written = {getattr(key, "value", "") for key, _ in node.value}
            self._complete(node, written)
        return replace(provider, **changes)

    def _complete(self, node: yaml.Node, written: set[Any]) -> None:
        """Refuse a new provider without an address or a key."""
        if "base_url" not in written and not self.preset:
            self.marked.wrong(
                node, f"{self.name} has no base_url. Write base_url: https://api.example.com"
            )
        if "auth" not in written:
            hint = "auth: {scheme: Bearer, env: MY_API_KEY}"
            self.marked.wrong(node, f"{self.name} does not say how its key is sent. Write {hint}")

    def _value(self, key: str, node: yaml.Node, provider: Provider) -> Any:
        what = f"{self.name}.{key}"
        if key == "base_url":
            return self.marked.parsed(node, what, values.base_url)
        if key == "auth":
            return self._auth(node, what, provider.auth)
        if key == "limits":
            return self._limits(node, what, provider.limits)
        if key == "media_hosts":
            return self._hosts(node, what)
        if key == "prices":
            return {**provider.prices, **self._prices(node, what)}
        if key == "max_result":
            return self.marked.parsed(node, what, values.size)
        if key == "poll":
            return self.marked.parsed(node, what, values.trade)
        return self._traits(node, what, provider.fal if key == "fal" else provider.kling)

    def _auth(self, node: yaml.Node, what: str, before: Auth) -> Auth:
        readers = {"scheme": values.scheme, "env": values.variable, "secret_env": values.variable}
        auth = before
        for key, value in self.marked.entries(node, what, tuple(readers)):
            found = self.marked.parsed(value, f"{what}.{key}", readers[key])
            if found is not None:
                auth = replace(auth, **{key: found})
        if before == Auth("none", "") and auth.env and auth.scheme == "none":
            auth = replace(auth, scheme="Bearer")
        if auth.needs_key and not auth.env:
            self.marked.wrong(
                node, f"{what} names no key. Write env: and the name of an environment variable"
            )
        if auth.minted and not auth.secret_env:
            self.marked.wrong(
                node, f"{what} of scheme JWT needs two keys. Write env: and secret_env:"
            )
        return auth

    def _limits(self, node: yaml.Node, what: str, before: Limits) -> Limits:
        readers: dict[str, Callable[[str], Any]] = {
            "submits": Rate.parse,
            "in_flight": values.count,
            "requests": Rate.parse,
            "posts": values.count,
        }
        changes: dict[str, Any] = {}
        for key, value in self.marked.entries(node, what, tuple(readers)):
            found = self.marked.parsed(value, f"{what}.{key}", readers[key])
            if found is not None:
                changes[key] = found
        return replace(before, **changes)

    def _hosts(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        hosts = []
        for text in self.marked.texts(node, what):
            try:
                hosts.append(values.host(text))
            except ValueError as problem:
                self.marked.wrong(node, f"{what}: {problem}")
        return tuple(hosts)

    def _prices(self, node: yaml.Node, what: str) -> dict[str, Price]:
        prices = {}
        for model, value in self.marked.entries(node, what):
            price = self._price(value, f"the price of {excerpt(model)}")
            if price is not None:
                prices[model.strip("/")] = price
        return prices

    def _price(self, node: yaml.Node, what: str) -> Price | None:
        found: dict[str, Any] = {}
        for key, value in self.marked.entries(node, what, (*_PER, "currency", "source", "date")):
            readers = dict.fromkeys(_PER, values.amount) | {"currency": values.currency}
            found[key] = self.marked.parsed(value, f"{what}, {key}", readers.get(key, str))
        if isinstance(node, yaml.MappingNode) and sum(key in found for key in _PER) != 1:
            self.marked.wrong(
                node, f"{what} needs exactly one of {', '.join(_PER)}. Write per_second: 0.07"
            )
            return None
        return Price(**{key: value for key, value in found.items() if value is not None})

    def _traits(self, node: yaml.Node, what: str, before: Traits) -> Traits:
        changes: dict[str, Any] = {}
        for key, value in self.marked.entries(node, what, _TRAITS):
            reader: Callable[[str], Any] = _duration if key in _LENGTHS else values.flag
            found = self.marked.parsed(value, f"{what}.{key}", reader)
            if found is not None:
                changes[key] = found
        traits = replace(before, **changes)
        if traits.lookup and not traits.external_id:
            hint = "a look-up only works for jobs that carry our reference. Write external_id: true as well"
            self.marked.wrong(node, f"{what}: {hint}")
        return traits


def _duration(text: str) -> float:
    """Read `90s`, `2h` or a plain number of seconds, longer than nothing."""
    seconds = float(text) if values.is_plain_number(text) else parse_duration(text)
    if not 0 < seconds <= 10_000_000_000:
        raise ValueError(f"{excerpt(text, 40)!r} is not a duration. Write 90s, 15m, 2h or 7d")
    return seconds
