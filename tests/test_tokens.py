"""Tokens: what Kling documents, read back by PyJWT, which we did not write."""

from __future__ import annotations

import jwt
import pytest

from runner.tokens import LIFE, TokenCache, mint

NOW = 1_800_000_000.7
SECRET = "s3cret-key-of-at-least-thirty-two-bytes"


def _claims(token: str, secret: str = SECRET) -> dict[str, object]:
    return jwt.decode(
        token, secret, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False}
    )


def test_claims_and_header_are_the_documented_ones() -> None:
    """A token names the access key, lives 1800 s, and is valid from 5 s ago."""
    token = mint("access", SECRET, NOW)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert _claims(token) == {
        "iss": "access",
        "exp": int(NOW) + 1800,
        "nbf": int(NOW) - 5,
    }


def test_another_secret_does_not_verify() -> None:
    """The signature depends on the secret key."""
    with pytest.raises(jwt.InvalidSignatureError):
        _claims(mint("access", SECRET, NOW), SECRET + "x")


def test_names_outside_ascii_survive() -> None:
    """Keys are signed and carried as UTF-8."""
    assert _claims(mint("clé", SECRET + "é", NOW), SECRET + "é")["iss"] == "clé"


def test_cache_keeps_a_token_for_four_fifths_of_its_life() -> None:
    """One token serves until 80 % of its life is over, then another one does."""
    cache = TokenCache()
    first = cache.token("access", SECRET, NOW)
    assert cache.token("access", SECRET, NOW + 0.79 * LIFE) == first
    assert cache.token("access", SECRET, NOW + 0.81 * LIFE) != first


def test_cache_mints_anew_when_the_clock_was_set_back() -> None:
    """A token from the future would be "not valid yet"."""
    cache = TokenCache()
    first = cache.token("access", SECRET, NOW)
    assert cache.token("access", SECRET, NOW - 60) != first


def test_fresh_token_suits_a_server_whose_clock_is_behind() -> None:
    """A token asked for anew is valid from minutes ago, not longer than allowed, and used from then on."""
    cache = TokenCache()
    first = cache.token("access", SECRET, NOW)
    fresh = cache.token("access", SECRET, NOW, fresh=True)
    claims = _claims(fresh)
    assert fresh != first
    assert claims["nbf"] == int(NOW) - 305
    assert claims["exp"] == int(NOW) + 1500
    assert cache.token("access", SECRET, NOW + 1) == fresh
    assert cache.token("access", SECRET, NOW + 1210) != fresh


@pytest.mark.parametrize("off", [86_400.0, -86_400.0, 90.0, -400.0])
def test_the_provider_s_clock_counts_where_ours_is_wrong(off: float) -> None:
    """Ours a day ahead or behind: once the provider has said what time it is, tokens are good there, later ones too."""
    cache = TokenCache()
    cache.token("access", SECRET, NOW + off)
    for later in (0.0, 0.9 * LIFE):
        fresh = later == 0.0
        server = NOW if fresh else None
        token = cache.token("access", SECRET, NOW + off + later, fresh=fresh, server_now=server)
        claims = _claims(token)
        assert (
            int(str(claims["nbf"])) <= NOW + later < int(str(claims["exp"])) <= NOW + later + LIFE
        )
    right = cache.token(
        "access", SECRET, NOW, fresh=True, server_now=NOW
    )  # and then it was set right
    assert int(str(_claims(right)["nbf"])) <= NOW < int(str(_claims(right)["exp"]))


@pytest.mark.parametrize("off", [3 * 86_400.0, -3 * 86_400.0, 2e9])
def test_nobody_gets_a_token_for_a_far_time(off: float) -> None:
    """A server that names a time years from now gets no token that it could use then."""
    token = TokenCache().token("access", SECRET, NOW, fresh=True, server_now=NOW + off)
    assert _claims(token)["exp"] == int(NOW) + 1500


def test_a_slow_answer_is_no_wrong_clock() -> None:
    """Less than a minute between the two clocks may be the network, and changes nothing."""
    cache = TokenCache()
    token = cache.token("access", SECRET, NOW, fresh=True, server_now=NOW + 50.0)
    assert _claims(token)["exp"] == int(NOW) + 1500


def test_each_key_has_its_own_token() -> None:
    """Two accounts never share a token."""
    cache = TokenCache()
    assert _claims(cache.token("one", SECRET, NOW))["iss"] == "one"
    assert _claims(cache.token("two", SECRET, NOW))["iss"] == "two"


def test_cache_does_not_show_its_tokens() -> None:
    """A cache that ends up in a log holds no token."""
    cache = TokenCache()
    token = cache.token("access", SECRET, NOW)
    assert token not in repr(cache)
    assert SECRET not in repr(cache)
