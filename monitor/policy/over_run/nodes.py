"""The tree of a run's subcalls, as far as rules still ask for it.

A subcall stands below the one that its ``parent_id`` names. A further attempt stands where the first one stands: a retry is
no child of what it repeats, and no sibling either. What is no subcall (the run itself) only joins those below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy.over_run.shelf import MAX_THINGS, Shelf

if TYPE_CHECKING:
    from monitor.policy.over_run.timeline import Timeline
    from monitor.records import Call

MAX_DEPTH = 64
"""How many subcalls above one are looked at."""


@dataclass(slots=True)
class Node:
    """One subcall in the tree. ``origin`` is the first attempt of it; ``began`` and ``seen`` are places in the log, and
    ``seen`` is None for as long as it is in flight. ``is_certain`` is false where the subcall itself may have been lost.
    """

    span: str
    parent: str
    origin: str
    number: int
    began: int
    role: str = ""
    kind: str = ""
    seen: int | None = None
    is_subcall: bool = True
    is_certain: bool = True

    def is_before(self, other: Node) -> bool:
        """Whether it was judged before the other began."""
        return self.seen is not None and self.seen < other.began


class Tree:
    """The nodes of one run."""

    def __init__(self, most: int = MAX_THINGS) -> None:
        self._nodes: Shelf[Node] = Shelf(most)

    def __len__(self) -> int:
        return len(self._nodes)

    def begin(self, call: Call, timeline: Timeline) -> Node:
        """A subcall begins; a second time for one in flight is nothing new."""
        known = self._nodes.get(call.span_id)
        if known and known.is_subcall and known.seen is None:
            return known
        number, began = timeline.started(call.span_id)
        first = self._nodes.get(call.retry_of) if call.retry_of else None
        if first and first.span != call.span_id:
            parent, origin = first.parent, first.origin
        else:
            parent, origin = call.parent_id or "", call.retry_of or call.span_id
        node = Node(call.span_id, parent, origin, number, began, call.role, call.kind)
        self._nodes.put(node.span, node, number)
        self.parent(node)
        self.above(node)  # so that what has subcalls below it is kept longest
        return node

    def node(self, call: Call) -> Node | None:
        """The subcall's node, if it is there (still)."""
        return self._nodes.get(call.span_id)

    def parent(self, node: Node) -> Node:
        """What the subcall stands below: a subcall, or something that is none."""
        known = self._nodes.get(node.parent)
        if known is None or known is node:
            is_certain = self._nodes.lost < 0 or not node.parent
            known = Node(node.parent, "", "", 0, -1, is_subcall=False, is_certain=is_certain)
            if node.parent != node.span:
                self._nodes.put(known.span, known, node.number)
        return known

    def above(self, node: Node) -> tuple[list[Node], bool]:
        """The subcalls above this one, the nearest first; and whether those are all."""
        found: list[Node] = []
        here = node
        while len(found) < MAX_DEPTH:
            here = self.parent(here)
            if not here.is_subcall:
                return found, here.is_certain
            found.append(here)
        return found, False
