"""A set of digests that takes little more memory than the digests themselves."""

from __future__ import annotations

_BUCKETS = 4096  # by the first 12 bits; few enough to be searched fast with millions of digests
_SIZE = 15  # all but the first byte


class Digests:
    """16-byte digests: about 20 bytes each, where a set of `bytes` takes over 100."""

    def __init__(self) -> None:
        self._buckets: list[bytearray | None] = [None] * _BUCKETS
        self._size = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._size

    def add(self, digest: bytes) -> bool:
        """Remember a digest; False where it was known."""
        at = digest[0] << 4 | digest[1] >> 4
        bucket, rest = self._buckets[at], digest[1:]
        if bucket is None:
            self._buckets[at] = bytearray(rest)
        elif _count(bucket, rest, 1):
            return False
        else:
            bucket += rest
        self._size += 1
        return True

    def count(self, start: bytes, most: int) -> int:
        """How many of them begin with `start` (2 to 16 bytes), counted up to `most`."""
        bucket = self._buckets[start[0] << 4 | start[1] >> 4]
        return 0 if bucket is None else _count(bucket, start[1:], most)


def _count(bucket: bytearray, part: bytes, most: int) -> int:
    found, at = 0, bucket.find(part)
    while at >= 0:
        found += at % _SIZE == 0  # else it was found across two neighbours
        if found == most:
            break
        at = bucket.find(part, at + 1)
    return found
