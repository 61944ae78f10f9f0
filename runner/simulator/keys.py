"""Who is let in: the scheme word, the key, and Kling's HS256 tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

from . import complaints
from .reply import Call, Json, Reply
from .settings import Settings
from .world import World


def refusal(world: World, call: Call) -> Reply | None:
    """Return the system's answer to a bad key, or None when the caller is let in."""
    scheme, key = call.credential
    code = (
        0
        if call.system.auth == "any"
        else _key_code(world, call.system.auth, scheme, key, call.now)
    )
    if fault := world.faults.fires("token-expires", call):
        first = world.first_seen.setdefault(key, call.now)
        code = 1004 if call.now >= first + fault.number else code
    if world.faults.fires("bad-key", call):
        code = 1002
    return complaints.bad_key(world, call, code) if code else None


def _key_code(world: World, wanted: str, scheme: str, key: str, now: float) -> int:
    """Return 0 when the key will do, else Kling's code for what is wrong with it."""
    if not scheme:
        return 1001
    if scheme != ("Bearer" if wanted == "JWT" else wanted) or not key:
        return 1002
    if wanted == "JWT":
        return token_code(key, world.settings, now)
    return 0 if world.settings.accept_any_key or key in world.settings.keys else 1000


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def token_code(token: str, settings: Settings, now: float) -> int:
    """Return 0 for a good token, else Kling's code: 1000 signature or issuer, 1002 form, 1003, 1004."""
    try:
        head, claims, signature = token.split(".")
        header: Json = json.loads(_decoded(head))
        payload: Json = json.loads(_decoded(claims))
        given = _decoded(signature)
        issuer, algorithm = payload["iss"], header["alg"]
        expires, starts = float(payload["exp"]), float(payload.get("nbf", 0))
    except (ValueError, KeyError, TypeError):
        return 1002
    message = f"{head}.{claims}".encode()
    right = hmac.new(settings.secret_key.encode(), message, hashlib.sha256).digest()
    if algorithm != "HS256" or issuer != settings.access_key:
        return 1000
    if not hmac.compare_digest(right, given):
        return 1000
    if now < starts:
        return 1003
    return 1004 if now >= expires else 0
