"""How much work the patterns of one rule may be: a count of steps, so that what is refused is the same on every machine."""

from __future__ import annotations

from monitor.policy.importers.reasons import Reason, UnreadableError

PATTERN = 350_000
RULE = 700_000
"""A step is about a microsecond: a part of a tree looked at, a range of a set, an instruction compiled by RE2."""


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
        share = Steps(min(PATTERN, self.left))
        self.left -= share.left
        return share

    def settle(self, share: Steps) -> None:
        """Take back what a part left."""
        self.left += max(share.left, 0)
