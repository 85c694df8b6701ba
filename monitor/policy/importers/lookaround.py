r"""Lookarounds rewritten into what RE2 can do, where there is an exact equal.

What is asked of a pattern is whether it matches anywhere in a text. Then ``(?!Y)K``, with ``K`` all that follows to
the end of the pattern, stands for: what comes here begins with ``K`` and does not begin with ``Y``. Both are regular,
so their difference is as well, and it can be written without a lookaround (``difference``). ``(?=Y)K`` is the same with
"and begins with ``Y``", and lookbehinds are lookaheads of the pattern read backwards. Word edges are decided by the two
characters that they stand between; where the first lies before the place, the cases are told apart by ``\b`` and ``\B``.

The rewritten pattern matches exactly the texts that the old one does; it may span more of them, for it reads what the
old one only looked at, or less, for what may be left out at its ends is. ``rewrite`` gives up (``UnreadableError``) where
a lookaround has no such place, where the result would be large, and where finding it would take too many steps.
"""

from __future__ import annotations

from monitor.policy.importers.difference import Difference
from monitor.policy.importers.elimination import too_large
from monitor.policy.importers.reasons import Reason, UnreadableError
from monitor.policy.importers.regex_nodes import (
    EMPTY,
    END,
    NEVER,
    START,
    Alt,
    Assert,
    Look,
    Node,
    Repeat,
    Seq,
    alt,
    has_look,
    repeat,
    seq,
    to_re2,
)
from monitor.policy.importers.steps import Steps

_MAX_NODES = 20_000
_MAX_TEXT = 60_000
_MAX_COPIES = 3


def rewrite(tree: Node, steps: Steps | None = None) -> Node:
    """The same pattern without lookarounds. Raises UnreadableError."""
    steps = steps or Steps()
    steps.take(tree.size)
    if not has_look(tree):
        return tree
    tree = _Rewriting(steps).ahead(_trimmed(tree), EMPTY)
    tree = reversed_tree(_Rewriting(steps).ahead(_trimmed(reversed_tree(tree)), EMPTY))
    if tree.size > _MAX_NODES or len(to_re2(tree)) > _MAX_TEXT:
        raise too_large()
    return tree


def _trimmed(node: Node) -> Node:
    """Without what may be left out at the end: where nothing follows, it decides nothing."""
    match node:
        case Seq() if node.parts:
            *before, last = node.parts
            shorter = _trimmed(last)
            return node if shorter is last else _trimmed(seq(*before, shorter))
        case Alt() if node.parts:
            parts = [_trimmed(part) for part in node.parts]
            return alt(*parts) if any(new is not old for new, old in zip(parts, node.parts, strict=True)) else node
        case Repeat():
            return node if node.least == node.most else repeat(node.part, node.least, node.least)
        case _:
            return node


def reversed_tree(node: Node) -> Node:
    """The pattern of the texts read backwards."""
    match node:
        case Seq():
            return seq(*(reversed_tree(part) for part in reversed(node.parts)))
        case Alt():
            return alt(*map(reversed_tree, node.parts))
        case Repeat():
            return repeat(reversed_tree(node.part), node.least, node.most, lazy=node.lazy)
        case Look():
            return Look(reversed_tree(node.part), not node.ahead, node.negative)
        case Assert():
            return {START: END, END: START}.get(node, node)
        case _:
            return node


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


class _Rewriting:
    """Takes lookaheads out, from the end of a pattern to its beginning."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def ahead(self, node: Node, rest: Node) -> Node:
        """``node`` and then ``rest``, which has no lookahead and reaches to the end of the pattern, without lookaheads."""
        self._steps.take(node.size)
        if node.size + rest.size > _MAX_NODES:
            raise too_large()
        if not _has_ahead(node):
            return seq(node, rest)
        match node:
            case Seq():
                for part in reversed(node.parts):
                    rest = self.ahead(part, rest)
                return rest
            case Alt():
                return alt(*(self.ahead(part, rest) for part in node.parts))
            case Repeat():
                return self._repeated(node, rest)
            case Look() if node.ahead and not node.negative and rest == EMPTY:
                return self.ahead(node.part, EMPTY)  # nothing follows that would read the same text
            case Look() if node.ahead:
                return self._difference(self.ahead(node.part, EMPTY), rest, negative=node.negative)
            case _:
                raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookahead inside a lookbehind")

    def _repeated(self, node: Repeat, rest: Node) -> Node:
        """A repetition with a lookahead in it: copied where it is short, else read as it is."""
        if node.most is None or node.most > _MAX_COPIES:
            return self._difference(NEVER, seq(self._without_inner(node), rest), negative=True)
        copies = [rest]
        for _ in range(node.most):
            copies.append(self.ahead(node.part, copies[-1]))
        return alt(*reversed(copies[node.least :]))

    def _difference(self, look: Node, rest: Node, *, negative: bool) -> Node:
        return Difference(look, rest, self._steps, negative=negative).written()

    def _without_inner(self, node: Node) -> Node:
        """Lookaheads without lookaheads in them. Raises UnreadableError for one that asks for something to be there."""
        match node:
            case Seq():
                return seq(*map(self._without_inner, node.parts))
            case Alt():
                return alt(*map(self._without_inner, node.parts))
            case Repeat():
                return repeat(self._without_inner(node.part), node.least, node.most, lazy=node.lazy)
            case Look() if node.ahead and node.negative:
                return Look(self.ahead(node.part, EMPTY), ahead=True, negative=True)
            case Look():
                raise UnreadableError(Reason.REGEX_LOOKAROUND, "a lookaround inside a repetition")
            case _:
                return node
