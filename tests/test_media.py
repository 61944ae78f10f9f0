"""Media: kinds by their bytes, and files that end early."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import media
from runner.media import HEAD, Damaged, Kind, check, describe, sniff

CLIPS = Path(media.__file__).parent / "simulator" / "clips"


def _box(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def _mp4(brand: bytes = b"isom", *, index: bytes = b"moov") -> bytes:
    return (
        _box(b"ftyp", brand + b"\0\0\2\0" + brand + b"mp42")
        + _box(index, b"index" * 9)
        + _box(b"mdat", bytes(range(256)) * 4)
    )


def _png() -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(b"\0ab\0cd"))
        + chunk(b"IEND", b"")
    )


def _jpeg() -> bytes:
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + b"picture\xff\0data\xff\xd3more" * 3
    return b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + scan + scan + b"\xff\xff\xd9"


def _gif() -> bytes:
    colours = b"rgbRGB"
    control = b"!\xf9\4\0\0\0\0\0"
    frame = b",\0\0\0\0\1\0\1\0\x80" + colours + b"\2\2D\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0" + colours + control + frame + b";"


def _riff(form: bytes) -> bytes:
    body = form + b"VP8 " + struct.pack("<I", 40) + bytes(40)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webm() -> bytes:
    header = b"\x42\x82\x84webm"
    return (
        b"\x1a\x45\xdf\xa3"
        + bytes([0x80 | len(header)])
        + header
        + b"\x18\x53\x80\x67\x40\x64"
        + bytes(100)
    )


SAMPLES: dict[str, tuple[Kind, bytes]] = {
    "mp4": (media.MP4, _mp4()),
    "mov": (media.MOV, _mp4(b"qt  ")),
    "m4a": (media.M4A, _mp4(b"M4A ")),
    "avif": (media.AVIF, _mp4(b"avif", index=b"meta")),
    "png": (media.PNG, _png()),
    "jpeg": (media.JPEG, _jpeg()),
    "gif": (media.GIF, _gif()),
    "webp": (media.WEBP, _riff(b"WEBP")),
    "wav": (media.WAV, _riff(b"WAVE")),
    "webm": (media.WEBM, _webm()),
    "clip": (media.MP4, (CLIPS / "ember.mp4").read_bytes()),
    "photo": (media.JPEG, (CLIPS / "input.jpg").read_bytes()),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_whole_files_pass(name: str) -> None:
    """Each kind is told by its bytes, and a whole file is proven whole."""
    kind, data = SAMPLES[name]
    assert sniff(data[:HEAD]) == kind
    assert check(io.BytesIO(data), kind)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_cut_is_seen(name: str) -> None:
    """A file cut anywhere is damaged, or at least not proven whole."""
    kind, data = SAMPLES[name]
    missed = []
    for cut in range(12, len(data)):
        try:
            if check(io.BytesIO(data[:cut]), kind):
                missed.append(cut)
        except Damaged:
            continue
    assert missed == []


@pytest.mark.parametrize("clip", sorted(CLIPS.glob("*.mp4")), ids=lambda path: path.stem)
def test_real_clips_pass(clip: Path) -> None:
    """Clips made by a real encoder are whole."""
    with clip.open("rb") as file:
        assert sniff(file.read(HEAD)) == media.MP4
        assert check(file, media.MP4)


def test_mp3_is_known_but_can_not_prove_its_end() -> None:
    """MP3 has no end mark, so its check says that it can't tell."""
    tagged = b"ID3\4\0\0\0\0\0\5tag..\xff\xfb\x90\0" + bytes(400)
    bare = b"\xff\xfb\x90\0" + bytes(400)
    assert sniff(tagged) == sniff(bare) == media.MP3
    assert check(io.BytesIO(tagged), media.MP3) is False
    with pytest.raises(Damaged):
        check(io.BytesIO(tagged[:12]), media.MP3)


def _open_ended_box(data: bytes) -> bytes:
    return data.replace(struct.pack(">I4s", 1032, b"mdat"), struct.pack(">I4s", 0, b"mdat"))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (media.MP4, _open_ended_box(_mp4())),
        (media.WAV, _riff(b"WAVE").replace(struct.pack("<I", 52), b"\xff\xff\xff\xff", 1)),
        (media.WEBM, _webm().replace(b"\x67\x40\x64", b"\x67\x01" + b"\xff" * 7)),
    ],
    ids=["mp4", "wav", "webm"],
)
def test_files_without_a_length_can_not_prove_their_end(kind: Kind, data: bytes) -> None:
    """A file whose last part runs to the end, wherever that is, is accepted but proves nothing."""
    assert check(io.BytesIO(data), kind) is False


def test_boxes_of_any_kind_may_follow() -> None:
    """Extra boxes at the top level and 64-bit lengths are fine; rubbish behind the last box is not."""
    wide = struct.pack(">I4sQ", 1, b"free", 16 + 5) + b"12345"
    assert check(io.BytesIO(_mp4() + _box(b"uuid", b"x" * 40) + wide), media.MP4)
    for rubbish in (b"\0", b"\0" * 3, b"\0\0\0\4free", b"\0\0\0\x09\xff\xfe\xfd\xfcx"):
        with pytest.raises(Damaged):
            check(io.BytesIO(_mp4() + rubbish), media.MP4)


@pytest.mark.parametrize("missing", [b"moov", b"mdat"])
def test_mp4_needs_its_index_and_its_data(missing: bytes) -> None:
    """Boxes that tile the file are not enough."""
    with pytest.raises(Damaged, match=missing.decode()):
        check(io.BytesIO(_mp4().replace(missing, b"free")), media.MP4)


@pytest.mark.parametrize("name", ["png", "gif", "jpeg", "webp"])
def test_bytes_behind_the_end_of_a_picture_are_fine(name: str) -> None:
    """Cameras and tools append their own data to pictures."""
    kind, data = SAMPLES[name]
    assert check(io.BytesIO(data + b"appended"), kind)


@pytest.mark.parametrize(
    ("head", "described"),
    [
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\xef\xbb\xbf\n <HTML lang=en>", "a web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "XML"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied', "XML"),
        (b'{"detail":"Not found"}', "JSON"),
        (b"\x1f\x8b\x08\0", "compressed data"),
        (b"", "nothing at all"),
        (b"MZ\x90\0\3\0\0\0", "no video, image or sound"),
        (b"\x7fELF\2\1\1\0", "no video, image or sound"),
        (b"#!/bin/sh\n", "no video, image or sound"),
        (b"%PDF-1.7", "no video, image or sound"),
        (b"PK\3\4", "no video, image or sound"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "no video, image or sound"),
        (b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska", "no video, image or sound"),
        (b"RIFF\0\0\0\0AVI ", "no video, image or sound"),
        (b"\xff\xfe<\0h\0t\0m\0l\0", "no video, image or sound"),
    ],
)
def test_other_bytes_are_refused_and_described(head: bytes, described: str) -> None:
    """Pages, drawings with scripts, programs and kinds that browsers don't play are never accepted."""
    assert sniff(head) is None
    assert describe(head) == described


@given(st.binary(max_size=300), st.sampled_from(sorted(SAMPLES)))
def test_no_bytes_make_a_check_fail(data: bytes, name: str) -> None:
    """Any bytes behind a proper beginning get an answer or `Damaged`, nothing else, and no endless loop."""
    kind, sample = SAMPLES[name]
    sniff(data)
    for start in (0, 12, 40):
        file = io.BytesIO(sample[:start] + data)
        try:
            check(file, kind)
        except Damaged:
            continue


def test_large_files_are_not_loaded() -> None:
    """A check reads headers and small windows, whatever the size of the file."""

    class Sparse(io.BytesIO):
        largest = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.largest = max(self.largest, len(data))
            return data

    big = _box(b"ftyp", b"isom\0\0\2\0") + _box(b"moov") + _box(b"mdat", bytes(3_000_000))
    picture = _jpeg()[:20] + b"\xff\xda\0\x02" + b"a" * 3_000_000 + b"\xff\xd9"
    for kind, data in ((media.MP4, big), (media.JPEG, picture)):
        file = Sparse(data)
        assert check(file, kind)
        assert file.largest <= 1 << 16
