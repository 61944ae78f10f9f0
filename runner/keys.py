"""Keys: where they come from, and how they stay out of everything that is written.

A key is looked for in the environment, then in a `.env` beside the providers file, then in a key file that only its
owner can read. It is never taken from the command line or a manifest.
"""

from __future__ import annotations

import base64
import codecs
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from runner.errors import KeyMissing
from runner.providers.provider import Auth

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_VISIBLE = re.compile(r"[!-~]+")
_SHORTEST = 6  # a shorter text would mask innocent ones


class Secret:
    """A text that shows itself only when asked to."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself: for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret can't be pickled or copied")


@dataclass(frozen=True, slots=True)
class Credential:
    """What a provider's `Auth` asks for. For the scheme `JWT`, `key` is the access key and `secret` the secret key."""

    scheme: str
    key: Secret
    secret: Secret | None = None


class Redactor(logging.Filter):
    """Masks known secrets in any text: as they are, in base64, URL-encoded; also any JWT and any URL's query.

    As a filter it belongs on handlers, where it sees the records of every logger, tracebacks included.
    """

    def __init__(self) -> None:
        super().__init__()
        self._forms: set[str] = set()
        self._known: re.Pattern[str] | None = None

    def add(self, secret: Secret) -> None:
        """Mask this secret from now on."""
        value = secret.reveal()
        fresh = {form for form in _forms(value) if len(form) >= _SHORTEST} - self._forms
        if fresh:
            self._forms |= fresh
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._known = re.compile("|".join(map(re.escape, longest_first)))

    def mask(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub("***", text)
        return _QUERY.sub(r"\1?***", _JWT.sub("***", text))

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask a log record, its arguments and its traceback. Never drops one."""
        record.msg, record.args = self.mask(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.mask(record.exc_text)
        if record.stack_info:
            record.stack_info = self.mask(record.stack_info)
        return True


_JWT = re.compile(r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]+")
_QUERY = re.compile(r"(https?://[^\s?#\"'<>]+)\?[^\s\"'<>]+")


def _forms(value: str) -> set[str]:
    """Every way in which a secret turns up in texts, alone or inside a longer encoded one."""
    parts = {value, *(part for part in value.split(":") if len(part) >= 16)}
    forms = set(parts)
    for part in parts:
        encoded = quote(part, safe="")
        forms |= {encoded, re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)}
        for shift in range(
            3
        ):  # base64 of a text depends on where in a group of three bytes it begins
            data = b"\0" * shift + part.encode()
            whole = len(data) // 3 * 4
            start = -(-shift * 4 // 3)
            for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
                forms.add(alphabet(data).decode()[start:whole])
    return forms


class Keys:
    """Finds the key of a provider, and tells the redactor about each one it hands out."""

    def __init__(
        self,
        env: Mapping[str, str],
        dotenv: Path | None = None,
        key_file: Path | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._env = env
        self._dotenv = dotenv
        self._key_file = key_file
        self._found: dict[str, Secret] = {}
        self.redactor = redactor or Redactor()

    def find(self, auth: Auth) -> Credential:
        """Find what `auth` asks for.

        Raises:
            KeyMissing: it is nowhere; the message names the variable and every place looked at.
        """
        key = self._once(auth.env)
        secret = self._once(auth.secret_env) if auth.secret_env else None
        return Credential(auth.scheme, key, secret)

    def _once(self, name: str) -> Secret:
        """Look for a key until it is found; files are not read again for every request."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Secret:
        looked: list[str] = []
        for place, read in self._places():
            values, trouble = read()
            value = _unquoted(values.get(name, ""))
            if value:
                return self._checked(name, value, place)
            looked.append(f"{place}{trouble}")
        raise KeyMissing(
            f"no key: {name} is missing. Looked in {', '.join(looked)}. Type: {_how_to_set(name)}"
        )

    def _places(self) -> Iterator[tuple[str | Path, Callable[[], _Lines]]]:
        yield "the environment", lambda: (self._env, "")
        if self._dotenv is not None:
            yield self._dotenv, partial(_read, self._dotenv)
        if self._key_file is not None:
            yield self._key_file, partial(_read, self._key_file, private=True)

    def _checked(self, name: str, value: str, place: str | Path) -> Secret:
        if not _VISIBLE.fullmatch(value):
            raise KeyMissing(
                f"{name} in {place} holds a space or a character that no key has. "
                "Write the key alone, without a word before it"
            )
        secret = Secret(value)
        self.redactor.add(secret)
        return secret


def _how_to_set(name: str) -> str:
    return f"set {name}=YOUR_KEY" if os.name == "nt" else f"export {name}=YOUR_KEY"


_Lines = tuple[Mapping[str, str], str]
"""The values of a place, and why there are none (in brackets, to stand after its name)."""


def _read(path: Path, *, private: bool = False) -> _Lines:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                return {}, f" (not read, because others can read it; type: chmod 600 {path})"
            data = file.read(1_000_000)
    except FileNotFoundError:
        return {}, " (no such file)"
    except OSError as error:
        return {}, f" ({error.strerror})"
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    matches = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match[1]: match[2] for match in matches if match}, ""


def _unquoted(value: str) -> str:
    """Strip what editors and shells leave around a value: white space, a byte order mark, quotes, a comment."""
    bare = value.strip().strip("\ufeff").strip()
    if bare[:1] in {"'", '"'}:
        return bare[1:].split(bare[0], 1)[0].strip()
    return re.split(r"\s+#|^#", bare, maxsplit=1)[0].strip()
