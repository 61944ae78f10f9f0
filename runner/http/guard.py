"""Which addresses a connection for a result may be made to."""

from __future__ import annotations

import socket
from collections.abc import Collection

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from runner import addresses


class Forbidden(OSError):
    """A name leads to an address that may not be visited."""


class Guard(AbstractResolver):
    """Looks names up, and lets through only addresses that may be visited.

    It stands at two doors: names are filtered as they are looked up, and no socket is made for an address that did not
    pass. So a name that is public now and private a moment later gains nothing.
    """

    def __init__(self, resolver: AbstractResolver, media_hosts: Collection[str]) -> None:
        self._resolver = resolver
        self._media_hosts = media_hosts
        self._listed = {addresses.plain_host(host) for host in media_hosts}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up; addresses that may not be visited are left out."""
        found = await self._resolver.resolve(host, port, family)
        if addresses.is_listed(host, self._media_hosts):
            self._listed |= {addresses.plain_host(one["host"]) for one in found}
            return found
        public = [one for one in found if addresses.is_public(one["host"])]
        if found and not public:
            raise Forbidden(
                f"{host} leads to {found[0]['host']}, which is not a public address. "
                "If a VPN or proxy of yours answers like that, list the host under media_hosts:"
            )
        return public

    def socket(self, info: AddrInfoType) -> socket.socket:
        """Make the socket for one address; aiohttp calls this right before it connects."""
        family, kind, protocol, _, address = info
        peer = str(address[0])
        if not addresses.is_public(peer) and addresses.plain_host(peer) not in self._listed:
            raise Forbidden(f"{peer} is not a public address")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """The resolver underneath belongs to whoever made it."""
