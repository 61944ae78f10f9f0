"""What went wrong with a request, in our own words: the texts of aiohttp can hold keys and signed URLs."""

from __future__ import annotations

import os
import ssl

import aiohttp

FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What aiohttp raises for a request without an answer."""


class Broken(aiohttp.ClientError):
    """The connection broke after the request went out."""


async def once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request as often as it was asked for: aiohttp by itself repeats a GET, PUT or DELETE that broke.

    It does so on seeing these two errors, so another one takes their place. Connector errors it never repeats.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise Broken from None


def reason(error: BaseException, host: str) -> str:
    """Say why `host` gave no answer, in one line that holds no URL."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _certificate(error.certificate_error, host)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {host} can't be found. Check the network and base_url:"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return f"{host} does not speak TLS as it should ({_tls_word(error)}). Check base_url:"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection to {host} in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {host} ({_system_word(error.os_error)})"
    if isinstance(error, TimeoutError):
        return f"{host} did not answer in time"
    return f"the connection to {host} broke before the answer was whole"


def _certificate(error: BaseException, host: str) -> str:
    why = getattr(error, "verify_message", "") or "not trusted"
    return (
        f"the certificate of {host} is refused ({why}). Nothing was sent. Check base_url: and this machine's date; "
        "behind a company's proxy, name its certificate authority in SSL_CERT_FILE"
    )


def _tls_word(error: BaseException) -> str:
    inner = getattr(error, "os_error", error)
    return str(getattr(inner, "reason", None) or type(inner).__name__).lower().replace("_", " ")


def _system_word(error: OSError) -> str:
    known = error.errno is not None and error.errno > 0
    return os.strerror(error.errno).lower() if known and error.errno else type(error).__name__
