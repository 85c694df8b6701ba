"""What names a step and what its seed was, without telling what the step was about.

A step is found again by what it was asked, so its key is a hash of that, and its seed is made of the hash. In an event,
which stays whatever is erased, such a hash would let anybody try what a short erased text had been. So keys are stored as
HMAC-SHA256 (RFC 2104), and seeds under a pad made by it, with the run's salt as its key: 256 random bits that are a text
of the run's first event and are erased together with any other text of the run. Afterwards a key is 128 bits and a seed
31 bits of which nothing can be said.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from monitor.records.words import ERASED

if TYPE_CHECKING:
    from monitor.records.trace import Call

_KEY_DIGITS = 32
_SEED_BITS = 31


def new_salt() -> str:
    """256 random bits, as 64 hex digits."""
    return secrets.token_hex(32)


class Seal:
    """The seal of one run. With an empty salt, as runs of older versions have it, keys stay as they are, and the pad of
    seeds hides nothing.
    """

    def __init__(self, salt: str) -> None:
        self._key = salt.encode()
        self._is_erased = ERASED in salt

    def key(self, key: str) -> str:
        """A step's key as it is stored: ``HASH.OCCURRENCE`` with another hash."""
        if not self._key:
            return key
        told, _, occurrence = key.partition(".")
        return f"{self._mac('key', told)[:_KEY_DIGITS]}.{occurrence}"

    def scope(self, scope: str) -> str:
        """A path of contexts as it is stored: ``/NAME:KEY`` for each of them, sealed. A context inside another stays so."""
        if not self._key:
            return scope
        return "/".join(self._context(part) for part in scope.split("/"))

    def seed(self, seed: int, span_id: str) -> int:
        """The seed of a call, of 31 bits, under the pad of its span; given what this returned, the seed."""
        return seed ^ (int(self._mac("seed", span_id)[:8], 16) >> (32 - _SEED_BITS))

    def seed_of(self, call: Call) -> int | None:
        """The seed that a call was made with. None where it had none, or where the run's salt was erased."""
        if call.sealed_seed is None:
            return call.seed
        return None if self._is_erased else self.seed(call.sealed_seed, call.span_id)

    def _context(self, part: str) -> str:
        name, colon, key = part.rpartition(":")
        return f"{name}:{self.key(key)}" if colon else part

    def _mac(self, use: str, what: str) -> str:
        return hmac.digest(self._key, f"{use}\0{what}".encode(), "sha256").hex()
