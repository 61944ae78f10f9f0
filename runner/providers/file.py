"""The providers file: the presets in the package, and what a user's `providers.yaml` adds or overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from runner.errors import ManifestError, UsageError
from runner.providers.entry import Entry
from runner.providers.nodes import OWN, Marked
from runner.providers.provider import Provider
from runner.wire import excerpt

FILE_NAME = "providers.yaml"
_LONGEST = 1_000_000


def presets() -> dict[str, Provider]:
    """Return the providers that the package knows, by name."""
    return dict(_presets())


def load_providers(path: Path | None) -> dict[str, Provider]:
    """Return the presets, overridden and extended by a user's file where there is one.

    Raises:
        ManifestError: the file has mistakes, all of them with line and column.
        UsageError: the file can't be read.
    """
    known = presets()
    return known if path is None else known | _read(_text(path), str(path), known, trusted=True)


def find_providers_file(explicit: Path | None, cwd: Path, config_dir: Path) -> Path | None:
    """Find the providers file: the one that was named, else the working folder's, else the user's own.

    Raises:
        UsageError: the named file doesn't exist.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise UsageError(
                f"there is no file {explicit}. Correct --providers, or create one with: runner init"
            )
        return explicit
    return next(
        (path for path in (cwd / FILE_NAME, config_dir / FILE_NAME) if path.is_file()), None
    )


@cache
def _presets() -> Mapping[str, Provider]:
    text = (files("runner.providers") / "presets.yaml").read_text("utf-8")
    return _read(text, "presets.yaml", {}, trusted=False)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LONGEST:
            raise UsageError(
                f"{path} is larger than 1 MB, which no providers file is. Check the path"
            )
        return path.read_text("utf-8-sig")
    except OSError as problem:
        raise UsageError(
            f"{path} can't be read: {problem.strerror}. Check its permissions"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text. Save it as UTF-8") from None


def _read(
    text: str, name: str, known: Mapping[str, Provider], *, trusted: bool
) -> dict[str, Provider]:
    """Read a whole file. `trusted`: a user wrote the addresses in it, so they may be plain http and private."""
    marked, found = Marked(name), {}
    root = marked.compose(text) if trusted else marked.compose(text, OWN)
    if root is not None:
        for _, providers in marked.entries(root, "the file", ("providers",)):
            for key, node in marked.entries(providers, "providers"):
                if not _is_name(key):
                    marked.wrong(
                        node,
                        f"{excerpt(key)!r} is not a provider's name. Write letters, digits, - and _",
                    )
                    continue
                before = known.get(key)
                after = Entry(marked, key, preset=not trusted).read(node, before)
                changed = before is None or after.base_url != before.base_url
                found[key] = replace(after, private=_is_private(after, before, changed, trusted))
    if marked.problems:
        raise ManifestError(marked.problems)
    return found


def _is_name(text: str) -> bool:
    return (
        len(text) <= 60
        and text.isascii()
        and text.replace("-", "").replace("_", "").replace(".", "").isalnum()
    )


def _is_private(after: Provider, before: Provider | None, changed: bool, trusted: bool) -> bool:
    if changed:
        return trusted or after.base_url.startswith("http://")
    return before is not None and before.private
