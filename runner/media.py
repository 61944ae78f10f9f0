"""What kind of file some bytes are, and whether the file is whole.

Only these kinds are ever kept: MP4, MOV, WebM, PNG, JPEG, WebP, GIF, AVIF, MP3, WAV, M4A. The kind comes from the bytes
alone; what a server calls them is not looked at.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

HEAD = 512
"""Bytes that `sniff` wants to see."""
_WINDOW = 1 << 16


class Damaged(ValueError):
    """The file ends early, or its parts do not fit together."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: media type, the extension we give it, and the most bytes one may have."""

    media_type: str
    ext: str
    largest: int = 1 << 60


_IMAGE_CAP = 200_000_000
MP4 = Kind("video/mp4", "mp4")
MOV = Kind("video/quicktime", "mov")
M4A = Kind("audio/mp4", "m4a")
WEBM = Kind("video/webm", "webm")
AVIF = Kind("image/avif", "avif", _IMAGE_CAP)
PNG = Kind("image/png", "png", _IMAGE_CAP)
JPEG = Kind("image/jpeg", "jpg", _IMAGE_CAP)
WEBP = Kind("image/webp", "webp", _IMAGE_CAP)
GIF = Kind("image/gif", "gif", _IMAGE_CAP)
MP3 = Kind("audio/mpeg", "mp3")
WAV = Kind("audio/wav", "wav")


def sniff(head: bytes) -> Kind | None:
    """Tell the kind of a file from its first bytes; None where it is none that we keep."""
    if head[4:8] == b"ftyp":
        return _sniff_ftyp(head)
    if head.startswith(b"RIFF"):
        return {b"WEBP": WEBP, b"WAVE": WAV}.get(head[8:12])
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return WEBM if b"webm" in head[:64] else None
    for magic, kind in (
        (b"\x89PNG\r\n\x1a\n", PNG),
        (b"\xff\xd8\xff", JPEG),
        (b"GIF87a", GIF),
        (b"GIF89a", GIF),
        (b"ID3", MP3),
    ):
        if head.startswith(magic):
            return kind
    return MP3 if _is_mp3_frame(head) else None


def _sniff_ftyp(head: bytes) -> Kind | None:
    size = int.from_bytes(head[:4], "big")
    if not 16 <= size <= 4096:
        return None
    body = head[8 : min(size, HEAD)]
    brands = {body[start : start + 4] for start in range(0, len(body), 4) if start != 4}
    if brands & {b"avif", b"avis"}:
        return AVIF
    if body[:4] == b"qt  ":
        return MOV
    if body[:4] in {b"M4A ", b"M4B "}:
        return M4A
    return None if brands & {b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"crx "} else MP4


def _is_mp3_frame(head: bytes) -> bool:
    """MPEG audio layer III, with a bit rate and a sample rate that exist."""
    return (
        len(head) >= 4
        and head[0] == 0xFF
        and head[1] & 0xE6 == 0xE2
        and head[1] & 0x18 != 0x08
        and head[2] & 0xF0 not in {0x00, 0xF0}
        and head[2] & 0x0C != 0x0C
    )


def describe(head: bytes) -> str:
    """Say what bytes that are no media look like, for a message."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "nothing at all"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "a web page"
    if text.startswith((b"<?xml", b"<svg", b"<error")):
        return "XML"
    if text.startswith((b"{", b"[")):
        return "JSON"
    if head.startswith(b"\x1f\x8b"):
        return "compressed data"
    return "no video, image or sound"


def check(file: BinaryIO, kind: Kind) -> bool:
    """Walk through a file to its end, without loading it: True where that proves that nothing is missing.

    False means that this kind of file (or this one) does not say where it ends, so only its length can tell.

    Raises:
        Damaged: something is missing or does not fit.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if kind in (MP4, MOV, M4A, AVIF):
        return _check_boxes(file, size, b"meta" if kind is AVIF else b"moov")
    if kind in (WEBP, WAV):
        return _check_riff(file, size)
    if kind is WEBM:
        return _check_webm(file, size)
    if kind is PNG:
        return _check_png(file, size)
    if kind is JPEG:
        return _check_jpeg(file)
    if kind is GIF:
        return _check_gif(file, size)
    return _check_mp3(file, size)


def _take(file: BinaryIO, count: int, what: str) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise Damaged(f"it ends in the middle of {what}")
    return data


def _skip(file: BinaryIO, count: int, size: int, what: str) -> None:
    if file.tell() + count > size:
        raise Damaged(f"it ends in the middle of {what}")
    file.seek(count, os.SEEK_CUR)


def _check_boxes(file: BinaryIO, size: int, index: bytes) -> bool:
    """The boxes of an MP4 tile the file, the index (`moov`, `meta`) and the data (`mdat`) among them."""
    seen: set[bytes] = set()
    open_ended = False
    while file.tell() < size:
        start = file.tell()
        length, name = struct.unpack(">I4s", _take(file, 8, "a box header"))
        if length == 1:
            length = int.from_bytes(_take(file, 8, "a box header"), "big")
        elif length == 0:  # to the end of the file, wherever that is
            length, open_ended = size - start, True
        if length < file.tell() - start or not name.isascii():
            raise Damaged(f"at byte {start} stands no box")
        _skip(file, start + length - file.tell(), size, f"the box {ascii(name)[2:-1]}")
        seen.add(name)
    if index not in seen:
        raise Damaged(f"the box {index.decode()} is missing")
    if b"mdat" not in seen:
        if index == b"moov":
            raise Damaged("the box mdat is missing")
        return False  # a picture's data may stand in the index itself
    return not open_ended


def _check_riff(file: BinaryIO, size: int) -> bool:
    length = struct.unpack("<4xI", _take(file, 8, "its header"))[0]
    if length in {0, 0xFFFFFFFF}:  # written to a pipe: nobody knew the length
        return False
    if length + 8 > size:
        raise Damaged(f"{length + 8 - size} bytes are missing")
    return True


def _check_png(file: BinaryIO, size: int) -> bool:
    _take(file, 8, "its header")
    while True:
        length, name = struct.unpack(">I4s", _take(file, 8, "a chunk header"))
        _skip(file, length + 4, size, "a chunk")
        if name == b"IEND":
            return True


def _check_gif(file: BinaryIO, size: int) -> bool:
    flags = _take(file, 13, "its header")[10]
    _skip(file, _palette(flags), size, "its colours")
    while True:
        mark = _take(file, 1, "its blocks")
        if mark == b";":
            return True
        if mark == b",":
            _skip(file, _palette(_take(file, 9, "a frame")[8]) + 1, size, "a frame")
        elif mark == b"!":
            _take(file, 1, "a block")
        else:
            raise Damaged(f"at byte {file.tell() - 1} stands no block")
        while length := _take(file, 1, "a block")[0]:
            _skip(file, length, size, "a block")


def _palette(flags: int) -> int:
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _check_jpeg(file: BinaryIO) -> bool:
    """Segments to the end mark; between a scan's header and the next mark any bytes may stand."""
    _take(file, 2, "its header")
    size = file.seek(0, os.SEEK_END)
    file.seek(2)
    mark = _take(file, 2, "its segments")
    while mark[1] != 0xD9:
        if mark[0] != 0xFF:
            raise Damaged(f"at byte {file.tell() - 2} stands no segment")
        length = int.from_bytes(_take(file, 2, "a segment"), "big")
        if length < 2:
            raise Damaged(f"at byte {file.tell() - 2} stands no segment")
        _skip(file, length - 2, size, "a segment")
        mark = _after_scan(file) if mark[1] == 0xDA else _take(file, 2, "its segments")
        while mark == b"\xff\xff":  # fill bytes
            mark = b"\xff" + _take(file, 1, "its segments")
    return True


def _after_scan(file: BinaryIO) -> bytes:
    """Move past the data of a scan: to the mark that ends it (not an escaped 0xFF, not a restart mark)."""
    kept = b""
    for piece in _pieces(file):
        data = kept + piece
        at = data.find(b"\xff")
        while 0 <= at < len(data) - 1:
            code = data[at + 1]
            if code not in {0, 0xFF} and not 0xD0 <= code <= 0xD7:
                file.seek(at + 2 - len(data), os.SEEK_CUR)
                return data[at : at + 2]
            at = data.find(b"\xff", at + 1)
        kept = data[-1:] if data.endswith(b"\xff") else b""
    raise Damaged("it ends in the middle of the picture")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_WINDOW):
        yield piece


def _check_webm(file: BinaryIO, size: int) -> bool:
    """An EBML header, then one segment; a live recording's segment has no length."""
    _, header = _element(file)
    _skip(file, header or 0, size, "its header")
    name, length = _element(file)
    if name != b"\x18\x53\x80\x67":
        raise Damaged("the segment is missing")
    if length is None:
        return False
    _skip(file, length, size, "its segment")
    return True


def _element(file: BinaryIO) -> tuple[bytes, int | None]:
    """Read an element's id and length (None: unknown)."""
    name = _take(file, 4, "its header")
    first = _take(file, 1, "its header")
    width = 9 - first[0].bit_length()
    if width > 8:
        raise Damaged("its header does not fit")
    value = int.from_bytes(first + _take(file, width - 1, "its header"), "big")
    value &= (1 << 7 * width) - 1
    return name, None if value == (1 << 7 * width) - 1 else value


def _check_mp3(file: BinaryIO, size: int) -> bool:
    head = _take(file, 10, "its header")
    if head.startswith(b"ID3"):
        tag = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        _skip(file, tag, size, "its tag")
        _take(file, 4, "its first frame")
    return False
