"""What the patterns of rules cost at worst, from the size of their compiled programs.

RE2 runs a pattern as an automaton: at each byte of a text it is in at most as many states as the compiled program has
instructions. A search goes forwards to find where a match ends, backwards to find where it begins, and forwards again for
the groups in it. The bound is of these steps. It is far above what is usual: of most texts the filter in front, whose own
pass is not counted here, says that a pattern cannot match, and then it is not run at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy.matching import MAX_SPANS, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Cost:
    """``steps`` is the most automaton steps that all ``patterns`` (their number) can take for each byte of a text."""

    patterns: int
    steps: int


def cost_of(patterns: Iterable[str]) -> Cost:
    """The bound for these patterns, each counted once: a search for each of at most ``MAX_SPANS`` spans."""
    distinct = set(patterns)
    return Cost(len(distinct), sum(MAX_SPANS * _size(pattern) for pattern in distinct))


def _size(pattern: str) -> int:
    compiled = compile_pattern(pattern)
    return 2 * int(compiled.programsize) + int(compiled.reverseprogramsize)
