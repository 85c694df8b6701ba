"""``share``: how much of what the run has spent so far one branch has: a subcall and all that is below it.

Where a subcall is judged, what counts is itself and what came before it: what was judged before it began, and of those
above and below it also what was judged before it was. Siblings that overlap have no order, so neither of them counts the
other, and it makes no difference which of them is judged first.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from monitor.policy.logic import Truth
from monitor.policy.over_run.answers import NO, Answer, strongest
from monitor.policy.over_run.exact import INFINITE, exact
from monitor.policy.over_run.joined import both, may
from monitor.policy.over_run.relatives import LOST
from monitor.policy.over_run.shelf import MAX_THINGS, Shelf

if TYPE_CHECKING:
    from monitor.policy.over_run.joined import Step
    from monitor.policy.over_run.memory import Link
    from monitor.policy.over_run.nodes import Node, Tree
    from monitor.policy.over_run.run_rules import RunRule


@dataclass(frozen=True, slots=True)
class Spent:
    """A sum, and of how many subcalls it is not known what they spent."""

    known: Fraction = Fraction()
    unknown: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.known + other.known, self.unknown + other.unknown)


@dataclass(slots=True)
class _Branch:
    """One subcall: what it spent itself, and with all below it."""

    truth: Truth = Truth.NO_MATCH
    link: Link | None = None
    own: Spent = Spent()
    whole: Spent = Spent()
    seen: int | None = None
    is_whole: bool = True


class SharesMemory:
    """What one such rule remembers of one run."""

    def __init__(self, rule: RunRule, tree: Tree, most: int = MAX_THINGS) -> None:
        written = rule.written.tree
        assert written is not None, "the rule is over the tree"
        assert written.share is not None, "it has a share"
        self._rule = rule
        self._tree = tree
        self._this = written.this
        self._share, self._least = exact(written.share.gte), exact(written.share.least)
        self._branches: Shelf[_Branch] = Shelf(most)
        self._run = Spent()
        self._begun: Shelf[tuple[Spent, dict[str, Spent]]] = Shelf(most)
        self._is_whole = True

    def __len__(self) -> int:
        return len(self._branches) + len(self._begun)

    def begin(self, node: Node) -> None:
        """A subcall begins: what was spent before it is what stands now."""
        above, _ = self._tree.above(node)
        self._begun.put(node.span, (self._run, {one.span: self._at(one).whole for one in above}), node.number)
        self._at(node)

    def see(self, step: Step) -> Answer:
        """What the rule says of one more subcall, about every branch that it is in; and it is counted."""
        node = step.node
        above, is_whole = self._tree.above(node)
        self._is_whole = self._is_whole and is_whole
        own = self._spent(step)
        branch = self._at(node)
        below = branch.whole
        branch.truth, branch.link, branch.seen = step.truth(self._this), step.link(self._this), step.moment.seen
        branch.own = own
        before = self._begun.pop(node.span)
        answers = []
        if before is None:
            answers.append(Answer(Truth.UNKNOWN, cause=LOST))
        else:
            run, of_branch = before
            chain = [branch, *map(self._at, above)]
            late = [one.own if one.seen is not None and one.seen > node.began else Spent() for one in chain[1:]]
            here = below + own
            run += here + sum(late, Spent())
            inside = here
            for number, one in enumerate(chain):
                if number:
                    inside += late[number - 1]
                if may(one.truth):
                    spent = inside + of_branch.get(above[number - 1].span, Spent()) if number else inside
                    answers.append(self._answer(one, spent, run))
        for one in [branch, *map(self._at, above)]:
            one.whole += own
        self._run += own
        if branch.truth is Truth.ABSENT and not any(may(self._at(one).truth) for one in above):
            return Answer(Truth.ABSENT)
        return strongest(answers)

    def _answer(self, branch: _Branch, spent: Spent, run: Spent) -> Answer:
        """What a branch spent and nobody knows of makes its share greater, what others did makes it less. Of a branch of
        which something was lost, too little is known to be spent: then only a match is certain.
        """
        is_whole = branch.is_whole and self._is_whole
        outside = run.unknown - spent.unknown
        reached = spent.known >= self._least and spent.known >= self._share * run.known
        if reached and not outside:
            measured = Truth.MATCH
        elif not is_whole or reached or spent.unknown:
            measured = Truth.UNKNOWN
        else:
            measured = Truth.NO_MATCH
        truth = both(branch.truth, measured)
        if truth is Truth.MATCH:
            return Answer(truth, (), (branch.link,) if branch.link else ())
        cause = LOST if not is_whole else "what some subcalls spent is not known, or what the rule says of the branch"
        return Answer(truth, cause=cause) if truth is Truth.UNKNOWN else NO

    def _at(self, node: Node) -> _Branch:
        branch = self._branches.get(node.span)
        if branch is None:
            # One that is asked for after it was dropped begins anew, and says so.
            branch = _Branch(is_whole=node.number > self._branches.lost, seen=node.seen)
            if not branch.is_whole:
                branch.truth = Truth.UNKNOWN
            self._branches.put(node.span, branch, node.number)
        return branch

    def _spent(self, step: Step) -> Spent:
        field = self._rule.value
        assert field is not None, "a share is of a field"
        if step.observation is None:
            return Spent(unknown=1)
        reading = step.read(field)
        values = [one for one in reading.values if isinstance(one, (int, float)) and one > 0]
        known = sum((exact(one) for one in values if one != INFINITE), Fraction())
        # No share can be told of what is infinite.
        return Spent(known, int(reading.gap is Truth.UNKNOWN or INFINITE in values))
