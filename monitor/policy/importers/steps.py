"""How much work the patterns of one rule may be: a count of steps, so that what is refused is the same on every machine."""

from __future__ import annotations

from monitor.policy.importers.reasons import Reason, UnreadableError

PATTERN = 400_000
RULE = 1_000_000
LEAST = 25_000
"""A step is about a microsecond: a part of a tree looked at, a range of a set, an instruction compiled by RE2.
A pattern may always take ``LEAST``, whatever those before it took: most need less."""


class Steps:
    """What is left of an allowance. Nothing that costs more than ``left`` is done, and nothing is done without paying."""

    def __init__(self, left: int = PATTERN) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Pay before work is done. Raises UnreadableError."""
        self.left -= count
        if self.left < 0:
            raise UnreadableError(Reason.TOO_COSTLY, "it takes more steps than an import spends on it")

    def part(self) -> Steps:
        """The allowance of one pattern, out of this one; ``settle`` gives back what it left."""
        share = Steps(max(min(PATTERN, self.left), LEAST))
        self.left -= share.left
        return share

    def settle(self, share: Steps) -> None:
        """Take back what a part left."""
        self.left += max(share.left, 0)
