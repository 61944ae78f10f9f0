"""Results on disk: whole, in their place, over nobody else's file, whatever breaks on the way.

Downloads go through the real network edge from a server on the loopback into real files.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import tracemalloc
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.causes import Cause
from runner.clock import Clock
from runner.errors import DownloadError
from runner.events import Artifact, SavedFile
from runner.files import Files, Opener, part_tag
from runner.files import body as body_module
from runner.files import download as download_module
from runner.files import outputs as outputs_module
from runner.files import part as part_module
from runner.files import publish as publish_module
from runner.http import Http
from runner.keys import Keys
from runner.providers.provider import Auth, Provider

KEY = "0123456789abcdef" * 2
OUTPUT = "film/lord-1.${{ ext }}"
ETAG = '"v1"'


def clip(size: int = 60_000, seed: int = 1) -> bytes:
    """A whole MP4 of about `size` bytes that look like video."""

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(body), name) + body

    noise = random.Random(seed).randbytes(size)
    return box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", b"index" * 20) + box(b"mdat", noise)


@dataclass
class Shop:
    """A result server that can be told how to misbehave; `asked` are the Range headers it got."""

    body: bytes = b""
    url: str = ""
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": ETAG})
    status: int = 200
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    shift: int = 0
    length: bool = True
    drip: int = 0
    asked: list[str | None] = field(default_factory=list)
    served: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Serve the body, from where the Range header says, as far as the next cut."""
        asked = request.headers.get("Range")
        self.asked.append(asked)
        start, status = 0, self.status
        current = request.headers.get("If-Range") in {*self.headers.values()}
        if asked and self.ranges and current and status == 200:
            start, status = int(asked[6:-1]), 206
            if start >= len(self.body):
                return web.Response(
                    status=416, headers={"Content-Range": f"bytes */{len(self.body)}"}
                )
        response = web.StreamResponse(status=status, headers=self.headers)
        if status == 206:
            span = f"bytes {start + self.shift}-{len(self.body) - 1}/{len(self.body)}"
            response.headers["Content-Range"] = span
        if self.length:
            response.content_length = len(self.body) - start
        else:
            response.force_close()
            response.headers["Connection"] = "close"
        await response.prepare(request)
        await self._pour(request, response, self.body[start:])
        return response

    async def _pour(self, request: web.Request, response: web.StreamResponse, data: bytes) -> None:
        stop = self.cuts.pop(0) if self.cuts else len(data)
        step = self.drip or 65_536
        for at in range(0, min(stop, len(data)), step):
            piece = data[at : min(at + step, stop)]
            self.served += len(piece)
            await response.write(piece)
        if stop < len(data) and request.transport is not None:
            request.transport.close()


def watch(monkeypatch: pytest.MonkeyPatch, look: Callable[[int], None]) -> None:
    """Have `look` told how many bytes have come, after each piece of a download."""
    original, came = download_module.Pace.count, 0

    def count(self: download_module.Pace, size: int) -> None:
        nonlocal came
        original(self, size)
        came += size
        look(came)

    monkeypatch.setattr(download_module.Pace, "count", count)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """The server of results."""
    one = Shop(clip())
    app = web.Application()
    app.router.add_get("/{name}", one.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/clip.mp4?sign=1"
    yield one
    await runner.cleanup()


class Saver:
    """Saves what the shop sells: the edges put together as the application does it."""

    def __init__(self, http: Http, root: Path, clock: Clock, **options: Any) -> None:
        seller = Provider("t", "http://127.0.0.1", Auth("Key", "K"), media_hosts=("127.0.0.1",))
        self.files = Files(root, clock, **options)
        self.open_url: Opener = partial(http.download, seller)

    async def save(
        self,
        *artifacts: Artifact | str,
        attempt: int = 1,
        output: str = OUTPUT,
        cap: int = 10_000_000,
    ) -> tuple[SavedFile, ...]:
        """Save with the settings that most tests share."""
        return await self.files.save(
            output,
            [Artifact(one) if isinstance(one, str) else one for one in artifacts],
            key=KEY,
            attempt=attempt,
            sidecar={"prompt": "a lord", "params": {"duration": 5}},
            open_url=self.open_url,
            cap=cap,
        )


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """The network edge."""
    async with Http(Keys({}), Clock()) as opened:
        yield opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The outputs folder, not made yet."""
    return tmp_path / "outputs"


@pytest.fixture
def saver(http: Http, root: Path) -> Saver:
    """A saver with a clock that runs."""
    return Saver(http, root, Clock(), free_floor=0)


def names(root: Path) -> list[str]:
    """What stands in the outputs folder, files only."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


async def failure(saver: Saver, *artifacts: Artifact | str, **options: Any) -> DownloadError:
    """Save, and expect it to fail."""
    with pytest.raises(DownloadError) as caught:
        await saver.save(*artifacts, **options)
    return caught.value


async def test_result_is_saved_with_its_sidecar(saver: Saver, shop: Shop, root: Path) -> None:
    """The bytes are under the name the manifest asked for, the sidecar beside them, and nothing else."""
    saved = await saver.save(shop.url)
    sha256 = hashlib.sha256(shop.body).hexdigest()
    assert saved == (SavedFile("film/lord-1.mp4", sha256, len(shop.body), "video/mp4"),)
    assert names(root) == ["film/lord-1.json", "film/lord-1.mp4"]
    assert (root / "film/lord-1.mp4").read_bytes() == shop.body
    sidecar = json.loads((root / "film/lord-1.json").read_text(encoding="utf-8"))
    assert sidecar["prompt"] == "a lord"
    assert sidecar["files"][0]["sha256"] == sha256
    assert "sign" not in (root / "film/lord-1.json").read_text(encoding="utf-8")


async def test_several_results_are_numbered(saver: Saver, shop: Shop, root: Path) -> None:
    """A job's second file is NAME-2, also when its bytes are those of the first."""
    saved = await saver.save(shop.url, shop.url, shop.url)
    assert [file.path for file in saved] == [
        "film/lord-1.mp4",
        "film/lord-1-2.mp4",
        "film/lord-1-3.mp4",
    ]
    assert len(names(root)) == 4


async def test_two_results_never_share_a_file(saver: Saver, shop: Shop, root: Path) -> None:
    """Where the first had to take the second's name, the second takes another, though the bytes are the same."""
    (root / "film").mkdir(parents=True)
    (root / "film" / "lord-1.mp4").write_bytes(b"theirs")
    saved = await saver.save(shop.url, shop.url)
    assert [file.path for file in saved] == ["film/lord-1-2.mp4", "film/lord-1-2-2.mp4"]


def test_move_never_replaces(tmp_path: Path) -> None:
    """A file that appears at the last moment stays as it is."""
    part, final = tmp_path / "a.part", tmp_path / "a.mp4"
    part.write_bytes(b"ours")
    final.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        publish_module._move(part, final)
    assert (part.read_bytes(), final.read_bytes()) == (b"ours", b"theirs")


async def test_extension_comes_from_the_bytes(saver: Saver, shop: Shop, root: Path) -> None:
    """What the server calls a file is not looked at, neither its name nor its type."""
    shop.body = b"GIF89a\1\0\1\0\0\0\0;"
    shop.headers["Content-Type"] = "text/html"
    shop.headers["Content-Disposition"] = 'attachment; filename="../../evil.exe"'
    saved = await saver.save(Artifact(shop.url, content_type="video/mp4"))
    assert (saved[0].path, saved[0].media_type) == ("film/lord-1.gif", "image/gif")
    assert names(root.parent) == ["outputs/film/lord-1.gif", "outputs/film/lord-1.json"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"<!doctype html><title>Sign in</title>" * 30, "web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>' * 30, "XML"),
        (b'{"error": "expired"}', "JSON"),
        (b"", "nothing"),
        (b"MZ" + bytes(2000), "no video"),
        (clip()[:-1], "not whole"),
        (clip() + b"\0\0", "not whole"),
    ],
)
async def test_what_is_no_whole_media_file_is_refused(
    body: bytes, word: str, saver: Saver, shop: Shop, root: Path
) -> None:
    """A page, a program or half a clip is never saved, though the server calls it a video."""
    shop.body = body
    shop.headers["Content-Type"] = "video/mp4"
    error = await failure(saver, shop.url)
    assert error.cause == Cause.CORRUPT_MEDIA
    assert word in str(error)
    assert names(root) == []


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_result_that_is_gone_says_so(status: int, saver: Saver, shop: Shop) -> None:
    """Where the address no longer answers, the provider has to be asked for a fresh one."""
    shop.status = status
    error = await failure(saver, shop.url)
    assert (error.cause, error.gone) == (Cause.EXPIRED, True)


@pytest.mark.parametrize("status", [204, 401, 429, 500, 503, 206])
async def test_other_answers_are_tried_again_later(status: int, saver: Saver, shop: Shop) -> None:
    """A server in trouble is no reason to give up what is paid for."""
    shop.status = status
    shop.body = b"" if status == 204 else shop.body
    shop.ranges, shop.shift = False, 7
    error = await failure(saver, shop.url)
    assert (error.cause, error.gone, error.again) == (Cause.DOWNLOAD_FAILED, False, True)


async def test_cuts_are_resumed_where_they_happened(saver: Saver, shop: Shop, root: Path) -> None:
    """However often a download breaks off, each byte is fetched about once and the file is the same."""
    seed = random.Random(7)
    shop.cuts = [seed.randrange(1, 5_000) for _ in range(12)]
    for _ in range(20):
        try:
            saved = await saver.save(shop.url)
            break
        except DownloadError:
            continue
    assert saved[0].sha256 == hashlib.sha256(shop.body).hexdigest()
    assert shop.served <= 1.1 * len(shop.body)
    assert len(shop.asked) == 13
    assert names(root) == ["film/lord-1.json", "film/lord-1.mp4"]


@pytest.mark.parametrize("cut", [1, 8, 511, 512, 513, 4096, 59_999])
async def test_next_process_goes_on(cut: int, http: Http, shop: Shop, root: Path) -> None:
    """What came before the process ended is not fetched again by the next one, signature changed or not."""
    shop.cuts = [cut, 0]
    await failure(Saver(http, root, Clock(), free_floor=0), shop.url)
    saved = await Saver(http, root, Clock(), free_floor=0).save(shop.url.replace("=1", "=2"))
    assert shop.asked[-1] == f"bytes={cut}-"
    assert saved[0].sha256 == hashlib.sha256(shop.body).hexdigest()


async def test_killed_process_loses_little(
    http: Http, saver: Saver, shop: Shop, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill without warning leaves on disk is enough to go on from the last sync."""
    left = root.with_name("left")

    def keep(came: int) -> None:
        if came > 6_000_000 and not left.exists():
            shutil.copytree(root, left)

    watch(monkeypatch, keep)
    shop.body = clip(9_000_000)
    await saver.save(shop.url)
    saved = await Saver(http, left, Clock(), free_floor=0).save(shop.url)
    assert int((shop.asked[-1] or "bytes=0-")[6:-1]) >= body_module.SYNC_EVERY
    assert saved[0].sha256 == hashlib.sha256(shop.body).hexdigest()


@pytest.mark.parametrize("left", [None, 100_000])
async def test_part_that_somebody_takes_away_is_fetched_anew(
    left: int | None, saver: Saver, shop: Shop, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed or shortened while it grows, it is never filled up with zeros: an error, and then the whole file."""

    def take_away(came: int) -> None:
        if 2_000_000 < came < 2_200_000:
            for path in root.rglob("*.part"):
                os.truncate(path, left) if left else path.unlink()

    watch(monkeypatch, take_away)
    # An MP3: no index to miss.
    shop.body = b"\xff\xfb\x90\x00" + random.Random(1).randbytes(3_000_000)
    error = await failure(saver, shop.url)
    assert (error.cause, error.again) == (Cause.DOWNLOAD_FAILED, True)
    [saved] = await saver.save(shop.url)
    assert (root / saved.path).read_bytes() == shop.body
    assert saved.sha256 == hashlib.sha256(shop.body).hexdigest()


async def test_whole_part_is_not_fetched_again(saver: Saver, shop: Shop, root: Path) -> None:
    """Where only the end of the answer was missing, the server confirms that nothing is left to fetch."""
    shop.length = False
    shop.cuts = [len(shop.body)]
    part = root / "film" / f"lord-1.{part_tag(KEY, 1)}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(shop.body)
    source = hashlib.sha256(shop.url.partition("?")[0].encode()).hexdigest()[:32]
    note = {"source": source, "validator": ETAG, "synced": len(shop.body)}
    part.with_name(part.name + ".json").write_text(json.dumps(note), encoding="utf-8")
    saved = await saver.save(shop.url)
    assert shop.served == 0
    assert saved[0].size == len(shop.body)


@pytest.mark.parametrize("change", ["no ranges", "other version", "no validator", "other address"])
async def test_what_can_not_be_resumed_starts_over(
    change: str, saver: Saver, shop: Shop, root: Path
) -> None:
    """Bytes of two versions are never mixed: where it is not certain, everything is fetched again."""
    if change == "no validator":
        shop.headers = {"ETag": 'W/"weak"'}
    shop.cuts = [40_000, 0]
    await failure(saver, shop.url)
    shop.cuts = []
    url = shop.url
    if change == "no ranges":
        shop.ranges = False
    elif change == "other version":
        shop.headers, shop.body = {"ETag": '"v2"'}, clip(30_000, seed=2)
    elif change == "other address":
        url = url.replace("clip", "other")
    saved = await saver.save(url)
    asks = change in {"no ranges", "other version"}
    assert shop.asked[-1] == ("bytes=40000-" if asks else None)
    assert saved[0].sha256 == hashlib.sha256(shop.body).hexdigest()
    assert names(root) == ["film/lord-1.json", "film/lord-1.mp4"]


async def test_server_that_goes_on_elsewhere_is_not_believed(saver: Saver, shop: Shop) -> None:
    """A 206 that begins at another byte is refused, and the next try asks for all of it."""
    shop.cuts = [9_000, 0]
    await failure(saver, shop.url)
    shop.cuts, shop.shift = [], 1
    error = await failure(saver, shop.url)
    assert "byte 9000" in str(error)
    saved = await saver.save(shop.url)
    assert shop.asked[-1] is None
    assert saved[0].sha256 == hashlib.sha256(shop.body).hexdigest()


async def test_every_cut_of_an_answer_without_a_length_is_seen(
    saver: Saver, shop: Shop, root: Path
) -> None:
    """When nobody says how long a file is, its structure does: no cut is taken for the end."""
    whole = clip(150)
    shop.length = False
    for cut in range(len(whole)):
        shop.body = whole[:cut]
        assert (await failure(saver, shop.url)).cause == Cause.CORRUPT_MEDIA
    assert names(root) == []
    shop.body = whole
    assert (await saver.save(shop.url))[0].size == len(whole)


async def test_stated_size_decides_where_nothing_else_does(saver: Saver, shop: Shop) -> None:
    """MP3 has no end; without a length in the answer, the provider's figure has to match."""
    shop.body, shop.length = b"ID3\4\0\0\0\0\0\0\xff\xfb\x90\0" + bytes(900), False
    size = len(shop.body)
    for stated in (None, size + 1):
        error = await failure(saver, Artifact(shop.url, size=stated))
        assert error.cause == Cause.CORRUPT_MEDIA
    assert (await saver.save(Artifact(shop.url, size=size)))[0].path == "film/lord-1.mp3"


async def test_wrong_stated_size_does_not_cost_a_whole_clip(saver: Saver, shop: Shop) -> None:
    """A length in the answer outweighs what the provider said about the size."""
    saved = await saver.save(Artifact(shop.url, size=len(shop.body) + 5))
    assert saved[0].size == len(shop.body)


class Leaping(Clock):
    """A clock on which a second passes at each look."""

    def __init__(self, step: float) -> None:
        self.seconds = 0.0
        self.step = step

    def monotonic(self) -> float:
        """A little later than the last time."""
        self.seconds += self.step
        return self.seconds


class Short:
    """An answer that ends before its length, and a network layer that did not notice."""

    status = 200
    headers: ClassVar[dict[str, str]] = {"content-length": str(len(clip()) + 40)}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield a whole clip."""
        yield clip()


@contextlib.asynccontextmanager
async def open_short(_url: str, _headers: Mapping[str, str]) -> AsyncIterator[Short]:
    """Open the short answer."""
    yield Short()


async def test_length_is_compared_here_too(saver: Saver) -> None:
    """A file that is shorter than was announced is not whole, though its structure is."""
    saver.open_url = open_short
    error = await failure(saver, "https://cdn.example/clip.mp4")
    assert (error.cause, error.again) == (Cause.DOWNLOAD_FAILED, True)
    assert f"{len(clip())} of {len(clip()) + 40} bytes" in str(error)


class Drip:
    """An endless answer of 100 bytes at a time."""

    status = 200
    headers: ClassVar[dict[str, str]] = {"etag": ETAG}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield a clip's beginning, then noise for ever."""
        yield clip(1000)[:1000]
        while True:
            yield bytes(100)


@contextlib.asynccontextmanager
async def open_drip(_url: str, _headers: Mapping[str, str]) -> AsyncIterator[Drip]:
    """Open the endless answer."""
    yield Drip()


async def test_drip_is_left_after_a_minute(http: Http, root: Path) -> None:
    """A server that sends a few bytes at a time, for ever, is left after 60 s; what came is kept."""
    clock = Leaping(step=1.0)
    saver = Saver(http, root, clock, free_floor=0)
    saver.open_url = open_drip
    error = await failure(saver, "https://cdn.example/clip.mp4")
    assert (error.cause, error.again) == (Cause.DOWNLOAD_FAILED, True)
    assert "slower than 10 kB/s" in str(error)
    tries = 2  # the second one brings no more than the first
    assert 60 * tries <= clock.seconds <= 65 * tries
    assert any(name.endswith(".part") for name in names(root))


async def test_steady_download_is_not_called_slow(http: Http, shop: Shop, root: Path) -> None:
    """A slow line that keeps its pace is fine, however long it takes."""
    shop.body = clip(3_000_000)
    saver = Saver(http, root, Leaping(step=0.5), free_floor=0)
    assert (await saver.save(shop.url))[0].size == len(shop.body)


@pytest.mark.parametrize("length", [True, False])
async def test_download_stops_at_the_cap(
    length: bool, saver: Saver, shop: Shop, root: Path
) -> None:
    """A file that is larger than allowed is left alone, at once where its length is known."""
    shop.body, shop.length = clip(3_000_000), length
    error = await failure(saver, shop.url, cap=100_000)
    assert (error.cause, error.again) == (Cause.TOO_LARGE, False)
    if length:
        assert not any(name.endswith(".part") for name in names(root))


async def test_room_is_kept_on_the_disk(http: Http, shop: Shop, root: Path) -> None:
    """A download that would fill the disk does not begin, and is tried again later."""
    saver = Saver(http, root, Clock(), free_floor=10**18)
    error = await failure(saver, shop.url)
    assert (error.cause, error.again) == (Cause.DISK_FULL, True)
    assert "are kept free" in str(error)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a POSIX matter")
async def test_full_disk_keeps_the_part(saver: Saver, shop: Shop, root: Path) -> None:
    """When the disk takes no more, the cause says so, and the download goes on where it stopped."""
    import resource
    import signal

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    shop.cuts = [20_000, 0]
    await failure(saver, shop.url)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        error = await failure(saver, shop.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert (error.cause, error.again) == (Cause.DISK_FULL, True)
    saved = await saver.save(shop.url)
    assert shop.asked[-1] in {"bytes=20000-", "bytes=30000-"}
    assert saved[0].sha256 == hashlib.sha256(shop.body).hexdigest()


async def test_file_of_somebody_else_is_never_overwritten(
    saver: Saver, shop: Shop, root: Path
) -> None:
    """What stands under the name already stays; ours gets a number, and so does its sidecar."""
    folder = root / "film"
    folder.mkdir(parents=True)
    (folder / "lord-1.mp4").write_bytes(b"theirs")
    (folder / "lord-1-2.json").write_bytes(b"theirs too")
    if os.name == "posix":
        (folder / "lord-1-3.mp4").symlink_to("nowhere")
    saved = await saver.save(shop.url)
    assert saved[0].path == "film/lord-1-2.mp4"
    assert (folder / "lord-1.mp4").read_bytes() == b"theirs"
    assert (folder / "lord-1-2.json").read_bytes() == b"theirs too"
    assert json.loads((folder / "lord-1-2-2.json").read_bytes())["prompt"] == "a lord"


class Crash(BaseException):
    """Stands for the end of the process."""


def crashing(patch: pytest.MonkeyPatch, at: int, *, after: bool) -> list[str]:
    """Let the `at`-th lasting step end the process, before or after it is done. Returns the steps that were begun."""
    begun: list[str] = []

    def wrap(owner: Any, step: str) -> None:
        original = getattr(owner, step)

        def crash(*args: Any) -> Any:
            begun.append(step)
            if len(begun) < at or (after and len(begun) > at):
                return original(*args)
            if len(begun) == at and after:
                original(*args)
            raise Crash

        patch.setattr(owner, step, crash)

    for step in ("begin", "sync", "remember", "discard"):
        wrap(part_module.Part, step)
    wrap(body_module.Body, "finish")
    wrap(publish_module, "_move")
    for step in ("replace_text", "sync_folder"):
        wrap(outputs_module, step)
    return begun


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("results", [1, 2])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_crash_at_any_step_ends_well(
    after: bool,
    results: int,
    links: bool,
    http: Http,
    shop: Shop,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever it stops, the next run ends with one file under its own name, one sidecar and no rest.

    From the moment a file is known to be whole, the provider is not needed any more.
    """
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    expected = ["film/lord-1-2.mp4"] * (results - 1) + ["film/lord-1.json", "film/lord-1.mp4"]
    for at in range(1, 100):
        folder = root / str(at)
        saver = Saver(http, folder, Clock(), free_floor=0)
        with monkeypatch.context() as patch:
            begun = crashing(patch, at, after=after)
            try:
                await saver.save(*[shop.url] * results)
            except Crash:
                finished = False
            else:
                finished = True
        if begun.count("_move") == results:
            shop.status = 410  # the provider has thrown it away meanwhile
        asked = len(shop.asked)
        saved = await saver.save(*[shop.url] * results)
        shop.status = 200
        assert {file.sha256 for file in saved} == {hashlib.sha256(shop.body).hexdigest()}
        assert len(shop.asked) - asked <= results - begun.count("_move"), (at, begun)
        saver.files.sweep_parts(())
        assert names(folder) == expected, (at, begun)
        if finished:
            assert at > 6 * results
            return
    pytest.fail("it never ran to its end")


def no_links(_self: Path, _target: Path) -> None:
    """A file system without hard links."""
    raise OSError(errno.EPERM, "Operation not permitted")


async def test_undisturbed_clip_leaves_nothing_to_clean_up(
    saver: Saver, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that comes in one go is written once: no note, and its sidecar is the draft, renamed."""
    kept: list[int] = []
    original = publish_module.replace_text

    def replace_text(path: Path, text: str, temporary: Path) -> None:
        original(path, text, temporary)
        kept.append(path.stat().st_ino)

    def remember(*_: object) -> None:
        pytest.fail("a note")

    monkeypatch.setattr(outputs_module, "replace_text", replace_text)
    monkeypatch.setattr(part_module.Part, "remember", remember)
    saved = await saver.save(shop.url)
    sidecar = (saver.files.root / saved[0].path).with_suffix(".json")
    assert kept == [sidecar.stat().st_ino]


class Stream:
    """An answer of 24 MB in pieces of 64 kB, every one of its own."""

    status = 200
    headers: ClassVar[dict[str, str]] = {}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield a clip whose data box lasts to the end."""
        yield clip(0)[:-8] + struct.pack(">I4s", 8 + 24_000_000, b"mdat")
        for _ in range(375):
            yield bytes(64_000)


async def test_memory_stays_flat(saver: Saver) -> None:
    """However large a result is, about a megabyte of it is in memory."""

    @contextlib.asynccontextmanager
    async def opened(_url: str, _headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        yield Stream()

    saver.open_url = opened
    tracemalloc.start()
    try:
        saved = await saver.save("https://cdn.example/clip.mp4", cap=10**9)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert saved[0].size > 24_000_000
    assert peak < 3_000_000


async def test_saved_files_are_known_again(saver: Saver, shop: Shop, root: Path) -> None:
    """A job that saved its files and could not say so finds them, as long as they are what they were."""
    first = await saver.save(shop.url, shop.url)
    asked = len(shop.asked)
    assert await saver.save(shop.url, shop.url) == first
    assert len(shop.asked) == asked
    (root / first[1].path).write_bytes(b"changed")
    again = await saver.save(shop.url, shop.url)
    assert len(shop.asked) > asked
    assert again[0] == first[0]
    assert again[1].path == "film/lord-1-2-2.mp4"


async def test_next_attempt_does_not_take_the_last_one_s_file(
    saver: Saver, shop: Shop, root: Path
) -> None:
    """A clip that was paid for anew is fetched and stands beside the old one."""
    await saver.save(shop.url)
    shop.body, shop.headers = clip(seed=2), {"ETag": '"v2"'}
    saved = await saver.save(shop.url, attempt=2)
    assert saved[0].path == "film/lord-1-2.mp4"
    assert names(root) == [
        "film/lord-1-2.json",
        "film/lord-1-2.mp4",
        "film/lord-1.json",
        "film/lord-1.mp4",
    ]


async def test_cancelled_download_goes_on_later(
    saver: Saver, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that is cancelled keeps what came."""
    reached = asyncio.Event()
    original = download_module.Pace.count

    def count(self: download_module.Pace, size: int) -> None:
        original(self, size)
        reached.set()

    monkeypatch.setattr(download_module.Pace, "count", count)
    shop.body = clip(5_000_000)
    task = asyncio.create_task(saver.save(shop.url))
    await asyncio.wait_for(reached.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await saver.save(shop.url)
    assert shop.asked[-1] is not None


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
async def test_link_that_leads_out_is_not_followed(
    saver: Saver, shop: Shop, root: Path, tmp_path: Path
) -> None:
    """A folder in the outputs that is really elsewhere gets nothing."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Files(root, Clock()).output_path(OUTPUT, "mp4").parent.parent.mkdir()
    (root / "film").symlink_to(elsewhere)
    error = await failure(saver, shop.url)
    assert "link" in str(error)
    assert names(elsewhere) == []
    (root / "film").unlink()
    (root / "film").mkdir()
    (root / "film" / f"lord-1.{part_tag(KEY, 1)}.part").symlink_to(elsewhere / "x")
    await failure(saver, shop.url)
    assert names(elsewhere) == []


NASTY = st.text(
    st.one_of(
        st.sampled_from("/\\.:~$%{} \0\n\u202e\u2025\uff0f\uff0e"), st.characters(codec="utf-8")
    ),
    max_size=60,
)


@given(
    st.lists(
        st.one_of(NASTY, st.sampled_from(["..", ".", "", "CON", "nul.txt", "C:", "~"])), max_size=5
    ),
    st.integers(1, 3),
)
@settings(max_examples=300, deadline=None)
def test_output_never_leaves_the_folder(parts: list[str], number: int) -> None:
    """Whatever a template makes of prompts and rows, the file stands under the outputs folder and can be written."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "outputs"
        path = Files(root, Clock()).output_path("/".join(parts) + ".${{ ext }}", "mp4", number)
        assert path.resolve().relative_to(root.resolve()).parts
        assert path.suffix == ".mp4"
        for name in path.relative_to(root).parts:
            assert len(name.encode()) <= 140
            assert not {unicodedata.category(char) for char in name} & {
                "Cc",
                "Cf",
                "Cs",
                "Zl",
                "Zp",
            }
            assert not set(name) & set('<>:"|?*\\/')
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")


def test_planned_name_is_kept(root: Path) -> None:
    """A name that the manifest made is used as it stands."""
    files = Files(root, Clock())
    assert files.output_path("film/a.b-1.${{ ext }}", "mp4") == root / "film" / "a.b-1.mp4"
    assert files.output_path("film/a.b-1.${{ ext }}", "png", 2) == root / "film" / "a.b-1-2.png"
    long = "x" * 120
    assert files.output_path(f"{long}.${{{{ ext }}}}", "mp4") == root / f"{long}.mp4"


def test_sweep_removes_only_our_rests(root: Path) -> None:
    """Partial files of jobs that are over go; those of waiting jobs and everybody else's files stay."""
    root.mkdir()
    ours, waiting = part_tag(KEY, 1), part_tag("fedcba9876543210", 2)
    stay = [f"b.{waiting}.part", f"b.{waiting}.part.json", "film.part", "a.1.part", "a.mp4"]
    go = [f"a.{ours}.part", f"a.{ours}.part.json", f"a.{ours}.part.new", f"a.{ours}.part.draft"]
    for name in (*stay, *go):
        (root / name).write_bytes(b"x")
    assert Files(root, Clock()).sweep_parts({waiting}) == 4
    assert names(root) == sorted(stay)
    assert Files(root / "absent", Clock()).sweep_parts(()) == 0
