r"""The texts that begin as one pattern says and do, or do not, begin as another says: ``(?=Y)K`` and ``(?!Y)K``.

Both patterns are read character after character at once. Of ``Y`` behind ``(?!`` everything that is left counts at
once; of all else each way is followed by itself, which keeps the states few. Where ``Y`` is decided, what is left of
the other stands as it was: such an exit is one state, however many ways lead there.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from monitor.policy.importers.charset import EVERYTHING, WORD, CharSet
from monitor.policy.importers.derivatives import Place, Way, derive, empties, first_sets, leaves, nullable, ways
from monitor.policy.importers.elimination import eliminate, too_large
from monitor.policy.importers.reasons import Reason, UnreadableError
from monitor.policy.importers.regex_nodes import (
    EDGE,
    EMPTY,
    END,
    NEVER,
    NO_EDGE,
    START,
    Chars,
    Node,
    alt,
    has_look,
    seq,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from monitor.policy.importers.steps import Steps

_MAX_STATES = 1_500
_FEW_STATES = 40
_ENTRY = "entry"


class _ManyStatesError(Exception):
    """Taken as a whole, what is left has too many forms. Never leaves this module."""


class _State(NamedTuple):
    """What is left of the lookahead and of the rest (None: it has matched), and whether a word's letter came last."""

    look: Node
    rest: Node | None
    after_word: bool


class _Exit(NamedTuple):
    """The lookahead is decided; this is all that is left."""

    rest: Node


_Target: TypeAlias = _State | _Exit | None
_Edges: TypeAlias = "dict[Hashable, list[Node]]"


class Difference:
    """The texts that begin with ``rest`` and begin, or do not begin, with ``look``.

    In ``rest`` there may be negative lookaheads where ``negative``. Raises UnreadableError.
    """

    def __init__(self, look: Node, rest: Node, steps: Steps, *, negative: bool) -> None:
        self._look = look
        self._rest = rest
        self._steps = steps
        self._negative = negative
        self._whole = True
        steps.take(look.size + rest.size)
        self._has_edges = any(part in {EDGE, NO_EDGE} for part in (*leaves(look), *leaves(rest)))
        if any(part == START for part in leaves(look)):
            raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookaround asks for the other end of the text")

    def written(self) -> Node:
        """Without the lookahead: with everything that is left taken as one where that has few states, else way by way."""
        if not has_look(self._rest):
            try:
                return self._written(whole=True)
            except _ManyStatesError:
                pass
        return self._written(whole=False)

    def _written(self, *, whole: bool) -> Node:
        self._whole = whole
        if not self._has_edges:
            return self._paths(_State(self._look, self._rest, after_word=False), edge=None)
        first = self._paths(_State(self._look, self._rest, after_word=False), edge=False)
        return alt(first, self._paths(_State(self._look, self._rest, after_word=True), edge=True))

    def _paths(self, start: _State, *, edge: bool | None) -> Node:
        """All ways from ``start`` to a match; ``edge`` tells them by whether a word's letter stands before the place."""
        found: dict[Hashable, _Edges] = {}
        waiting: deque[_State | _Exit] = deque([start])
        while waiting:
            state = waiting.popleft()
            if state in found:
                continue
            if self._whole and len(found) >= _FEW_STATES:
                raise _ManyStatesError
            if len(found) >= _MAX_STATES:
                raise too_large()
            found[state] = {}
            for target, step in self._onward(state):
                found[state].setdefault(target, []).append(step)
                if target is not None:
                    waiting.append(target)
        graph: dict[Hashable, dict[Hashable, Node]] = {
            state: {None: state.rest} if isinstance(state, _Exit) else _merged(edges) for state, edges in found.items()
        }
        if edge is not None:  # a state of its own: the way in says what stood before
            tagged = {
                target: [_tagged(step, after_word=edge) for step in steps] for target, steps in found[start].items()
            }
            graph = {_ENTRY: _merged(tagged), **graph}
        return eliminate(graph, {state for state in graph if isinstance(state, _Exit)}, self._steps)

    def _onward(self, state: _State | _Exit) -> Iterator[tuple[_Target, Node]]:
        """Every next state with what is read on the way; None is the end of the way."""
        if isinstance(state, _Exit):
            yield None, state.rest
            return
        size = state.look.size + (state.rest.size if state.rest is not None else 1)
        if self._ends(state):
            yield None, END
        for chars in self._parts(state, size):
            self._steps.take(2 * size)
            place = Place(state.after_word, chars.ranges[0][0] in WORD)
            for target in dict.fromkeys(self._after(state, chars, place)):
                yield target, Chars.exactly(chars)

    def _ends(self, state: _State) -> bool:
        """Whether the text may end here."""
        place = Place(state.after_word, None)
        if not self._negative:
            return nullable(state.look, place) and (state.rest is None or nullable(state.rest, place))
        debts = [NEVER] if state.rest is None else empties(state.rest, place)
        return any(not nullable(alt(state.look, debt), place) for debt in debts)

    def _parts(self, state: _State, size: int) -> list[CharSet]:
        """The coarsest parts of all characters that no set divides."""
        self._steps.take(size)
        sets = [*first_sets(state.look), *(first_sets(state.rest) if state.rest is not None else ())]
        parts = [EVERYTHING]
        for chars in dict.fromkeys([*sets, *([WORD] if self._has_edges else [])]):
            self._steps.take(sum(len(part.ranges) + len(chars.ranges) for part in parts))
            parts = [half for part in parts for half in (part & chars, part - chars) if half]
            if len(parts) > 200:
                raise too_large()
        return parts

    def _after(self, state: _State, chars: CharSet, place: Place) -> Iterator[_State | _Exit]:
        """The states after one of ``chars``."""
        decided = nullable(state.look, place)
        if self._negative:
            if not decided:
                yield from self._after_negative(state, chars, place)
        elif decided:
            yield from (_Exit(left) for left, _ in self._rests(state, chars, place))
        else:
            after = place.after is True and self._has_edges
            looks = [left for left, _ in self._ways(state.look, chars, place)]
            if state.rest is None or nullable(state.rest, place):
                yield from map(_Exit, looks)
            else:
                for left, _ in self._ways(state.rest, chars, place):
                    yield from (_State(look, left, after) for look in looks)

    def _after_negative(self, state: _State, chars: CharSet, place: Place) -> Iterator[_State | _Exit]:
        look = derive(state.look, chars, place)
        for left, debt in self._rests(state, chars, place):
            if nullable(debt, place):
                continue
            owed = alt(look, derive(debt, chars, place))
            if owed == NEVER and not has_look(left):
                yield _Exit(left)
            else:
                yield _State(owed, None if left == EMPTY else left, place.after is True and self._has_edges)

    def _ways(self, node: Node, chars: CharSet, place: Place) -> list[Way]:
        if not self._whole:
            return ways(node, chars, place)
        left = derive(node, chars, place)
        return [Way(left, NEVER)] if left != NEVER else []

    def _rests(self, state: _State, chars: CharSet, place: Place) -> list[Way]:
        """What is left of the rest, in each way (EMPTY where it has matched)."""
        matched = [NEVER] if state.rest is None else empties(state.rest, place)
        if NEVER in matched or state.rest is None:
            return [Way(EMPTY, NEVER)]
        return [*(Way(EMPTY, debt) for debt in matched), *self._ways(state.rest, chars, place)]


def _tagged(step: Node, *, after_word: bool) -> Node:
    """The first step of a way, for a place after a word's letter or not: an edge of a word is between unlike neighbours."""
    before_word = isinstance(step, Chars) and step.chars.ranges[0][0] in WORD
    return seq(EDGE if before_word is not after_word else NO_EDGE, step)


def _merged(edges: _Edges) -> dict[Hashable, Node]:
    """One step to each target: sets of single characters become one set."""
    merged: dict[Hashable, Node] = {}
    for target, nodes in edges.items():
        chars = CharSet.of(span for node in nodes if isinstance(node, Chars) for span in node.chars.ranges)
        others = [node for node in nodes if not isinstance(node, Chars)]
        merged[target] = alt(*([Chars.exactly(chars)] if chars else []), *others)
    return merged
