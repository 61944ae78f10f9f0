"""Ed25519 signatures, as fal puts them on its webhooks (RFC 8032, in plain Python).

Slow and not hardened against timing: good for signing test deliveries, for nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

_P = 2**255 - 19
_Q = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_Point = tuple[int, int, int, int]


def _add(a: _Point, b: _Point) -> _Point:
    """Add two points in extended coordinates."""
    e = (a[1] - a[0]) * (b[1] - b[0]) % _P
    f = (a[1] + a[0]) * (b[1] + b[0]) % _P
    g = 2 * a[3] * b[3] * _D % _P
    h = 2 * a[2] * b[2] % _P
    i, j, k, m = f - e, h - g, h + g, f + e
    return (i * j % _P, k * m % _P, j * k % _P, i * m % _P)


def _times(number: int, point: _Point) -> _Point:
    total = (0, 1, 1, 0)
    while number > 0:
        if number & 1:
            total = _add(total, point)
        point = _add(point, point)
        number >>= 1
    return total


def _base_point() -> _Point:
    y = 4 * pow(5, _P - 2, _P) % _P
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    x = _P - x if x & 1 else x
    return (x, y, 1, x * y % _P)


_BASE = _base_point()


def _packed(point: _Point) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with one secret of 32 bytes."""

    secret: bytes

    def _halves(self) -> tuple[int, bytes]:
        digest = hashlib.sha512(self.secret).digest()
        scalar = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
        return scalar, digest[32:]

    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return _packed(_times(self._halves()[0], _BASE))

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        scalar, prefix = self._halves()
        public = self.public()
        r = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % _Q
        commitment = _packed(_times(r, _BASE))
        digest = hashlib.sha512(commitment + public + message).digest()
        s = (r + int.from_bytes(digest, "little") * scalar) % _Q
        return commitment + s.to_bytes(32, "little")

    def jwks(self) -> dict[str, object]:
        """The document that publishes the public key: OKP keys with a base64url `x`."""
        x = base64.urlsafe_b64encode(self.public()).rstrip(b"=").decode()
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}
