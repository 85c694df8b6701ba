"""The tree of a run: the subcalls above one, and what it and all below it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.records import StoredSubcall


@dataclass(slots=True)
class Spend:
    """What a subcall and all below it cost, retries and tools included.

    ``cost`` is what is known of it; ``unpriced`` counts subcalls whose price is not known, ``unanswered`` those that
    have not come back and count with nothing.
    """

    subcalls: int = 0
    calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    unpriced: int = 0
    unanswered: int = 0

    def add(self, other: Spend) -> None:
        """Count what another one counts, too."""
        for name in Spend.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class RunTree:
    """The subcalls of a run as a tree; a retry stands below its first attempt, as everywhere."""

    def __init__(self, subcalls: Sequence[StoredSubcall]) -> None:
        self.by_span = {subcall.call.span_id: subcall for subcall in subcalls}
        self._parent = {span_id: self._above(subcall) for span_id, subcall in self.by_span.items()}
        self.spend = self._spend()

    def _above(self, subcall: StoredSubcall) -> str | None:
        above = subcall.call.retry_of or subcall.call.parent_id
        return above if above in self.by_span and above != subcall.call.span_id else None

    def ancestors(self, span_id: str) -> list[StoredSubcall]:
        """The subcalls above this one, the outermost first. A circle, which no writer makes, ends where it closes."""
        found: list[StoredSubcall] = []
        seen = {span_id}
        current = self._parent[span_id]
        while current is not None and current not in seen:
            seen.add(current)
            found.append(self.by_span[current])
            current = self._parent[current]
        return found[::-1]

    def _spend(self) -> dict[str, Spend]:
        spend = {span_id: _own(subcall) for span_id, subcall in self.by_span.items()}
        waiting = dict.fromkeys(self.by_span, 0)
        for parent in self._parent.values():
            if parent is not None:
                waiting[parent] += 1
        ready = [span_id for span_id, count in waiting.items() if not count]
        for span_id in ready:  # grows while it is walked: from the leaves up, each once
            parent = self._parent[span_id]
            if parent is not None:
                spend[parent].add(spend[span_id])
                waiting[parent] -= 1
                if not waiting[parent]:
                    ready.append(parent)
        return spend


def _own(subcall: StoredSubcall) -> Spend:
    seen = subcall.observation
    if seen is None:
        return Spend(subcalls=1, unanswered=1)
    used = seen.usage
    return Spend(
        1, used.calls, used.tool_calls, used.input_tokens, used.output_tokens, used.cost or 0.0, seen.seconds,
        int(used.cost is None), 0,
    )  # fmt: skip
