"""`providers`: who can be bought from, and whether there is a key."""

from __future__ import annotations

from collections.abc import Mapping

from runner.cli.general import General
from runner.cli.session import Session
from runner.cli.words import columns, plain
from runner.errors import KeyMissing
from runner.providers import Auth, Provider, Traits, presets
from runner.settings import Settings

_HEAD = ("NAME", "BASE URL", "KEY", "LIMITS", "PROTOCOLS", "FROM")


def providers(general: General) -> None:
    """Print every provider; of keys only whether they are set."""
    session = Session(general)
    out, settings = session.out, session.settings
    known, built_in = settings.providers(), presets()
    found = [_facts(settings, provider, built_in) for provider in known.values()]
    if out.json:
        out.records(found)
        return
    rows = [
        (
            str(each["name"]),
            str(each["base_url"]) or "(write base_url: in providers.yaml)",
            f"{each['scheme']} {_key(each)}".strip(),
            str(each["limits"]),
            str(each["protocols"]),
            str(each["from"]),
        )
        for each in found
    ]
    head, *lines = columns([_HEAD, *rows], out.width)
    out.say(head, style="bold")
    out.say(*map(plain_columns, lines))
    file = settings.providers_file
    out.say("", f"Providers file: {file or 'none. runner init writes one'}")


def plain_columns(line: str) -> str:
    """A line of columns: safe to show, with its blanks."""
    return "".join(char if char.isprintable() else " " for char in line)


def _facts(
    settings: Settings, provider: Provider, built_in: Mapping[str, Provider]
) -> dict[str, object]:
    preset = built_in.get(provider.name)
    return {
        "type": "provider",
        "name": provider.name,
        "base_url": provider.base_url,
        "scheme": provider.auth.scheme if provider.auth.needs_key else "none",
        "env": [name for name in (provider.auth.env, provider.auth.secret_env) if name],
        "key": _is_set(settings, provider.auth),
        "limits": _limits(provider),
        "protocols": _protocols(provider),
        "prices": len(provider.prices),
        "from": "preset" if provider == preset else plain(str(settings.providers_file)),
    }


def _key(facts: Mapping[str, object]) -> str:
    if facts["key"] is None:
        return ""
    env = facts["env"]
    names = "+".join(map(str, env)) if isinstance(env, list) else ""
    return f"{names} ({'set' if facts['key'] else 'not set'})"


def _is_set(settings: Settings, auth: Auth) -> bool | None:
    if not auth.needs_key:
        return None
    try:
        settings.keys.find(auth)
    except KeyMissing:
        return False
    return True


def _limits(provider: Provider) -> str:
    limits = provider.limits
    parts = []
    if limits.submits:
        parts.append(f"{limits.submits} submits")
    if limits.requests:
        parts.append(f"{limits.requests} requests")
    if limits.in_flight:
        parts.append(f"{limits.in_flight} in flight")
    return ", ".join(parts) or "as it answers"


def _protocols(provider: Provider) -> str:
    """Which protocols something is known about; the model's path decides in the end."""
    said = [
        name
        for name, traits in (("fal", provider.fal), ("kling", provider.kling))
        if traits != Traits()
    ]
    return "+".join(said) or "by model path"
