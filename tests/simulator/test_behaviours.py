"""The seventeen behaviours that a client must survive can each be switched on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from runner.simulator import Fault, Settings
from runner.simulator.signing import Signer
from runner.simulator.webhooks import signature
from tests.simulator.asking import FAL_MODEL, KLING_MODEL, Start

GATEWAY = "kling-gateway"


async def test_01_status_codes_are_flat_or_not(start: Start) -> None:
    """Fal says 202 until it is done; proxies, and fal with the fault, always say 200."""
    client = await start(Fault("always-200", system="winfull"))
    expected = {"fal": 202, "winfull": 200, "quickrouter": 200, "uniapi": 200}
    for system, status in expected.items():
        await client.buy(system)
        assert (await client.poll(system)).status == status


@pytest.mark.parametrize("status", [404, 405])
async def test_02_the_status_route_can_be_missing(start: Start, status: int) -> None:
    """The status answers 404 or 405 while the result still works."""
    client = await start(Fault("status-route-missing", arg=status))
    await client.buy()
    assert (await client.poll()).status == status
    assert (await client.finish()).status == 200


async def test_03_failure_hides_in_completed(start: Start) -> None:
    """COMPLETED with an error, and COMPLETED without one whose result is 422."""
    client = await start(
        Fault("completed-with-error", times=1), Fault("result-refused", arg="no_media_generated")
    )
    await client.buy()
    await client.buy()
    results = [await client.finish(number=number) for number in (0, 1)]
    first, second = [(await client.poll(number=number)).json for number in (0, 1)]
    assert (first["status"], first["error_type"]) == ("COMPLETED", "runner_disconnected")
    assert (second["status"], "error" in second) == ("COMPLETED", False)
    assert [result.status for result in results] == [503, 422]
    assert results[1].json["detail"][0]["type"] == "no_media_generated"


@pytest.mark.parametrize("status", [None, 500, 200])
async def test_04_a_result_asked_for_too_early(start: Start, status: int | None) -> None:
    """400 with the known text, or 500, or a status object with 200."""
    client = await start(*[Fault("early-result", arg=status)] * (status is not None))
    await client.buy()
    answer = await client.poll(what="")
    assert answer.status == (status or 400)
    if status == 200:
        assert answer.json["status"] == "IN_QUEUE"
    else:
        assert answer.json == {"detail": "Request is still in progress"}


async def test_05_the_answer_to_an_accepted_submit_is_lost(start: Start) -> None:
    """The connection closes without a byte, and the task is in the ledger and billed."""
    client = await start(Fault("accepted-then-dropped", times=1))
    assert (await client.buy()).status == 0
    assert [task.billed(client.clock.now) for task in client.sim.ledger] == [True]
    assert (await client.finish()).status == 200


async def test_06_duplicates(start: Start) -> None:
    """Fal makes a second task of the same body; Kling refuses a known external_task_id."""
    client = await start()
    await client.buy()
    await client.buy()
    assert client.sim.ledger[0].digest == client.sim.ledger[1].digest
    await client.buy(GATEWAY, external_task_id="j")
    refused = await client.buy(GATEWAY, external_task_id="j")
    assert (refused.status, refused.json["code"], len(client.sim.ledger)) == (400, 1201, 3)
    client.sim.add_fault(Fault("duplicates-accepted"))
    assert (await client.buy(GATEWAY, external_task_id="j")).status == 200
    client.sim.clear_faults()
    client.sim.add_fault(Fault("duplicates-refused"))
    for status in (200, 400):
        answer = await client.buy("quickrouter", KLING_MODEL, external_task_id="k")
        assert answer.status == status


async def test_07_kling_refuses_what_exceeds_its_concurrency(start: Start) -> None:
    """429 with 1303 above N open tasks, 1 by fault; a stock gateway rewrites the text."""
    client = await start(settings=Settings(concurrency=2))
    answers = [await client.buy(GATEWAY) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].json["code"] == 1303
    client.clock.now = client.sim.ledger[0].end_at
    client.sim.add_fault(Fault("over-concurrency"))
    assert [(await client.buy(GATEWAY)).status for _ in range(2)] == [200, 429]
    for status in (200, 429):
        answer = await client.buy("quickrouter", KLING_MODEL)
        assert answer.status == status
    assert answer.json["code"] == "fail_to_fetch_task"


@pytest.mark.parametrize(
    ("system", "path", "status", "word"),
    [
        ("any", KLING_MODEL, 429, '"code": 1102'),
        ("any", FAL_MODEL, 403, "Exhausted balance"),
        ("quickrouter", KLING_MODEL, 403, "insufficient_user_quota"),
    ],
)
async def test_08_out_of_money_stays(
    start: Start, system: str, path: str, status: int, word: str
) -> None:
    """Every submit is refused in the words of the seller, and nothing is accepted."""
    client = await start("out-of-money")
    for _ in range(3):
        answer = await client.buy(system, path)
        assert answer.status == status
        assert word in answer.body.decode()
    assert len(client.sim.ledger) == 0


async def test_09_a_token_expires(start: Start) -> None:
    """The same token works for ARG seconds, then gets 401 with 1004; a new one works."""
    client = await start(Fault("token-expires", arg=10))
    paths = ("any", "POST", KLING_MODEL, {"prompt": "x"})
    codes = []
    for key, wait in (("a", 0), ("a", 9), ("a", 1), ("b", 0)):
        client.clock.now += wait
        codes.append((await client.ask(*paths, Authorization=f"Bearer {key}")).json["code"])
    assert codes == [0, 0, 1004, 0]


@pytest.mark.parametrize("status", [403, 404])
async def test_10_a_result_url_expires(start: Start, status: int) -> None:
    """The file is served until its lifetime after the end is over."""
    client = await start(settings=Settings(result_ttl=60, expired_status=status))
    await client.buy()
    url = (await client.finish()).json["video"]["url"]
    assert (await client.ask("fal", "GET", url)).status == 200
    client.clock.now += 60
    assert (await client.ask("fal", "GET", url)).status == status
    assert client.sim.ledger[0].downloads == 1


async def test_10_the_expiry_can_be_a_fault(start: Start) -> None:
    """With the fault, one file is gone ARG seconds after its task ended."""
    client = await start(Fault("result-expires", arg=0, times=1))
    assert (await client.file()).status == 403
    assert (await client.file()).status == 200


async def test_11_a_gateways_sweeper_gives_up(start: Start) -> None:
    """FAILURE with a timeout text and no upstream data; the ledger shows it as failed."""
    client = await start("sweeper-failure")
    await client.buy("quickrouter", KLING_MODEL)
    data = (await client.finish("quickrouter")).json["data"]
    assert (data["status"], data["data"], data["start_time"]) == ("FAILURE", None, 0)
    assert data["fail_reason"].startswith("任务超时")
    assert client.sim.ledger[0].state(client.clock.now) == "failed"


async def test_12_a_status_goes_backwards(start: Start) -> None:
    """Seen running, then queued, then running again: fal requeues."""
    client = await start("status-regresses")
    await client.buy()
    client.clock.now = client.sim.ledger[0].start_at
    words = [(await client.poll()).json["status"] for _ in range(4)]
    assert words == ["IN_PROGRESS", "IN_QUEUE", "IN_PROGRESS", "IN_QUEUE"]


async def test_13_an_unknown_word(start: Start) -> None:
    """A word nobody documented stands until the task is finished."""
    client = await start(Fault("unknown-status", arg="PONDERING"))
    await client.buy()
    await client.buy(GATEWAY)
    assert (await client.poll(number=0)).json["status"] == "PONDERING"
    assert (await client.poll(GATEWAY)).json["data"]["task_status"] == "PONDERING"
    assert (await client.finish(GATEWAY)).json["data"]["task_status"] == "succeed"
    assert (await client.poll(number=0)).json["status"] == "COMPLETED"


@pytest.mark.parametrize("system", ["fal", GATEWAY])
async def test_14_ids_are_bare_integers(start: Start, system: str) -> None:
    """The id is a JSON integer above 2**53 in submit and poll, and works in the path."""
    client = await start("integer-ids")

    def identity(document: Any) -> Any:
        return document["request_id"] if system == "fal" else document["data"]["task_id"]

    made = identity((await client.buy(system)).json)
    assert isinstance(made, int)
    assert made > 2**53
    assert identity((await client.poll(system)).json) == made


async def test_15_webhooks_come_twice_late_or_badly(start: Start) -> None:
    """Deliveries are made when due: once, twice, late, or never."""
    got: list[tuple[str, Any]] = []

    async def receive(request: web.Request) -> web.Response:
        got.append((request.path, json.loads(await request.read())))
        return web.Response()

    app = web.Application()
    app.router.add_post("/{name}", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = await start(
        Fault("webhook-twice", path="/kling/*"), Fault("webhook-late", path="*/late", arg=50),
        Fault("webhook-lost", path="*/lost"),
    )  # fmt: skip
    for name in ("plain", "late", "lost"):
        answer = await client.buy("any", f"/fal-ai/{name}?fal_webhook={hook}/{name}")
        assert answer.json["gateway_request_id"] == answer.json["request_id"]
    await client.buy("any", KLING_MODEL, callback_url=f"{hook}/kling")
    assert await client.sim.deliver_webhooks() == 0
    client.clock.now += 10
    await client.sim.deliver_webhooks()
    client.clock.now += 50
    await client.sim.deliver_webhooks()
    await runner.cleanup()
    assert sorted(path for path, _ in got) == ["/kling", "/kling", "/late", "/plain"]
    documents = dict(got)
    assert list(documents["/plain"]) == ["request_id", "gateway_request_id", "status", "payload"]
    assert documents["/plain"]["payload"]["video"]["url"].endswith(".mp4")
    assert documents["/kling"]["task_status"] == "succeed"


async def test_15_a_signature_can_be_wrong(start: Start) -> None:
    """Fal's deliveries carry four headers; with the fault the signature doesn't match."""
    signer = Signer(bytes(range(32)))
    for faults, right in (((), True), (("webhook-bad-signature",), False)):
        client = await start(*faults)
        await client.buy("any", f"/fal-ai/x?fal_webhook={client.sim.url}/elsewhere")
        client.sim._world.signer = signer
        headers = signature(client.sim._world, client.sim.ledger[0], b"{}", client.clock.now)
        parts = [
            headers[f"X-Fal-Webhook-{name}"] for name in ("Request-Id", "User-Id", "Timestamp")
        ]
        message = "\n".join([*parts, hashlib.sha256(b"{}").hexdigest()])
        good = signer.sign(message.encode()).hex()
        assert (headers["X-Fal-Webhook-Signature"] == good) is right


@pytest.mark.parametrize(
    ("secret", "public", "message", "signed"),
    [
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ],
)  # fmt: skip
def test_15_signatures_are_those_of_the_standard(
    secret: str, public: str, message: str, signed: str
) -> None:
    """Key and signature equal the vectors printed in RFC 8032."""
    signer = Signer(bytes.fromhex(secret))
    assert signer.public().hex() == public
    assert signer.sign(bytes.fromhex(message)).hex() == signed


async def test_16_urls_point_at_a_foreign_host(start: Start) -> None:
    """Returned URLs name another host; a key that is sent there is seen in the log."""
    client = await start("foreign-urls")
    url = (await client.buy()).json["status_url"]
    assert url.startswith("http://localhost:")
    answer = await client.ask("fal", "GET", url)
    entry = client.sim.log[-1]
    assert (answer.status, entry.key, entry.host.split(":")[0]) == (404, "sim-key", "localhost")
    named = await start(Fault("foreign-urls", arg="https://queue.example"))
    made = (await named.buy()).json
    assert made["cancel_url"].startswith("https://queue.example/fal-ai/kling-video/requests/")


async def test_17_downloads_go_wrong(start: Start) -> None:
    """No length, a wrong type, an ignored range, a cut and an empty file, each once."""
    client = await start()
    client.sim.add_fault(Fault("media-no-length", times=1))
    bare = await client.file()
    assert "Content-Length" not in bare.headers
    assert len(bare.body) > 1000
    client.sim.add_fault(Fault("media-wrong-type", times=1))
    assert (await client.file()).headers["Content-Type"] == "application/octet-stream"
    client.sim.add_fault(Fault("media-ignores-range", times=1))
    whole = await client.file(Range="bytes=10-19")
    assert (whole.status, len(whole.body) > 1000) == (200, True)
    client.sim.add_fault(Fault("media-empty", times=1))
    assert (await client.file()).body == b""
    client.sim.add_fault(Fault("media-cut", times=1))
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.file()
    assert (await client.file(Range="bytes=10-19")).status == 206
