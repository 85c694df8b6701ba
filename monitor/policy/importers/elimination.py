"""The texts along all ways through a graph as one expression, by taking out state after state."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from monitor.policy.importers.reasons import Reason, UnreadableError
from monitor.policy.importers.regex_nodes import EMPTY, NEVER, Alt, Node, repeat, seq

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Set

    from monitor.policy.importers.steps import Steps

MAX_NODES = 8_000

Graph: TypeAlias = "Mapping[Hashable, Mapping[Hashable, Node]]"
"""From each state to others, with what is read on the way; None is the end of every way."""
_Edges: TypeAlias = dict[int, dict[int, Node]]
_FIRST, _LAST = 0, -1


def too_large() -> UnreadableError:
    """The result would be more than anybody can read."""
    return UnreadableError(Reason.REGEX_LOOKAROUND, "without its lookaround the pattern would be very large")


def eliminate(graph: Graph, late: Set[Hashable], steps: Steps) -> Node:
    """The expression for all ways from the graph's first state to the end; states of ``late`` are taken out last.

    Raises UnreadableError where it would have more than ``MAX_NODES`` parts, or take too many steps.
    """
    numbers: dict[Hashable, int] = {state: number for number, state in enumerate(graph)}
    numbers[None] = _LAST
    edges: _Edges = {
        numbers[state]: {numbers[target]: node for target, node in targets.items()} for state, targets in graph.items()
    }
    sources: dict[int, set[int]] = {state: set() for state in (*edges, _LAST)}
    for state, targets in edges.items():
        for target in targets:
            sources[target].add(state)
    last = {numbers[state] for state in late if state in numbers}
    while len(edges) > 1:
        waiting = edges.keys() - last - {_FIRST} or edges.keys() - {_FIRST}
        steps.take(4 * len(waiting))
        _take_out(min(waiting, key=lambda state: (_weight(state, edges, sources), state)), edges, sources, steps)
    loop = edges[_FIRST].get(_FIRST)
    found = edges[_FIRST].get(_LAST, NEVER)
    return found if loop is None else seq(repeat(loop, 0, None), found)


def _weight(state: int, edges: _Edges, sources: dict[int, set[int]]) -> int:
    """About how many parts more there are without it."""
    ways_in, ways_out = len(sources[state] - {state}), len(edges[state].keys() - {state})
    loop = edges[state][state].size if state in edges[state] else 0
    return ways_in * ways_out * (1 + loop) - ways_in - ways_out


def _take_out(state: int, edges: _Edges, sources: dict[int, set[int]], steps: Steps) -> None:
    onward = edges.pop(state)
    loop = onward.pop(state, None)
    around = repeat(loop, 0, None) if loop is not None else EMPTY
    for target in onward:
        sources[target].discard(state)
    for source in sources.pop(state) - {state}:
        before = edges[source].pop(state)
        for target, after in onward.items():
            known = edges[source].get(target)
            size = before.size + around.size + after.size + (known.size if known is not None else 0)
            if size > MAX_NODES:
                raise too_large()
            steps.take(1 + size // 8)
            way = seq(before, around, after)
            edges[source][target] = way if known is None else _either(known, way)
            sources[target].add(source)


def _either(one: Node, other: Node) -> Node:
    """As ``alt``, without looking for doubles: the parts are large and are unlike."""
    return Alt(tuple(part for node in (one, other) for part in (node.parts if isinstance(node, Alt) else (node,))))
