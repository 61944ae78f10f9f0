"""The files that point the runner at a simulator: a providers file and keys that are worth nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from .settings import Settings

_ENV = {
    "winfull": "WINFULL_API_KEY",
    "quickrouter": "QUICKROUTER_API_KEY",
    "uniapi": "UNIAPI_API_KEY",
    "kling-gateway": "KLING_GATEWAY_API_KEY",
    "fal": "FAL_KEY",
}
_LIMITS = {"submits": "6000/1m", "in_flight": 200, "requests": "500/1s"}
_MODELS = (
    "fal-ai/kling-video/v2.5-turbo/pro/text-to-video",
    "fal-ai/kling-video/v2.5-turbo/pro/image-to-video",
    "fal-ai/kling-video/v2.1/standard/image-to-video",
    "kling/v1/videos/text2video",
    "kling/v1/videos/image2video",
    "v1/videos/text2video",
    "v1/videos/image2video",
)
_HEAD = """\
# Points every provider at the simulator on this machine. Written by `runner simulate`; it overwrites
# this file at each start. Use it with: runner --providers {path} run jobs/...
"""
_DOTENV_HEAD = "# Keys for the simulator. None of them is worth anything."


def providers(settings: Settings, base_urls: Mapping[str, str]) -> dict[str, object]:
    """The providers document for a simulator; the system `any` is the provider `simulator`."""
    entries: dict[str, object] = {}
    expected = settings.queue.typical + settings.run.typical
    traits = {"min_poll": "200ms", "expected": f"{max(1, int(expected * 1000))}ms"}
    for name, url in base_urls.items():
        system = settings.systems[name]
        auth = {"scheme": "none" if system.auth == "any" else system.auth}
        if system.auth == "JWT":
            auth |= {"env": "KLING_ACCESS_KEY", "secret_env": "KLING_SECRET_KEY"}
        elif system.auth != "any":
            auth["env"] = _ENV.get(name, f"{name.upper().replace('-', '_')}_API_KEY")
        entries["simulator" if name == "any" else name] = {
            "base_url": url,
            "auth": auth,
            "limits": {**_LIMITS, "in_flight": max(1, settings.concurrency)},
            "media_hosts": ["127.0.0.1"],
            **{word: traits for word in ("fal", "kling") if getattr(system, word)},
            "prices": {model: {"per_second": 0.07} for model in _MODELS},
        }
    return {"providers": entries}


def dotenv(settings: Settings) -> str:
    """The keys file: every name of a key, each with a dummy or with the simulator's own secret."""
    key = "sim-key" if settings.accept_any_key or not settings.keys else settings.keys[0]
    lines = [_DOTENV_HEAD]
    lines += [f"{name}={key}" for name in _ENV.values()]
    lines += [f"KLING_ACCESS_KEY={settings.access_key}", f"KLING_SECRET_KEY={settings.secret_key}"]
    return "\n".join(lines) + "\n"


def write(folder: Path, settings: Settings, base_urls: Mapping[str, str]) -> list[Path]:
    """Write `providers.yaml` and `.env` (both 0600) into `folder`; return their paths.

    Raises OSError; also when one of the two is there and isn't ours, since a `.env` may hold real keys.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / "providers.yaml"
    for path, mark in ((target, _HEAD), (folder / ".env", _DOTENV_HEAD)):
        first = mark.splitlines()[0]
        if path.exists() and not path.read_text(encoding="utf-8").startswith(first):
            raise FileExistsError(f"{path} was not written by the simulator. Use --write OTHER")
    text = _HEAD.format(path=target.as_posix()) + yaml.safe_dump(
        providers(settings, base_urls), sort_keys=False
    )
    _replace(target, text)
    _replace(folder / ".env", dotenv(settings))
    return [target, folder / ".env"]


def _replace(path: Path, text: str) -> None:
    """Put a file in place whole, readable by its owner only."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
