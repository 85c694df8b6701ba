r"""Lookarounds rewritten into what RE2 can do, where there is an exact equal.

What is asked of a pattern is whether it matches anywhere in a text. Then ``(?!Y)K``, with ``K`` all that follows to
the end of the pattern, stands for: what comes here begins with ``K`` and does not begin with ``Y``. Both are regular,
so their difference is as well, and it can be written without a lookaround. It is found by reading character after
character with both (Brzozowski's derivatives) until ``Y`` can no longer match: from there on ``K``'s rest stands as
it was. ``(?=Y)K`` is the same with "and begins with ``Y``", and lookbehinds are lookaheads of the pattern read
backwards. Word edges are decided by the two characters that they stand between; where the first lies before the
place, the cases are told apart by ``\b`` and ``\B``.

The rewritten pattern matches exactly the texts that the old one does; it may span more of them, for it reads what the
old one only looked at. ``rewrite`` gives up (``UnreadableError``) where a lookaround is repeated without an end, or
where the result would be large.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from monitor.policy.importers.charset import EVERYTHING, WORD, CharSet
from monitor.policy.importers.javascript import UnreadableError
from monitor.policy.importers.reasons import Reason
from monitor.policy.importers.regex_nodes import (
    EDGE,
    EMPTY,
    END,
    NEVER,
    NO_EDGE,
    START,
    Alt,
    Assert,
    Chars,
    Look,
    Node,
    Repeat,
    Seq,
    alt,
    repeat,
    seq,
    to_re2,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_STATES = 250
_MAX_NODES = 6_000
_FINISH = -1
_MAX_TEXT = 24_000
_MAX_COPIES = 3


def rewrite(tree: Node) -> Node:
    """The same pattern without lookarounds. Raises UnreadableError."""
    if not has_look(tree):
        return tree
    tree = _without_ahead(tree, EMPTY)
    tree = _reversed(_without_ahead(_reversed(tree), EMPTY))
    if len(to_re2(tree)) > _MAX_TEXT:
        raise _too_large()
    return tree


def _too_large() -> UnreadableError:
    return UnreadableError(Reason.REGEX_LOOKAROUND, "without its lookaround the pattern would be very large")


def has_look(node: Node) -> bool:
    """Whether there is a lookaround in it."""
    match node:
        case Look():
            return True
        case Seq() | Alt():
            return any(map(has_look, node.parts))
        case Repeat():
            return has_look(node.part)
        case _:
            return False


def _has_ahead(node: Node) -> bool:
    match node:
        case Look():
            return node.ahead or _has_ahead(node.part)
        case Seq() | Alt():
            return any(map(_has_ahead, node.parts))
        case Repeat():
            return _has_ahead(node.part)
        case _:
            return False


def _reversed(node: Node) -> Node:
    """The pattern of the texts read backwards."""
    match node:
        case Seq():
            return seq(*(_reversed(part) for part in reversed(node.parts)))
        case Alt():
            return alt(*map(_reversed, node.parts))
        case Repeat():
            return repeat(_reversed(node.part), node.least, node.most, lazy=node.lazy)
        case Look():
            return Look(_reversed(node.part), not node.ahead, node.negative)
        case Assert():
            return {START: END, END: START}.get(node, node)
        case _:
            return node


def _without_ahead(node: Node, rest: Node) -> Node:
    """``node`` and then ``rest``, which has no lookahead and reaches to the end of the pattern, without lookaheads."""
    if not _has_ahead(node):
        return seq(node, rest)
    match node:
        case Seq():
            for part in reversed(node.parts):
                rest = _without_ahead(part, rest)
            return rest
        case Alt():
            return alt(*(_without_ahead(part, rest) for part in node.parts))
        case Repeat() if node.most is not None and node.most <= _MAX_COPIES:
            copies = [rest]
            for _ in range(node.most):
                copies.append(_without_ahead(node.part, copies[-1]))
            return alt(*reversed(copies[node.least :]))
        case Look() if node.ahead and not node.negative and rest == EMPTY:
            return _without_ahead(node.part, EMPTY)  # nothing follows that would read the same text
        case Look() if node.ahead:
            return _Difference(_without_ahead(node.part, EMPTY), rest, negative=node.negative).written()
        case _:
            raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookahead inside a repetition, or inside a lookbehind")


class _State(NamedTuple):
    """What is left of the lookahead and of the rest (None: it has matched), and whether a word's letter came last."""

    look: Node
    rest: Node | None
    after_word: bool


class _Difference:
    """The texts that begin with ``rest`` and begin, or do not begin, with ``look``."""

    def __init__(self, look: Node, rest: Node, *, negative: bool) -> None:
        self._look = look
        self._rest = rest
        self._negative = negative
        self._has_edges = any(part in {EDGE, NO_EDGE} for part in (*_leaves(look), *_leaves(rest)))
        if any(part == START for part in _leaves(look)):
            raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookaround asks for the other end of the text")
        self._edges: dict[_State, dict[_State | None, list[Node]]] = {}

    def written(self) -> Node:
        """Without the lookahead."""
        if not self._has_edges:
            return self._paths(_State(self._look, self._rest, after_word=False), edge=None)
        first = self._paths(_State(self._look, self._rest, after_word=False), edge=False)
        return alt(first, self._paths(_State(self._look, self._rest, after_word=True), edge=True))

    def _paths(self, start: _State, *, edge: bool | None) -> Node:
        """All ways from ``start`` to a match; ``edge`` tells them by whether a word's letter stands before the place."""
        self._edges = {}
        waiting = deque([start])
        while waiting:
            state = waiting.popleft()
            if state in self._edges:
                continue
            if len(self._edges) >= _MAX_STATES:
                raise _too_large()
            self._edges[state] = {}
            for target, step in self._steps(state):
                self._edges[state].setdefault(target, []).append(step)
                if target is not None:
                    waiting.append(target)
        first = self._edges[start]
        if edge is None:
            return _eliminate(start, {state: _merged(steps) for state, steps in self._edges.items()})
        entry = _State(NEVER, NEVER, after_word=edge)  # a state of its own: the way in says what stood before
        tagged = {target: [_tagged(step, after_word=edge) for step in steps] for target, steps in first.items()}
        graph = {entry: _merged(tagged)} | {state: _merged(steps) for state, steps in self._edges.items()}
        return _eliminate(entry, graph)

    def _steps(self, state: _State) -> Iterator[tuple[_State | None, Node]]:
        """Every next state with what is read on the way; None is the end of the way."""
        if self._ends(state):
            yield None, END
        for chars in _parts(self._first(state), split_words=self._has_edges):
            code = chars.ranges[0][0]
            word = code in WORD
            found = self._after(state, chars, word=word)
            if found is not None:
                yield found[0], seq(Chars.exactly(chars), found[1])

    def _ends(self, state: _State) -> bool:
        rest = state.rest is None or _nullable(state.rest, state.after_word, None)
        return rest and _nullable(state.look, state.after_word, None) is not self._negative

    def _first(self, state: _State) -> list[CharSet]:
        return [*_first_sets(state.look), *(_first_sets(state.rest) if state.rest is not None else ())]

    def _after(self, state: _State, chars: CharSet, *, word: bool) -> tuple[_State | None, Node] | None:
        """The state after one of ``chars`` and what is left to match where it is the last, or None where nothing can."""
        rest = state.rest
        if rest is not None and _nullable(rest, state.after_word, word):
            rest = None
        if rest is not None:
            rest = _derive(rest, chars, state.after_word, word)
            if rest == NEVER:
                return None
        decided = _nullable(state.look, state.after_word, word)
        if decided and self._negative:
            return None
        look = NEVER if decided else _derive(state.look, chars, state.after_word, word)
        if decided or (self._negative and look == NEVER):
            return None, rest if rest is not None else EMPTY
        if look == NEVER:
            return None
        return _State(look, rest, word and self._has_edges), EMPTY


def _tagged(step: Node, *, after_word: bool) -> Node:
    """The first step of a way, for a place after a word's letter or not: an edge of a word is between unlike neighbours."""
    first = step.parts[0] if isinstance(step, Seq) else step
    before_word = isinstance(first, Chars) and first.chars.ranges[0][0] in WORD
    return seq(EDGE if before_word is not after_word else NO_EDGE, step)


def _merged(steps: dict[_State | None, list[Node]]) -> dict[_State | None, Node]:
    """One step to each target: sets of single characters become one set."""
    merged: dict[_State | None, Node] = {}
    for target, nodes in steps.items():
        chars = CharSet.of(span for node in nodes if isinstance(node, Chars) for span in node.chars.ranges)
        others = [node for node in nodes if not isinstance(node, Chars)]
        merged[target] = alt(*([Chars.exactly(chars)] if chars else []), *others)
    return merged


def _eliminate(start: _State, graph: dict[_State, dict[_State | None, Node]]) -> Node:
    """One expression for all ways from ``start`` to the end, by taking out state after state."""
    numbers: dict[_State | None, int] = {state: number for number, state in enumerate(graph)}
    numbers[None] = _FINISH
    steps = {
        numbers[state]: {numbers[target]: node for target, node in targets.items()} for state, targets in graph.items()
    }
    first = numbers[start]
    sizes = {(state, target): _size(node) for state, targets in steps.items() for target, node in targets.items()}
    while len(steps) > 1:
        sources: dict[int, list[int]] = {state: [] for state in steps}
        for state, targets in steps.items():
            for target in targets:
                if target not in {_FINISH, state}:
                    sources[target].append(state)
        state = min((other for other in steps if other != first), key=lambda o: len(sources[o]) * len(steps[o]))
        onward = steps.pop(state)
        loop = onward.pop(state, None)
        around = repeat(loop, 0, None) if loop is not None else EMPTY
        for source in sources[state]:
            before = steps[source].pop(state)
            for target, after in onward.items():
                way, known = seq(before, around, after), steps[source].get(target)
                size = sizes[source, state] + sizes.get((state, state), 0) + sizes[state, target]
                sizes[source, target] = size + (sizes[source, target] if known is not None else 0)
                if sizes[source, target] > _MAX_NODES:
                    raise _too_large()
                steps[source][target] = way if known is None else _either(known, way)
    loop = steps[first].get(first)
    ways = steps[first].get(_FINISH, NEVER)
    return ways if loop is None else seq(repeat(loop, 0, None), ways)


def _either(one: Node, other: Node) -> Node:
    """As ``alt``, without looking for doubles: the parts are large and are unlike."""
    return Alt(tuple(part for node in (one, other) for part in (node.parts if isinstance(node, Alt) else (node,))))


def _size(node: Node) -> int:
    match node:
        case Seq() | Alt():
            return 1 + sum(map(_size, node.parts))
        case Repeat() | Look():
            return 1 + _size(node.part)
        case _:
            return 1


def _leaves(node: Node) -> Iterator[Node]:
    match node:
        case Seq() | Alt():
            for part in node.parts:
                yield from _leaves(part)
        case Repeat() | Look():
            yield from _leaves(node.part)
        case _:
            yield node


def _parts(sets: list[CharSet], *, split_words: bool) -> list[CharSet]:
    """The coarsest parts of all characters that no set divides."""
    parts = [EVERYTHING]
    for chars in [*sets, *([WORD] if split_words else [])]:
        parts = [half for part in parts for half in (part & chars, part - chars) if half]
        if len(parts) > 200:
            raise _too_large()
    return parts


@lru_cache(maxsize=4_096)
def _folded(chars: CharSet) -> CharSet:
    """With both cases of its ASCII letters. Raises UnreadableError for a few letters with cases outside of ASCII."""
    ascii_letters = chars & CharSet.of([(0x41, 0x5A), (0x61, 0x7A)])
    both = chars | CharSet.of((low ^ 0x20, high ^ 0x20) for low, high in ascii_letters.ranges)
    outside = chars - CharSet.of([(0, 0x7F)])
    smaller = min(outside, CharSet.of([(0x80, 0x10FFFF)]) - outside, key=lambda half: half.size)
    if smaller.size > 70_000 or any(
        chr(code).lower() != chr(code).upper() for low, high in smaller.ranges for code in range(low, high + 1)
    ):
        raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookaround over letters with cases outside of ASCII")
    return both


def _set_of(node: Chars) -> CharSet:
    """The characters that it matches where case is ignored, or those that it names where it was derived."""
    if node.text.startswith("(?-i:"):
        return node.chars
    if len(node.chars.complement().ranges) < len(node.chars.ranges):
        return _folded(node.chars.complement()).complement()
    return _folded(node.chars)


def _first_sets(node: Node) -> list[CharSet]:
    """The sets of characters that may be read first."""
    match node:
        case Chars():
            return [_set_of(node)]
        case Alt():
            return [chars for part in node.parts for chars in _first_sets(part)]
        case Seq():
            found: list[CharSet] = []
            for part in node.parts:
                found += _first_sets(part)
                if not _may_be_empty(part):
                    break
            return found
        case Repeat():
            return _first_sets(node.part)
        case Assert():
            return []
        case Look():
            raise UnreadableError(Reason.REGEX_LOOKAROUND, "one lookaround reaches into another")


def _may_be_empty(node: Node) -> bool:
    return any(_nullable(node, before, after) for before in (False, True) for after in (False, True, None))


def _nullable(node: Node, after_word: bool, word: bool | None) -> bool:
    """Whether it matches the empty text between such neighbours; ``word`` is None at the end of the text."""
    match node:
        case Chars():
            return False
        case Assert():
            if node == END:
                return word is None
            if node == START:
                raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookaround beside a place that is always the same")
            return (after_word is not bool(word)) is (node == EDGE)
        case Seq():
            return all(_nullable(part, after_word, word) for part in node.parts)
        case Alt():
            return any(_nullable(part, after_word, word) for part in node.parts)
        case Repeat():
            return node.least == 0 or _nullable(node.part, after_word, word)
        case Look():
            raise UnreadableError(Reason.REGEX_LOOKAROUND, "one lookaround reaches into another")


def _derive(node: Node, chars: CharSet, after_word: bool, word: bool) -> Node:
    """What is left to match after one of ``chars``, which no first set divides."""
    match node:
        case Chars():
            return EMPTY if _set_of(node) & chars else NEVER
        case Assert():
            return NEVER
        case Alt():
            return alt(*(left for part in node.parts if (left := _derive(part, chars, after_word, word)) != NEVER))
        case Seq():
            ways: list[Node] = []
            for index, part in enumerate(node.parts):
                ways.append(seq(_derive(part, chars, after_word, word), *node.parts[index + 1 :]))
                if not _nullable(part, after_word, word):
                    break
            return alt(*(way for way in ways if way != NEVER))
        case Repeat():
            if any(part in {EDGE, NO_EDGE, START, END} for part in _leaves(node.part)) and _may_be_empty(node.part):
                raise UnreadableError(Reason.REGEX_LOOKAROUND, "a repetition that may be empty at the edge of a word")
            most = None if node.most is None else node.most - 1
            left = repeat(node.part, max(node.least - 1, 0), most, lazy=node.lazy)
            return seq(_derive(node.part, chars, after_word, word), left)
        case Look():
            raise UnreadableError(Reason.REGEX_LOOKAROUND, "one lookaround reaches into another")
