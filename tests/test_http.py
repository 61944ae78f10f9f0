"""The network edge: where keys go, what is sent how often, and what is said when there is no answer.

Everything here goes over real sockets on the loopback.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import socket
import ssl
import subprocess
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from runner.causes import Cause
from runner.clock import Clock
from runner.errors import DownloadError, KeyMissing, MaybeSent, NotSent, TransportError, UsageError
from runner.events import Refused
from runner.files import Files
from runner.http import BODY_CAP, Http, client
from runner.http.guard import Guard
from runner.http.results import _next_hop
from runner.keys import Keys
from runner.providers import Kling, Order
from runner.providers.provider import Auth, Provider
from runner.steps import Edges, submit
from runner.wire import Request

CANARY = "k3y-c4n4ry-0123456789"
REDIRECTS = [301, 302, 303, 307, 308]
PAID = Request("POST", "/v1/videos", {"prompt": "a lord"}, paid=True)
POLL = Request("GET", "/v1/videos/7")


class Quick(Clock):
    """A clock that never makes anyone wait."""

    async def sleep(self, seconds: float) -> None:
        """Note the wait and go on."""
        assert 0 <= seconds < 10
        await asyncio.sleep(0)


class Sleepy(Clock):
    """The clock of a machine that was suspended for `slept` seconds."""

    slept = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return super().now() + self.slept


def reply(status: int = 200, body: bytes = b"{}", /, **headers: str) -> bytes:
    """Write out an answer; header names with `_` for `-`."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


Script = Callable[[int], bytes | None]
"""What to answer the n-th request (from 1) with; None: hang up without a word."""


@dataclass
class Witness:
    """A server that keeps every byte it is sent."""

    port: int = 0
    script: Script = lambda _: reply()
    seen: list[bytes] = field(default_factory=list)
    connections: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    tls: ssl.SSLContext | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests by the script until it hangs up."""
        self.connections += 1
        self.writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self.seen.append(head + await reader.readexactly(int(length or 0)))
                answer = self.script(len(self.seen))
                if answer is None:
                    break
                if answer == b"HANG":
                    await self.release.wait()
                    break
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer.lower():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start witnesses on free ports; they are gone after the test."""
    async with AsyncExitStack() as stack:

        async def begin(script: Script = lambda _: reply(), **settings: Any) -> Witness:
            witness = Witness(script=script, **settings)
            server = await asyncio.start_server(witness.serve, "127.0.0.1", 0, ssl=witness.tls)
            witness.port = server.sockets[0].getsockname()[1]

            async def end() -> None:
                witness.release.set()
                server.close()
                for writer in witness.writers:  # from 3.12 on, waiting for a server waits for them
                    writer.close()
                await asyncio.wait_for(server.wait_closed(), 5)

            stack.push_async_callback(end)
            return witness

        yield begin


def provider(base_url: str, **changes: Any) -> Provider:
    """A provider as a user writes one that is on this machine."""
    known = Provider(
        "test", base_url, Auth("Key", "TEST_KEY"), media_hosts=("127.0.0.1",), private=True
    )
    return replace(known, **changes)


KEYS = Keys({"TEST_KEY": CANARY, "ACCESS": "access-key-1", "SECRET": CANARY * 2})


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """The edge under test."""
    async with Http(KEYS, Quick()) as opened:
        yield opened


def unused_port() -> int:
    """A port that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def said(error: BaseException) -> str:
    """Everything that an error can show, causes and contexts included."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        parts += [str(current), repr(current), repr(current.args)]
        current = current.__cause__ or current.__context__
    return "\n".join([*parts, *traceback.format_exception(error)])


async def test_request_arrives_as_it_was_meant(http: Http, start: Start) -> None:
    """Method, path, query, key and body arrive; nothing is asked to be compressed; headers come back in lower case."""
    witness = await start(lambda _: reply(202, b'{"id": 1}', Retry_After="7", X_Kind="a"))
    base = provider(f"{witness.url}/kling/")
    request = Request("POST", "/v1/a%2Fb", {"prompt": "é"}, query={"q": "1/2 3"}, paid=True)
    response = await http.send(base, request)
    assert (response.status, response.json) == (202, {"id": 1})
    assert (response.headers["retry-after"], response.headers["x-kind"]) == ("7", "a")
    head, _, body = witness.seen[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /kling/v1/a%2Fb?q=1%2F2+3 HTTP/1.1"
    assert f"Authorization: Key {CANARY}" in lines
    assert "Accept-Encoding: identity" in lines
    assert "Content-Type: application/json" in lines
    assert json.loads(body) == {"prompt": "é"}


async def test_token_is_minted_kept_and_replaced_on_demand(http: Http, start: Start) -> None:
    """With JWT, requests share a token until one asks for a fresh one."""
    witness = await start()
    kling = provider(witness.url, auth=Auth("JWT", "ACCESS", "SECRET"))
    for fresh in (False, False, True):
        await http.send(kling, replace(POLL, fresh_token=fresh))
    tokens = [
        seen.partition(b"Authorization: Bearer ")[2].partition(b"\r\n")[0].decode()
        for seen in witness.seen
    ]
    assert tokens[0] == tokens[1] != tokens[2]
    assert jwt.decode(tokens[2], CANARY * 2, algorithms=["HS256"])["iss"] == "access-key-1"
    assert not any(CANARY.encode() in seen for seen in witness.seen)


async def test_missing_key_sends_nothing(http: Http, start: Start) -> None:
    """Without a key there is no request."""
    witness = await start()
    for auth in (Auth("Key", "ABSENT"), Auth("JWT", "ACCESS"), Auth("JWT", "ACCESS", "ABSENT")):
        with pytest.raises(KeyMissing):
            await http.send(provider(witness.url, auth=auth), PAID)
    assert witness.connections == 0


@pytest.mark.parametrize("request_", [PAID, POLL], ids=["paid", "poll"])
@pytest.mark.parametrize("status", REDIRECTS)
async def test_redirect_is_an_answer_and_never_followed(
    status: int, request_: Request, http: Http, start: Start
) -> None:
    """No redirect takes a key anywhere: to another port, another name, or another path of the same host."""
    foreign = await start()
    targets = [f"{foreign.url}/x", f"http://localhost:{foreign.port}/x", "//[::1]/x", "/elsewhere"]
    for target in targets:
        witness = await start(lambda _, to=target: reply(status, b"", Location=to))
        response = await http.send(provider(witness.url), request_)
        assert (response.status, response.headers["location"]) == (status, target)
        assert len(witness.seen) == 1
    assert foreign.connections == 0


@pytest.mark.parametrize(
    "path",
    [
        "//127.0.0.1:{}/x",
        "http://127.0.0.1:{}/x",
        "@127.0.0.1:{}/x",
        "/../x",
        "/%2e%2e/x",
        "\\x",
        "",
    ],
)
async def test_path_never_takes_the_key_to_another_host(
    path: str, http: Http, start: Start
) -> None:
    """A path that is really a URL, or leads upwards, is not sent at all."""
    foreign, witness = await start(), await start()
    with pytest.raises(NotSent):
        await http.send(provider(witness.url), replace(POLL, path=path.format(foreign.port)))
    assert foreign.connections == witness.connections == 0


@pytest.mark.parametrize(
    "base", ["http://api.example", "https://127.0.0.1:1", "https://u:p@api.example", "api.example"]
)
async def test_base_url_that_the_user_did_not_write_is_public_https(base: str, http: Http) -> None:
    """Plain http and private addresses need the user's own hand."""
    with pytest.raises(UsageError, match="base_url of test"):
        await http.send(provider(base, private=False), PAID)


async def test_cookies_are_not_kept(start: Start) -> None:
    """What a server asks to be remembered is forgotten."""
    witness = await start(lambda _: reply(200, b"{}", Set_Cookie="session=1; Path=/"))
    async with Http(KEYS, Quick(), resolver=Names({"api.lan": [["127.0.0.1"]]})) as http:
        who = provider(f"http://api.lan:{witness.port}", media_hosts=("api.lan",))
        for request in (POLL, POLL, PAID, PAID):
            await http.send(who, request)
        for _ in range(2):
            await _body(http, who, f"http://api.lan:{witness.port}/x")
    assert len(witness.seen) == 6
    assert not any(b"cookie" in seen.lower() for seen in witness.seen)


async def test_nothing_from_outside_is_used(
    http: Http, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies and netrc of the environment are ignored."""
    proxy = await start()
    (tmp_path / "netrc").write_text("default login l password p\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    witness = await start()
    await http.send(provider(witness.url), POLL)
    await http.send(provider(witness.url), PAID)
    async with http.download(provider(witness.url), f"{witness.url}/x"):
        pass
    assert proxy.connections == 0
    assert len(witness.seen) == 3
    assert CANARY.encode() not in witness.seen[2]
    assert b"authorization" not in witness.seen[2].lower()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (lambda _: None, MaybeSent),
        (
            lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{}",
            MaybeSent,
        ),
        (lambda _: b"SMTP ready\r\n\r\nconnection: close", MaybeSent),
        (lambda _: reply(500, b"oops"), None),
        (lambda _: reply(503, b"", Retry_After="0"), None),
        (lambda _: reply(429, b"{}"), None),
        (lambda _: reply(408, b""), None),
    ],
    ids=["drop", "cut", "garbage", "500", "503", "429", "408"],
)
async def test_paid_request_is_sent_once_whatever_happens(
    script: Script, error: type[TransportError] | None, http: Http, start: Start
) -> None:
    """A paid request reaches the server exactly once; without an answer it may have been sent."""
    witness = await start(script)
    if error is None:
        assert (await http.send(provider(witness.url), PAID)).status >= 400
    else:
        with pytest.raises(error) as caught:
            await http.send(provider(witness.url), PAID)
        assert CANARY not in said(caught.value)
    assert len(witness.seen) == 1


async def test_the_right_to_send_holds_for_the_second_try_too(start: Start, tmp_path: Path) -> None:
    """Asleep while the token was refused: the request with the new one does not leave hours late."""
    clock = Sleepy()

    def refuse_and_sleep(_: int) -> bytes:
        clock.slept += 8 * 3600.0
        return reply(401, b'{"code": 1004, "message": "expired"}')

    witness = await start(refuse_and_sleep)
    kling = provider(witness.url, auth=Auth("JWT", "ACCESS", "SECRET"))
    order = Order("v1/videos/text2video", {"prompt": "a lord"}, "ref-1")
    right = (clock.now() + 30, clock.monotonic() + 30)
    async with Http(KEYS, clock) as http:
        edges = Edges(http, Files(tmp_path, clock), clock)
        event = await submit(edges, kling, Kling(kling), order, right)
    assert isinstance(event, Refused)
    assert (event.detail, len(witness.seen)) == ("the right to send had expired", 1)


async def test_paid_requests_never_share_a_connection(http: Http, start: Start) -> None:
    """A connection that may have gone stale is never used for a paid request."""
    witness = await start()
    for _ in range(3):
        await http.send(provider(witness.url), PAID)
    assert (witness.connections, len(witness.seen)) == (3, 3)
    for _ in range(3):
        await http.send(provider(witness.url), POLL)
    assert (witness.connections, len(witness.seen)) == (4, 6)


async def test_poll_is_tried_again_on_transport_errors_only(http: Http, start: Start) -> None:
    """A dropped poll is repeated within seconds; an error answer is not."""
    witness = await start(lambda n: None if n < 3 else reply(500, b"x"))
    assert (await http.send(provider(witness.url), POLL)).status == 500
    assert len(witness.seen) == 3


async def test_poll_gives_up_after_three_tries(http: Http, start: Start) -> None:
    """Longer troubles are the engine's, which knows what else there is to do."""
    witness = await start(lambda _: None)
    with pytest.raises(TransportError):
        await http.send(provider(witness.url), POLL)
    assert len(witness.seen) == 3


@pytest.mark.parametrize(
    ("method", "paid"),
    [("PUT", False), ("POST", False), ("DELETE", False), ("PUT", True), ("GET", True)],
)
async def test_what_costs_or_changes_is_sent_once(
    method: str, paid: bool, http: Http, start: Start
) -> None:
    """Neither a cancel nor anything paid is repeated by itself, by no layer, whatever its method."""
    witness = await start(lambda _: None)
    with pytest.raises(MaybeSent):
        await http.send(provider(witness.url), Request(method, "/cancel", paid=paid))
    assert len(witness.seen) == 1


async def test_refused_connection_was_not_sent(http: Http) -> None:
    """Nothing listens: nothing was sent."""
    with pytest.raises(NotSent, match="refused") as caught:
        await http.send(provider(f"http://127.0.0.1:{unused_port()}"), PAID)
    assert CANARY not in said(caught.value)


class Names(AbstractResolver):
    """A resolver that knows what the test tells it: a new answer for each look-up, the last one for ever."""

    def __init__(self, known: Mapping[str, list[list[str]]]) -> None:
        self.known = known

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look `host` up in what is known."""
        answers = self.known.get(host)
        if answers is None:
            raise OSError(None, "DNS lookup failed")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if found == ["hang"]:
            await asyncio.Event().wait()
        return [
            ResolveResult(
                hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for one in found
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def test_unknown_name_was_not_sent() -> None:
    """A name that can't be found: nothing was sent, and the message says which name."""
    async with Http(KEYS, Quick(), resolver=Names({})) as http:
        with pytest.raises(NotSent, match=r"api\.absent can't be found") as caught:
            await http.send(provider("http://api.absent/base"), PAID)
    assert CANARY not in said(caught.value)


async def test_connection_that_is_not_made_in_time_was_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time that passes before a connection exists costs nothing."""
    monkeypatch.setattr(client, "_PAID", aiohttp.ClientTimeout(total=30, connect=0.05))
    async with Http(KEYS, Quick(), resolver=Names({"slow.example": [["hang"]]})) as http:
        with pytest.raises(NotSent, match="in time"):
            await http.send(provider("http://slow.example"), PAID)


async def test_silence_after_the_request_may_have_been_sent(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time that passes after the request left proves nothing."""
    monkeypatch.setattr(client, "_PAID", aiohttp.ClientTimeout(total=0.2, connect=15))
    witness = await start(lambda _: b"HANG")
    async with Http(KEYS, Quick()) as http:
        with pytest.raises(MaybeSent, match="in time"):
            await http.send(provider(witness.url), PAID)
    assert len(witness.seen) == 1


async def test_tls_failure_was_not_sent_and_suggests_nothing_unsafe(http: Http) -> None:
    """A server that doesn't speak TLS gets no request."""
    heard: list[bytes] = []

    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4096))
        writer.write(reply(400))
        writer.close()

    server = await asyncio.start_server(speak_plainly, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(NotSent, match="TLS") as caught:
            await http.send(provider(f"https://127.0.0.1:{port}"), PAID)
    assert not any(CANARY.encode() in data for data in heard)
    assert not {"verify", "insecure", "disable"} & set(str(caught.value).lower().split())


def openssl(folder: Path, command: str) -> None:
    """Run openssl in a folder."""
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def certified(
    folder: Path, *, authority: str = "ours", name: str = "IP:127.0.0.1", days: int = 2
) -> ssl.SSLContext:
    """What a server needs to show a certificate for `name`, signed by an authority or by itself."""
    new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for each in ("ours", "theirs"):
        openssl(
            folder,
            f"req -x509 {new_key} -days 2 -subj /CN={each} -keyout {each}.key -out {each}.pem",
        )
    openssl(folder, f"req {new_key} -subj /CN=server -keyout key.pem -out request.pem")
    (folder / "name").write_text(f"subjectAltName={name}")
    signed = f"-CA {authority}.pem -CAkey {authority}.key -CAcreateserial"
    if authority == "itself":
        signed = "-signkey key.pem"
    openssl(folder, f"x509 -req -in request.pem {signed} -days {days} -extfile name -out cert.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ({"days": -1}, "expired"),
        ({"name": "DNS:other.example"}, "not valid for '127.0.0.1'"),
        (
            {"authority": "theirs"},
            "unable to get local issuer",
        ),  # as behind a proxy that reads along
        ({"authority": "itself"}, "self-signed"),
    ],
    ids=["expired", "other host", "unknown authority", "self-signed"],
)
async def test_certificate_that_is_not_trusted_stops_the_request(
    start: Start, tmp_path: Path, shown: dict[str, Any], why: str
) -> None:
    """Nothing is sent, the message says why and what to do, and nothing in it suggests to look away."""
    witness = await start(tls=await asyncio.to_thread(partial(certified, tmp_path, **shown)))
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ours.pem"))
    async with Http(KEYS, Quick(), tls=trusting) as http:
        with pytest.raises(NotSent, match=r"certificate of 127\.0\.0\.1 is refused") as caught:
            await http.send(provider(witness.url), PAID)
        with pytest.raises(TransportError):
            await http.send(provider(witness.url), POLL)
    text = str(caught.value)
    assert why in text.replace("self signed", "self-signed")
    assert "SSL_CERT_FILE" in text
    assert not {"verify", "insecure", "disable", "ignore", "--no"} & set(text.lower().split())
    assert witness.seen == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
async def test_authority_of_ones_own_is_trusted(start: Start, tmp_path: Path) -> None:
    """A certificate that the user's own authority signed for this host lets requests through."""
    witness = await start(tls=await asyncio.to_thread(certified, tmp_path))
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ours.pem"))
    async with Http(KEYS, Quick(), tls=trusting) as own:
        assert (await own.send(provider(witness.url), PAID)).status == 200


async def test_errors_hold_neither_key_nor_query(http: Http) -> None:
    """What an error shows, causes and traceback included, has no key, no header and no query in it."""
    base = provider(f"http://127.0.0.1:{unused_port()}")
    request = replace(PAID, query={"sign": "s1gn4tur3"})
    with pytest.raises(NotSent) as caught:
        await http.send(base, request)
    assert caught.value.__context__ is None
    for secret in (CANARY, "s1gn4tur3", "Authorization"):
        assert secret not in said(caught.value)


@pytest.mark.parametrize("coding", ["", "gzip", "br"])
async def test_answer_beyond_the_cap_is_garbage(coding: str, http: Http, start: Start) -> None:
    """An answer that is too large, or becomes so when unpacked, counts as one without content."""
    body = b'{"a": "' + b"0" * BODY_CAP + b'"}'
    sent = gzip.compress(body) if coding == "gzip" else body if not coding else b"\x1b\0\0"
    extra = {"Content_Encoding": coding} if coding else {}
    witness = await start(lambda _: reply(200, sent, **extra))
    response = await http.send(provider(witness.url), PAID)
    assert (response.status, response.body, response.json) == (200, b"", None)


async def test_compressed_answer_is_read_although_nobody_asked_for_it(
    http: Http, start: Start
) -> None:
    """A server that compresses regardless is understood: its answer may hold the id of a paid job."""
    packed = gzip.compress(b'{"id": "7"}')
    witness = await start(lambda _: reply(200, packed, Content_Encoding="gzip"))
    assert (await http.send(provider(witness.url), PAID)).json == {"id": "7"}
    witness.script = lambda _: reply(200, packed[:9], Content_Encoding="gzip")
    assert (await http.send(provider(witness.url), PAID)).json is None


async def _body(
    http: Http, who: Provider, url: str, headers: Mapping[str, str] | None = None
) -> bytes:
    async with http.download(who, url, headers) as stream:
        assert stream.status in {200, 206}
        return b"".join([chunk async for chunk in stream.chunks()])


@pytest.mark.parametrize("status", REDIRECTS)
async def test_result_redirects_are_followed_without_a_key(
    status: int, http: Http, start: Start
) -> None:
    """The way to a result may lead over other hosts; no key and no other header of ours goes along."""
    last = await start(lambda _: reply(200, b"clip"))
    middle = await start(lambda _: reply(status, b"", Location=f"{last.url}/x?sign=a%2Fb"))
    first = await start(lambda n: reply(status, b"", Location="/next" if n == 1 else middle.url))
    wanted = {"Range": "bytes=3-", "If-Range": '"e"', "Authorization": CANARY, "X-Api-Key": CANARY}
    assert await _body(http, provider(first.url), f"{first.url}/x", wanted) == b"clip"
    for seen in (*first.seen, *middle.seen, *last.seen):
        assert CANARY.encode() not in seen
        assert b"Range: bytes=3-" in seen
        assert b"If-Range: " in seen
        assert b"Accept-Encoding: identity" in seen
    assert last.seen[0].startswith(b"GET /x?sign=a%2Fb HTTP/1.1\r\n")


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/x",
        "http://[::ffff:127.0.0.1]:{port}/x",
        "http://2130706433:{port}/x",
        "http://localhost:{port}/x",
        "http://private.example:{port}/x",
        "https://private.example:{port}/x",
        "https://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "http://user:pass@127.0.0.1:{port}/x",
    ],
)
async def test_result_redirect_to_a_private_place_is_refused(
    status: int, target: str, start: Start
) -> None:
    """A redirect to anywhere but a public or a listed host ends there, before a connection is made."""
    inside = await start()
    location = target.format(port=inside.port)
    witness = await start(lambda _: reply(status, b"", Location=location))
    names = Names({"private.example": [["127.0.0.1"]]})
    async with Http(KEYS, Quick(), resolver=names) as http:
        with pytest.raises(DownloadError) as caught:
            await _body(http, provider(witness.url), f"{witness.url}/x")
    assert (caught.value.cause, caught.value.again) == (Cause.FOREIGN_URL, False)
    assert inside.connections == 0


def test_https_stays_https() -> None:
    """A result that is offered safely is not fetched over plain http, not even from a listed host."""
    assert _next_hop("https://a.example/x?s=1", "/y?s=%2F") == "https://a.example/y?s=%2F"
    assert _next_hop("http://nas.lan/x", "https://a.example/y") == "https://a.example/y"
    with pytest.raises(DownloadError, match="from https to http") as caught:
        _next_hop("https://a.example/x", "http://nas.lan/y")
    assert (caught.value.cause, caught.value.again) == (Cause.FOREIGN_URL, False)


async def test_name_is_checked_each_time_it_is_looked_up(start: Start) -> None:
    """A name that is public first and private a moment later (rebinding) leads nowhere."""
    inside = await start()
    names = Names({"cdn.example": [["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "10.0.0.1"]]})
    async with Http(KEYS, Quick(), resolver=names) as http:
        guard = Guard(names, ())
        assert [one["host"] for one in await guard.resolve("cdn.example")] == ["93.184.216.34"]
        with pytest.raises(DownloadError, match="media_hosts") as caught:
            await _body(http, provider(inside.url), f"https://cdn.example:{inside.port}/x")
    assert caught.value.cause == Cause.FOREIGN_URL
    assert inside.connections == 0


async def test_no_socket_is_made_for_a_private_address() -> None:
    """Even an address that got past the name check gets no connection, unless it came from a listed name."""
    names = Names({"nas.lan": [["10.0.0.5"]]})
    guard = Guard(names, ("nas.lan",))
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.5", 80))
    with pytest.raises(OSError, match="not a public address"):
        guard.socket(info)
    await guard.resolve("nas.lan")
    guard.socket(info).close()


async def test_listed_name_may_be_private(start: Start) -> None:
    """A host that the user listed is visited, although it is private and speaks plain http."""
    inside = await start(lambda _: reply(200, b"clip"))
    async with Http(KEYS, Quick(), resolver=Names({"nas.lan": [["127.0.0.1"]]})) as http:
        who = provider(inside.url, media_hosts=("NAS.lan",))
        assert await _body(http, who, f"http://nas.lan:{inside.port}/x") == b"clip"
        with pytest.raises(DownloadError, match="plain http"):
            await _body(http, provider(inside.url), f"http://nas.lan:{inside.port}/x")


async def test_result_redirects_end_after_five(http: Http, start: Start) -> None:
    """A ring of redirects is left after five hops."""
    witness = await start(lambda n: reply(302, b"", Location=f"/{n}"))
    with pytest.raises(DownloadError, match="5 redirects"):
        await _body(http, provider(witness.url), f"{witness.url}/0")
    assert len(witness.seen) == 6


async def test_a_result_is_asked_for_as_it_is(http: Http, start: Start) -> None:
    """A server that offers a file in several forms is not asked for JSON, nor for a compressed one."""
    witness = await start()
    await _body(http, provider(witness.url), f"{witness.url}/x")
    lines = witness.seen[0].decode().split("\r\n")
    assert [line for line in lines if line.startswith("Accept")] == [
        "Accept: */*",
        "Accept-Encoding: identity",
    ]


async def test_result_is_not_unpacked(http: Http, start: Start) -> None:
    """Compressed bytes come as they were sent, so a bomb stays small."""
    bomb = gzip.compress(bytes(50_000_000))
    witness = await start(lambda _: reply(200, bomb, Content_Encoding="gzip"))
    assert await _body(http, provider(witness.url), f"{witness.url}/x") == bomb


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n",
    ],
    ids=["no answer", "short", "chunks without an end"],
)
async def test_result_that_breaks_off_is_an_error(
    answer: bytes | None, http: Http, start: Start
) -> None:
    """A cut is never taken for the end, and its error names no query."""
    witness = await start(lambda _: answer)
    with pytest.raises(DownloadError, match="broke") as caught:
        await _body(http, provider(witness.url), f"{witness.url}/x?sign={CANARY}")
    assert (caught.value.cause, caught.value.again) == (Cause.DOWNLOAD_FAILED, True)
    assert CANARY not in said(caught.value)


async def test_long_signed_location_is_followed(http: Http, start: Start) -> None:
    """Signed URLs of 20 kB are no reason to lose a result."""
    last = await start(lambda _: reply(200, b"clip"))
    first = await start(lambda _: reply(302, b"", Location=f"{last.url}/x?s={'a' * 20_000}"))
    assert await _body(http, provider(first.url), f"{first.url}/x") == b"clip"
