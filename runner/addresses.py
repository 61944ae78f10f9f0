"""Which addresses may be visited because a server named them.

A result's URL comes from a stranger. It may lead to any public host, and nowhere else: not to this machine, not into
the private network around it, not to a cloud's metadata service. The hosts that the user lists under `media_hosts`
are the exception. Names are looked up at connection time, so the caller asks twice: `refusal` for the URL,
`is_public` for every address that a name leads to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import quote, unquote

from yarl import URL

# Written out instead of asking `ipaddress.is_global`: that answers differently from one Python to the next, and calls
# multicast and wrapped private addresses global.
_V4_SPECIAL = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent: a public number that never leaves the machine's own network
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_V6_PUBLIC = IPv6Network("2000::/3")
_V6_SPECIAL = tuple(IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "3fff::/20"))
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")

_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Nothing to encode, and no way upwards.
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)+")
_CLEAN = re.compile(r"[!-\[\]-~]+")  # printable ASCII without space and backslash


def is_public(address: str | IPv4Address | IPv6Address) -> bool:
    """Whether an IP address belongs to the public internet. What isn't an address is not public."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in block for block in _V4_SPECIAL)
    if ip.scope_id is not None:
        return False
    if ip in _MAPPED or ip in _NAT64:
        return is_public(IPv4Address(int(ip) & 0xFFFFFFFF))
    if ip in _SIX_TO_FOUR:
        return is_public(IPv4Address(int(ip) >> 80 & 0xFFFFFFFF))
    return ip in _V6_PUBLIC and not any(ip in block for block in _V6_SPECIAL)


def plain_host(host: str) -> str:
    """One spelling for a host: lower case, no brackets, no trailing dot, an IP address in its shortest form."""
    bare = host.strip().lower().removeprefix("[").removesuffix("]").rstrip(".")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare


def is_listed(host: str, media_hosts: Iterable[str]) -> bool:
    """Whether the user listed this host as one that results may come from."""
    return plain_host(host) in {plain_host(listed) for listed in media_hosts}


def refusal(url: str, media_hosts: Collection[str] = ()) -> str | None:
    """Say why a URL named by a server is not visited; None where it may be.

    The text names the host, never the query, which may hold a signature.
    """
    if not _CLEAN.fullmatch(url):
        return "the address holds spaces, backslashes or characters that do not belong in a URL"
    try:
        parsed = URL(url, encoded=True)
        host, _ = parsed.raw_host, parsed.port
    except ValueError:
        return "the address is not a URL"
    if parsed.scheme not in {"http", "https"} or not host:
        return f"the address is not on the web (its scheme is {parsed.scheme[:20] or 'missing'})"
    if parsed.user is not None or parsed.password is not None or "@" in parsed.raw_authority:
        return "the address holds a user name"
    if is_listed(host, media_hosts):
        return None
    if parsed.scheme == "http":
        return f"{host} is offered over plain http, which anyone on the way can change"
    return _host_refusal(host.lower())


def _host_refusal(host: str) -> str | None:
    if ":" in host:
        return None if is_public(host) else f"{host} is not a public address"
    if len(host) > 253 or not _HOST.fullmatch(host):
        return "the address has no proper host name"
    bare = host.rstrip(".")
    if _NUMBER.fullmatch(bare.rsplit(".", 1)[-1]):  # an IPv4 address, in this or in an odd spelling
        return None if host == bare and is_public(bare) else f"{host} is not a public address"
    if bare == "localhost" or bare.endswith(".localhost"):
        return f"{host} is this machine"
    return None


def join(base: str, path: str, query: str = "", *, private: bool = False) -> URL:
    """Put a path on a provider's base URL; what is percent-encoded stays as it is.

    `private` allows plain http and private addresses, because the user wrote the base URL.

    Raises:
        ValueError: the base may not be used, or the path would lead off it.
    """
    root = URL(base, encoded=True)
    why = base_refusal(base, private=private)
    if why is not None:
        raise ValueError(why)
    text = f"{root.scheme}://{root.raw_authority}{root.raw_path.rstrip('/')}"
    if not query and _PLAIN_PATH.fullmatch(path):
        return URL(text + path, encoded=True)
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError("a path on the provider begins with one slash")
    safe = quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", path), safe="/%:@!$&'()*+,;=~-._")
    if any(unquote(part) in {".", ".."} for part in safe.split("/")) or "\\" in path:
        raise ValueError("a path on the provider can't go upwards")
    text += f"{safe}?{query}" if query else safe
    return URL(text, encoded=True)


@lru_cache(maxsize=64)
def base_refusal(base: str, *, private: bool) -> str | None:
    """Say why a base URL can't be one that a key is sent to; None where it can."""
    why = refusal(base, _host_in(base) if private else ())
    if why is None and any(mark in base for mark in "?#"):
        return "a base URL has no query and no fragment"
    return why


def _host_in(url: str) -> tuple[str, ...]:
    try:
        return (URL(url, encoded=True).raw_host or "",)
    except ValueError:
        return ()
