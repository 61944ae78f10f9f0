"""Keys are asked for in the scheme of each system; tokens are verified."""

from __future__ import annotations

import hashlib
from typing import Any

import jwt
import pytest

from runner.simulator import Settings
from tests.simulator.asking import Client, Start

PATH = "/v1/videos/text2video"
NOW = 1_762_157_958


def token(secret: str = "sim-secret", algorithm: str = "HS256", **claims: Any) -> str:
    """Mint a token as Kling documents it."""
    payload = {"iss": "sim-access", "exp": NOW + 1800, "nbf": NOW - 5, **claims}
    return jwt.encode(payload, secret.ljust(64), algorithm=algorithm)


@pytest.fixture
async def kling(start: Start) -> Client:
    """A simulator whose secret is long enough for the library that signs."""
    return await start(settings=Settings(secret_key="sim-secret".ljust(64)))


async def test_a_signed_token_is_let_in(kling: Client) -> None:
    """A token signed by an independent library is good for submit and query."""
    key = f"Bearer {token()}"
    made = await kling.ask("kling", "POST", PATH, {"prompt": "x"}, Authorization=key)
    assert made.json["code"] == 0
    task = made.json["data"]["task_id"]
    asked = await kling.ask("kling", "GET", f"{PATH}/{task}", Authorization=key)
    assert asked.json["data"]["task_status"] == "submitted"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (f"Bearer {token(secret='wrong')}", 1000),
        (f"Bearer {token(iss='somebody')}", 1000),
        (f"Bearer {token(algorithm='HS512')}", 1000),
        ("", 1001),
        ("Bearer not.a.token", 1002),
        ("Bearer sim-key", 1002),
        (f"Key {token()}", 1002),
        (f"Bearer {token(nbf=NOW + 60)}", 1003),
        (f"Bearer {token(exp=NOW)}", 1004),
    ],
)
async def test_a_bad_token_gets_its_code(kling: Client, header: str, code: int) -> None:
    """Signature, presence, form, not yet and no longer valid are told apart; all are 401."""
    answer = await kling.ask("kling", "POST", PATH, {"prompt": "x"}, Authorization=header)
    assert (answer.status, answer.json["code"]) == (401, code)
    assert len(kling.sim.ledger) == 0


@pytest.mark.parametrize(
    ("system", "scheme"),
    [("winfull", "Key"), ("quickrouter", "Key"), ("uniapi", "Bearer"), ("kling-gateway", "Key")],
)
async def test_a_reseller_refuses_the_other_scheme(
    client: Client, system: str, scheme: str
) -> None:
    """The gateway's own 401, not the protocol's."""
    path = "/kling/v1/videos/text2video"
    answer = await client.ask(system, "POST", path, {}, Authorization=f"{scheme} k")
    assert (answer.status, answer.json["error"]["type"]) == (401, "new_api_error")


async def test_fal_refuses_bearer(client: Client) -> None:
    """The word must be Key."""
    answer = await client.ask("fal", "POST", "/fal-ai/x", {}, Authorization="Bearer k")
    assert (answer.status, answer.json) == (401, {"detail": "Authentication is required"})


async def test_known_keys_can_be_insisted_on(start: Start) -> None:
    """With accept_any_key off only the listed keys are let in."""
    client = await start(settings=Settings(accept_any_key=False, keys=("good",)))
    for key, status in (("good", 200), ("bad", 401)):
        answer = await client.ask("fal", "POST", "/fal-ai/x", {"prompt": "x"}, Authorization=f"Key {key}")  # fmt: skip
        assert answer.status == status


async def test_the_ledger_never_holds_a_key(client: Client) -> None:
    """Only a fingerprint is kept with a task; the log of requests has the key itself."""
    await client.ask("fal", "POST", "/fal-ai/x", {"prompt": "x"}, Authorization="Key a:topsecret")
    entry = client.sim.ledger[0].as_dict(client.clock.now)
    assert "topsecret" not in repr(entry)
    assert entry["key_fingerprint"] == hashlib.sha256(b"a:topsecret").hexdigest()[:12]
    assert client.sim.log[0].key == "a:topsecret"
