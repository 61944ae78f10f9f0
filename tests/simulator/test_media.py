"""Result files are real, whole, different from each other, and can be fetched in parts."""

from __future__ import annotations

import gzip
import hashlib
import struct

import pytest

from runner.simulator import Fault
from tests.simulator.asking import Client, Start


def boxes(data: bytes) -> list[str]:
    """The types of an MP4's outer boxes; fails when they don't fill the file exactly."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert size >= 8
        found.append(kind.decode())
        at += size
    assert at == len(data)
    return found


async def test_every_task_has_its_own_playable_file(client: Client) -> None:
    """Twenty files: well-formed MP4 with the index in front, all hashes different, several clips."""
    files = [(await client.file()).body for _ in range(20)]
    for data in files:
        kinds = boxes(data)
        assert kinds[0] == "ftyp"
        assert kinds[-1] == "free"
        assert kinds.index("moov") < kinds.index("mdat")
        assert len(data) < 40_000
    assert len({hashlib.sha256(data).digest() for data in files}) == 20
    assert len({data[:2000] for data in files}) >= 5


async def test_the_same_url_always_has_the_same_bytes(client: Client) -> None:
    """Downloads are counted and identical, and carry an ETag that says so."""
    await client.buy()
    url = (await client.finish()).json["video"]["url"]
    first, second = [await client.ask("fal", "GET", url) for _ in range(2)]
    assert (first.body, first.headers["ETag"]) == (second.body, second.headers["ETag"])
    assert client.sim.ledger[0].downloads == 2
    unchanged = await client.ask("fal", "GET", url, If_None_Match=first.headers["ETag"])
    assert (unchanged.status, unchanged.body) == (304, b"")


@pytest.mark.parametrize(
    ("wanted", "part"),
    [("bytes=0-9", slice(0, 10)), ("bytes=5-", slice(5, None)), ("bytes=-7", slice(-7, None)),
     ("bytes=10-999999", slice(10, None))],
)  # fmt: skip
async def test_a_range_is_served(client: Client, wanted: str, part: slice) -> None:
    """206 with the bytes asked for and a Content-Range that names the whole size."""
    await client.buy()
    url = (await client.finish()).json["video"]["url"]
    whole = (await client.ask("fal", "GET", url)).body
    answer = await client.ask("fal", "GET", url, Range=wanted)
    first = range(len(whole))[part][0]
    last = first + len(answer.body) - 1
    assert (answer.status, answer.body) == (206, whole[part])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


async def test_ranges_that_cannot_be_served(client: Client) -> None:
    """416 beyond the end; everything when If-Range names another version."""
    beyond = await client.file(Range="bytes=9999999-")
    assert (beyond.status, beyond.body) == (416, b"")
    assert beyond.headers["Content-Range"].startswith("bytes */")
    changed = await client.file(Range="bytes=0-9", If_Range='"other"')
    assert changed.status == 200


async def test_head_tells_the_length_without_the_body(client: Client) -> None:
    """HEAD has the headers of GET and counts as no download."""
    await client.buy()
    file = (await client.finish()).json["video"]
    answer = await client.ask("fal", "HEAD", file["url"])
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == file["file_size"]
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert client.sim.ledger[0].downloads == 0


async def test_no_file_before_the_end(client: Client) -> None:
    """The URL of an unfinished or unknown task is 404."""
    await client.buy()
    for name in (client.sim.ledger[0].id, "unknown"):
        answer = await client.ask("fal", "GET", f"{client.sim.url}/media/fal/{name}.mp4")
        assert answer.status == 404


async def test_the_sample_picture_is_a_jpeg(client: Client) -> None:
    """A picture is there to be used as an input image, and image tasks get one of their own."""
    answer = await client.ask("any", "GET", client.sim.url + "/media/input.jpg")
    assert (answer.headers["Content-Type"], answer.body[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    await client.buy("kling-gateway", "/kling/v1/images/generations")
    image = (await client.finish("kling-gateway")).json["data"]["task_result"]["images"][0]
    made = await client.ask("any", "GET", image["url"])
    assert made.body[:4] == b"\xff\xd8\xff\xfe"
    assert made.body.endswith(answer.body[2:])


async def test_gzip_unpacks_to_the_file(start: Start) -> None:
    """The packed file says so in its headers and has the announced content inside."""
    client = await start("media-gzip")
    answer = await client.file()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert boxes(gzip.decompress(answer.body))[0] == "ftyp"


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [("media-html", 200, "text/html"), ("media-disguised", 200, "video/mp4"),
     ("media-403", 403, "application/xml"), ("media-404", 404, "application/xml"),
     ("media-503", 503, "application/xml")],
)  # fmt: skip
async def test_something_else_in_place_of_the_file(
    start: Start, name: str, status: int, kind: str
) -> None:
    """A page or an error comes instead, with the type that it claims."""
    client = await start(Fault(name, times=1))
    answer = await client.file()
    assert (answer.status, answer.headers["Content-Type"]) == (status, kind)
    assert b"ftyp" not in answer.body
    assert client.sim.ledger[0].downloads == 0


async def test_a_file_moves_to_another_host_name(start: Start) -> None:
    """302 to the same file elsewhere, which is served there."""
    client = await start("media-redirect")
    moved = await client.file()
    assert moved.status == 302
    assert moved.headers["Location"].startswith("http://localhost:")
    served = await client.ask("fal", "GET", moved.headers["Location"])
    assert boxes(served.body)[0] == "ftyp"


async def test_a_slow_file_is_whole(start: Start) -> None:
    """The bytes come in small pieces, all of them."""
    client = await start(Fault("media-slow", arg=1_000_000))
    assert boxes((await client.file()).body)[0] == "ftyp"
