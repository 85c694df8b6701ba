"""Two subcalls of which one is the other's relative: ``parent``, ``ancestor``, ``child``, ``sibling``, and ``without-…``.

A pair is known where the later of the two is judged, so that is what a finding stands on. ``without-…`` looks back at what
was judged before the subcall began: only that can have played a part in it. Either way it makes no difference in what order
siblings that overlap are judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from monitor.policy.logic import Truth, negate
from monitor.policy.over_run.answers import NO, Answer, strongest
from monitor.policy.over_run.joined import both, keys_of, may
from monitor.policy.over_run.shelf import MAX_THINGS, Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.policy.over_run.joined import Step
    from monitor.policy.over_run.memory import Link
    from monitor.policy.over_run.nodes import Node, Tree
    from monitor.policy.over_run.run_rules import RunRule

LOST = "more of the tree than may be remembered: what was known of some subcalls was dropped"
_EARLIER = "what is said of a relative is unknown"
_UNREAD = "what is compared cannot be read"
_EVERY = "every"  # the key under which candidates stand whatever they hold
_UNREADABLE = "unreadable"


class Relative(NamedTuple):
    """A subcall as a relative of others."""

    truth: Truth
    link: Link
    origin: str
    seen: int
    keys: frozenset[tuple[str, ...]] | None

    def same(self, keys: frozenset[tuple[str, ...]] | None) -> Truth:
        """Whether it holds the same as another in the fields that are compared."""
        if keys is None or self.keys is None:
            return Truth.NO_MATCH if keys == frozenset() or self.keys == frozenset() else Truth.UNKNOWN
        return Truth.NO_MATCH if keys.isdisjoint(self.keys) else Truth.MATCH


class _Firsts:
    """Of those in one place of the tree, the first to be judged: of two subcalls, so that there is one beside any other."""

    def __init__(self, *, is_whole: bool) -> None:
        self.is_whole = is_whole
        self._kept: dict[bool, list[Relative]] = {False: [], True: []}

    def add(self, one: Relative) -> None:
        for possibly, kept in self._kept.items():
            if (possibly or one.truth is Truth.MATCH) and len(kept) < 2 and one.origin not in {k.origin for k in kept}:
                kept.append(one)

    def beside(self, origin: str) -> Iterator[Relative]:
        """The first that is certain and the first that is possible, beside the subcall itself."""
        for kept in self._kept.values():
            yield from [one for one in kept if one.origin != origin][:1]


class RelativesMemory:
    """What one such rule remembers of one run."""

    def __init__(self, rule: RunRule, tree: Tree, most: int = MAX_THINGS) -> None:
        written = rule.written.tree
        assert written is not None, "the rule is over the tree"
        self._rule = rule
        self._tree = tree
        self._relation = written.relation.removeprefix("without_")
        self._is_without = written.relation != self._relation
        self._names = (written.this, written.other)
        # Of the two parts the one whose subcall stands above the other's.
        self._upper = 0 if self._relation == "child" else 1
        self._judged: Shelf[Relative] = Shelf(most)
        self._groups: Shelf[_Firsts] = Shelf(most)

    def __len__(self) -> int:
        return len(self._judged) + len(self._groups)

    def begin(self, node: Node) -> None:
        """A subcall begins."""

    def see(self, step: Step) -> Answer:
        """What the rule says of one more subcall; and it is remembered."""
        truths = [step.truth(name) for name in self._names]
        is_silent = not any(map(may, truths))
        found = [] if is_silent else keys_of(self._rule.fields, step.read)
        keys = None if found is None else frozenset(found)
        node, seen = step.node, step.moment.seen
        own = [
            Relative(truth, step.link(name), node.origin, seen, keys)
            for truth, name in zip(truths, self._names, strict=True)
        ]
        answer = NO
        if not is_silent:
            find = (
                self._without if self._is_without else self._siblings if self._relation == "sibling" else self._lineage
            )
            answer = find(node, own)
        if self._relation != "sibling":  # also where it matches nothing, for that is known then
            self._judged.put(node.span, own[self._upper], node.number)
        return Answer(Truth.ABSENT) if all(truth is Truth.ABSENT for truth in truths) else answer

    def _lineage(self, node: Node, own: Sequence[Relative]) -> Answer:
        above, is_whole = self._above(node)
        upper, lower = own[self._upper], own[1 - self._upper]
        answers = []
        if may(lower.truth):
            for one in above:
                if one.seen is None:
                    self._add(one, 0, lower, node)  # it will be judged, and what is below it is remembered for that
                elif known := self._judged.get(one.span):
                    answers.append(_pair(lower, known))
                else:
                    is_whole = False
            answers += [] if is_whole else [_doubt(lower)]
        if may(upper.truth):
            answers += self._met(node, 0, upper)
        return strongest(answers)

    def _siblings(self, node: Node, own: Sequence[Relative]) -> Answer:
        parent = self._tree.parent(node)
        answers = []
        for part, one in enumerate(own):
            if may(one.truth):
                answers += self._met(parent, 1 - part, one)
        for part, one in enumerate(own):
            if may(one.truth):
                self._add(parent, part, one, node)
        return strongest(answers)

    def _without(self, node: Node, own: Sequence[Relative]) -> Answer:
        this, other = own
        before: list[Relative] = []
        is_whole = True
        if self._relation == "sibling":
            parent = self._tree.parent(node)
            if may(this.truth):
                before, is_whole = self._beside(parent, 1, this)
            if may(other.truth):
                self._add(parent, 1, other, node)
        elif may(this.truth):
            above, is_whole = self._above(node)
            for one in above:
                known = self._judged.get(one.span)
                before += [known] if known else []
                is_whole = is_whole and (known is not None or one.seen is None)
        came = [Answer(both(one.truth, one.same(this.keys))) for one in before if one.seen < node.began]
        there = strongest(came if is_whole else [*came, Answer(Truth.UNKNOWN)]).truth
        truth = both(this.truth, negate(there))
        cause = "" if truth is not Truth.UNKNOWN else _EARLIER if is_whole else LOST
        return Answer(truth, (this.link,) if truth is Truth.MATCH else (), cause=cause)

    def _above(self, node: Node) -> tuple[list[Node], bool]:
        if self._relation == "ancestor":
            return self._tree.above(node)
        parent = self._tree.parent(node)
        return ([parent], True) if parent.is_subcall else ([], parent.is_certain)

    def _add(self, place: Node, part: int, one: Relative, node: Node) -> None:
        """Remember it for those that are judged later: below ``place``, or beside each other there."""
        keys: set[object] = {_EVERY}
        if self._rule.fields:
            keys |= {_UNREADABLE} if one.keys is None else set(one.keys)
        for key in keys:
            group = self._groups.get((place.span, part, key))
            if group is None:
                group = _Firsts(is_whole=place.number > self._groups.lost)
            group.add(one)
            self._groups.put((place.span, part, key), group, node.number)

    def _met(self, place: Node, part: int, one: Relative) -> list[Answer]:
        relatives, is_whole = self._beside(place, part, one)
        return [*(_pair(one, other) for other in relatives), *([] if is_whole else [_doubt(one)])]

    def _beside(self, place: Node, part: int, one: Relative) -> tuple[list[Relative], bool]:
        """Those remembered there that may hold the same as this one; and whether those are all that there were."""
        keys: list[object] = [_EVERY]
        if self._rule.fields and one.keys is not None:
            keys = [*sorted(one.keys), _UNREADABLE]
        groups = [self._groups.get((place.span, part, key)) for key in keys]
        is_whole = all(group.is_whole if group else place.number > self._groups.lost for group in groups)
        return [found for group in groups if group for found in group.beside(one.origin)], is_whole and place.is_certain


def _doubt(one: Relative) -> Answer:
    return Answer(both(one.truth, Truth.UNKNOWN), cause=LOST)


def _pair(one: Relative, other: Relative) -> Answer:
    same = one.same(other.keys)
    truth = both(one.truth, other.truth, same)
    if truth is Truth.MATCH:
        return Answer(truth, (one.link,), (other.link,))
    if truth is Truth.UNKNOWN:
        return Answer(truth, cause=_UNREAD if same is Truth.UNKNOWN else _EARLIER)
    return NO
