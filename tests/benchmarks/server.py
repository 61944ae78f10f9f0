"""A provider without any latency: the fal queue protocol on bare asyncio, in a process of its own.

It answers from prepared bytes and parses no more of a request than it has to, so that it is never the bottleneck. Jobs
whose id begins with `wait-` never end; `/bench/first` says when the first request since the last such question came
(on the system's monotonic clock, 0 for none).
`python -m tests.benchmarks.server` prints its port and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time

FILE_SIZE = 1_000_000
APP = "fal-ai/kling-video"
_DONE = b'{"status":"COMPLETED","request_id":"%s","logs":null,"metrics":{}}'
_WAITS = b'{"status":"IN_PROGRESS","request_id":"%s","logs":null,"metrics":{}}'
_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def clip(size: int = FILE_SIZE) -> bytes:
    """A file of exactly `size` bytes with the boxes of an MP4: ftyp, moov, and mdat with noise in it."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + kind + body

    head = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
    head += box(b"moov", box(b"mvhd", bytes(100)))
    return head + _mdat(size - len(head))


def _mdat(size: int) -> bytes:
    filling = bytes(range(256)) * (size // 256 + 1)
    return struct.pack(">I", size) + b"mdat" + filling[: size - 8]


class Provider(asyncio.Protocol):
    """One connection."""

    number = 0
    port = 0
    media = b""
    first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        data = self._rest + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head, stop = data[:end], end + 4
            if head.startswith(b"POST"):
                at = head.lower().find(b"content-length:")
                stop += int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
                if len(data) < stop:
                    break
            self._transport.write(self._answer(head.split(b" ", 2)))
            data = data[stop:]
        self._rest = data

    def _answer(self, words: list[bytes]) -> bytes:
        method, path = words[0], words[1].partition(b"?")[0]
        if not Provider.first and not path.startswith(b"/bench/"):
            Provider.first = time.monotonic()
        if method == b"POST":
            Provider.number += 1
            body = _receipt(b"%016x-bench" % Provider.number)
        elif path.startswith(b"/file/"):
            return Provider.media
        elif path == b"/bench/first":
            body, Provider.first = b"%f" % Provider.first, 0.0
        elif path.endswith(b"/status"):
            name = path.rsplit(b"/", 2)[1]
            body = (_WAITS if name.startswith(b"wait-") else _DONE) % name
        else:
            body = _result(path.rsplit(b"/", 1)[1])
        return _JSON % (len(body), body)


def _receipt(name: bytes) -> bytes:
    base = b"http://127.0.0.1:%d/%s/requests/%s" % (Provider.port, APP.encode(), name)
    return (
        b'{"status":"IN_QUEUE","request_id":"%s","response_url":"%s","status_url":"%s/status",'
        b'"cancel_url":"%s/cancel","queue_position":0}' % (name, base, base, base)
    )


def _result(name: bytes) -> bytes:
    return (
        b'{"video":{"url":"http://127.0.0.1:%d/file/%s.mp4","content_type":"video/mp4",'
        b'"file_name":"output.mp4","file_size":%d}}' % (Provider.port, name, FILE_SIZE)
    )


async def serve() -> None:
    """Serve on a free port until standard input ends."""
    loop = asyncio.get_running_loop()
    body = clip()
    Provider.media = (
        b'HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nETag: "bench"\r\nContent-Length: %d\r\n\r\n'
        % len(body)
    ) + body
    server = await loop.create_server(Provider, "127.0.0.1", 0, backlog=1024)
    Provider.port = server.sockets[0].getsockname()[1]
    print(Provider.port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
