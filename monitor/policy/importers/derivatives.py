r"""What is left of a pattern after one character (Brzozowski's derivatives, and Antimirov's, which keep the ways apart).

Patterns ignore case, as JavaScript does without the flag ``u``: only ASCII letters and letters outside of ASCII that no
set divides are taken. A place between two characters is known by whether letters of words stand on its sides
(``Place``). A lookahead asks for the whole of what follows, and so becomes a debt: a pattern that must not match from here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from monitor.policy.importers.charset import ASCII_LETTERS, CASED, CharSet
from monitor.policy.importers.reasons import Reason, UnreadableError
from monitor.policy.importers.regex_nodes import (
    EDGE,
    EMPTY,
    END,
    NEVER,
    START,
    Alt,
    Assert,
    Chars,
    Look,
    Node,
    Repeat,
    Seq,
    alt,
    has_look,
    repeat,
    seq,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CASED_OUTSIDE = CASED - CharSet.of([(0, 0x7F)])


class Place(NamedTuple):
    """Between two characters: whether each is a letter of a word; after the end of the text there is none."""

    before: bool
    after: bool | None


PLACES = tuple(Place(before, after) for before in (False, True) for after in (False, True, None))


class Way(NamedTuple):
    """One way to go on: what is left to match, and what must not match from the place where it began."""

    left: Node
    debt: Node


def leaves(node: Node) -> Iterator[Node]:
    """The parts without parts."""
    match node:
        case Seq() | Alt():
            for part in node.parts:
                yield from leaves(part)
        case Repeat() | Look():
            yield from leaves(node.part)
        case _:
            yield node


@lru_cache(maxsize=4_096)
def _folded(chars: CharSet) -> CharSet:
    """With both cases of its ASCII letters. Raises UnreadableError where it divides letters outside of ASCII."""
    both = chars | CharSet.of((low ^ 0x20, high ^ 0x20) for low, high in (chars & ASCII_LETTERS).ranges)
    if chars & _CASED_OUTSIDE and _CASED_OUTSIDE - chars:
        raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookaround over letters with cases outside of ASCII")
    return both


def set_of(node: Chars) -> CharSet:
    """The characters that it matches where case is ignored, or those that it names where it was derived."""
    if node.text.startswith("(?-i:"):
        return node.chars
    if len(node.chars.complement().ranges) < len(node.chars.ranges):
        return _folded(node.chars.complement()).complement()
    return _folded(node.chars)


def first_sets(node: Node) -> list[CharSet]:
    """The sets of characters that may be read first."""
    match node:
        case Chars():
            return [set_of(node)]
        case Alt():
            return [chars for part in node.parts for chars in first_sets(part)]
        case Seq():
            found: list[CharSet] = []
            for part in node.parts:
                found += first_sets(part)
                if not _may_be_empty(part):
                    break
            return found
        case Repeat():
            return first_sets(node.part)
        case Look():
            return first_sets(_body(node))
        case Assert():
            return []


def _body(look: Look) -> Node:
    if not look.ahead or not look.negative:
        raise UnreadableError(Reason.REGEX_LOOKAROUND, "one lookaround reaches into another")
    return look.part


def _may_be_empty(node: Node) -> bool:
    return any(empties(node, place) for place in PLACES)


def nullable(node: Node, place: Place) -> bool:
    """Whether a pattern without lookarounds matches the empty text in this place."""
    return bool(empties(node, place))


def empties(node: Node, place: Place) -> list[Node]:
    """The ways to match the empty text in this place: for each, what then must not match from here (NEVER: nothing)."""
    match node:
        case Chars():
            return []
        case Assert():
            return [NEVER] if _holds(node, place) else []
        case Seq():
            debts: list[Node] = [NEVER]
            for part in node.parts:
                debts = [alt(one, other) for other in empties(part, place) for one in debts]
                if not debts:
                    return []
            return list(dict.fromkeys(debts))
        case Alt():
            return list(dict.fromkeys(debt for part in node.parts for debt in empties(part, place)))
        case Repeat():
            return [NEVER] if node.least == 0 else empties(node.part, place)
        case Look():
            return [_body(node)]


def _holds(node: Assert, place: Place) -> bool:
    if node == END:
        return place.after is None
    if node == START:
        raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookaround beside a place that is always the same")
    return (place.before is not bool(place.after)) is (node == EDGE)


def derive(node: Node, chars: CharSet, place: Place) -> Node:
    """What is left of a pattern without lookarounds after one of ``chars``, which no first set divides."""
    return alt(*(way.left for way in ways(node, chars, place)))


def ways(node: Node, chars: CharSet, place: Place) -> list[Way]:
    """The ways to go on after one of ``chars``, which no first set divides, read from this place."""
    match node:
        case Chars():
            return [Way(EMPTY, NEVER)] if set_of(node) & chars else []
        case Assert() | Look():
            return []
        case Alt():
            return list(dict.fromkeys(way for part in node.parts for way in ways(part, chars, place)))
        case Seq():
            return _ways_of_sequence(node, chars, place)
        case Repeat():
            _check_repeated(node.part)
            most = None if node.most is None else node.most - 1
            again = repeat(node.part, max(node.least - 1, 0), most, lazy=node.lazy)
            return [Way(seq(left, again), debt) for left, debt in ways(node.part, chars, place)]


def _check_repeated(part: Node) -> None:
    """What may be empty in some places only has no derivative of this simple form where it is repeated."""
    asks = has_look(part) or any(isinstance(leaf, Assert) for leaf in leaves(part))
    if asks and _may_be_empty(part):
        raise UnreadableError(Reason.REGEX_LOOKAROUND, "a repetition that may be empty at the edge of a word")


def _ways_of_sequence(node: Seq, chars: CharSet, place: Place) -> list[Way]:
    found: dict[Way, None] = {}
    debts: list[Node] = [NEVER]
    for index, part in enumerate(node.parts):
        for left, debt in ways(part, chars, place):
            onward = seq(left, *node.parts[index + 1 :])
            found.update(dict.fromkeys(Way(onward, alt(before, debt)) for before in debts))
        debts = [alt(before, debt) for before in debts for debt in empties(part, place)]
        if not debts:
            break
    return list(found)
