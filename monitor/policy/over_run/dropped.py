"""What is left of marked texts that had to be dropped: a Bloom filter of their fingerprints.

It says for certain of a text that none of them stands in it, in memory that does not grow. Its hashes are the same in every
process, so that a replay says what the run said.
"""

from __future__ import annotations

import zlib

_BITS = 1 << 23


class Dropped:
    """The fingerprints of dropped texts."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def add(self, gram: str) -> None:
        """Take in a fingerprint."""
        for place in _bits(gram):
            self._bits[place >> 3] |= 1 << (place & 7)

    def may_hold(self, text: str, gram: int) -> bool:
        """Whether any stretch of ``gram`` codepoints of the text may be among them."""
        bits = self._bits
        return any(
            all(bits[place >> 3] & 1 << (place & 7) for place in _bits(text[here : here + gram]))
            for here in range(len(text) - gram + 1)
        )


def _bits(gram: str) -> tuple[int, int]:
    data = gram.encode("utf-8", "surrogatepass")
    return zlib.crc32(data) % _BITS, zlib.crc32(data[::-1], 1) % _BITS
