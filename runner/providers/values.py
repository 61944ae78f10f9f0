"""The single values of a providers file, read from text. Each reader raises ValueError with a message for people."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

from runner.wire import excerpt

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMGT]?)i?B?", re.IGNORECASE)
_UNIT = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,253}")


def base_url(text: str) -> str:
    """Read the address of a provider: http or https, a host, a path if need be, and nothing else."""
    example = "Write https://api.example.com"
    if not text.isprintable() or any(char.isspace() for char in text) or "\\" in text:
        raise ValueError(f"{excerpt(text, 80)!r} is not an address. {example}")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{excerpt(text, 80)!r} is not an address. {example}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"{excerpt(text, 80)!r} is not an address. {example}")
    if "@" in parts.netloc:
        raise ValueError(f"an address can't hold a user or a key. {example}")
    if "?" in text or "#" in text or ".." in parts.path.split("/"):
        raise ValueError(f"an address has no query, no fragment and no '..'. {example}")
    return text.rstrip("/")


def variable(text: str) -> str:
    """Read the name of an environment variable; what looks like a key itself is not repeated in the message."""
    if _VARIABLE.fullmatch(text) is None or text.startswith("sk_"):
        raise ValueError(
            "not the name of an environment variable. Write the name, never the key: MY_API_KEY"
        )
    return text


def scheme(text: str) -> str:
    """Read the word before the key; `jwt` and `none` are our own and written in any case."""
    if _SCHEME.fullmatch(text) is None:
        raise ValueError(
            f"{excerpt(text, 40)!r} is not an auth scheme. Write Bearer, Key, JWT or none"
        )
    own = {"jwt": "JWT", "none": "none", "bearer": "Bearer", "key": "Key"}
    return own.get(text.lower(), text)


def host(text: str) -> str:
    """Read a host without scheme, port or path."""
    if _HOST.fullmatch(text) is None or (text.count(":") == 1):
        raise ValueError(
            f"{excerpt(text, 80)!r} is not a host. Write the name or the address alone: 127.0.0.1"
        )
    return text.strip("[]").lower()


def flag(text: str) -> bool:
    """Read true or false."""
    if text not in ("true", "false"):
        raise ValueError(f"{excerpt(text, 40)!r} is neither true nor false. Write true or false")
    return text == "true"


def count(text: str) -> int:
    """Read a whole number from 1."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise ValueError(f"{excerpt(text, 40)!r} is not a whole number from 1. Write 20")
    return int(text)


def size(text: str) -> int:
    """Read bytes: `500 MB`, `5GB` or a plain number."""
    match = _SIZE.fullmatch(text.strip()) if len(text) < 30 else None
    if match is None or not float(match[1]) > 0:
        raise ValueError(f"{excerpt(text, 40)!r} is not a size. Write 5 GB or 500 MB")
    return int(Decimal(match[1]) * _UNIT[match[2].lower()])


def amount(text: str) -> Decimal:
    """Read an amount of money without its currency."""
    try:
        found = Decimal(text) if text.isascii() and len(text) <= 20 else None
    except InvalidOperation:
        found = None
    if found is None or not found.is_finite() or not 0 <= found <= 1_000_000:
        raise ValueError(f"{excerpt(text, 40)!r} is not an amount. Write a number: 0.07")
    return found


def currency(text: str) -> str:
    """Read a currency's three letters."""
    if not (text.isascii() and text.isalpha() and len(text) == 3):
        raise ValueError(f"{excerpt(text, 40)!r} is not a currency. Write its three letters: USD")
    return text.upper()


def trade(text: str) -> str:
    """Read how polls are traded for delay."""
    if text not in ("eager", "normal", "frugal"):
        raise ValueError(
            f"{excerpt(text, 40)!r} is not a way to poll. Write eager, normal or frugal"
        )
    return text


def is_plain_number(text: str) -> bool:
    """Whether it is decimal digits, with a fraction or without."""
    return re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,6})?", text) is not None
