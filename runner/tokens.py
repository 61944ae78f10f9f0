"""Tokens minted from an access key and a secret key, as Kling documents them.

A token is a JWT: header `alg` HS256 and `typ` JWT; claims `iss` the access key, `exp` 1800 s ahead, `nbf` 5 s back;
signed with the secret key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field

LIFE = 1800.0
"""Seconds until a token expires; the provider accepts no longer life."""
_SET_BACK = 300.0
_OFF = 60.0  # seconds between two clocks that are no matter of the network
_BELIEVED = 2 * 86400.0
"""Whoever names a time gets a token for it, which it could use when that time comes: so not for any time."""


def mint(access: str, secret: str, now: float) -> str:
    """Sign a token for `access`, valid from 5 s before `now` (Unix seconds) for half an hour."""
    claims = {"iss": access, "exp": int(now + LIFE), "nbf": int(now) - 5}
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    signature = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64url(signature)}"


@dataclass(slots=True)
class TokenCache:
    """Keeps a token for four fifths of its life, for each access key.

    A token that the provider did not like (asked for with `fresh`) is replaced by one minted as if it were five
    minutes ago: that is valid for a server whose clock is behind ours ("not valid yet"), and for any other as well.
    Where the refusal told the provider's own time and ours is off by more than a minute, but not by days, tokens are
    minted for its time until the next refusal.
    """

    _tokens: dict[tuple[str, str], tuple[str, float, float]] = field(
        default_factory=dict, repr=False
    )
    _ahead: dict[str, float] = field(default_factory=dict)

    def token(
        self,
        access: str,
        secret: str,
        now: float,
        *,
        fresh: bool = False,
        server_now: float | None = None,
    ) -> str:
        """Return a token that is good at `now`; with `fresh`, one that was never used.

        `server_now` is the provider's time where it was told along with the refusal. All times in Unix seconds.
        """
        known = self._tokens.get((access, secret))
        if known is not None and not fresh and known[1] <= now < known[2]:
            return known[0]
        if fresh:
            ahead = now if server_now is None else server_now
            self._ahead[access] = ahead - now if _OFF < abs(ahead - now) < _BELIEVED else 0.0
        back = _SET_BACK if fresh else 0.0
        token = mint(access, secret, now + self._ahead.get(access, 0.0) - back)
        self._tokens[access, secret] = (token, now, now + 0.8 * (LIFE - back))
        return token


def _part(value: dict[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
