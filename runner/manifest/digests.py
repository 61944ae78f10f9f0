"""A set of digests that takes little more memory than the digests themselves."""

from __future__ import annotations

from collections import defaultdict

_SIZE = 14


class Digests:
    """16-byte digests: about 25 bytes each, where a set of `bytes` takes over 100."""

    def __init__(self) -> None:
        self._buckets: defaultdict[bytes, bytearray] = defaultdict(bytearray)

    def add(self, digest: bytes) -> bool:
        """Remember a digest; False where it was known."""
        bucket = self._buckets[digest[:2]]
        rest = digest[2:]
        at = bucket.find(rest)
        while at >= 0 and at % _SIZE:  # found across two neighbours
            at = bucket.find(rest, at + 1)
        if at >= 0:
            return False
        bucket += rest
        return True
