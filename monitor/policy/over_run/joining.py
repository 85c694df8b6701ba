"""Rules over the tree and over taint at work in one run: one memory for each rule, one tree for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from monitor.policy.logic import Truth
from monitor.policy.over_run.answers import Answer
from monitor.policy.over_run.joined import far, may
from monitor.policy.over_run.relatives import RelativesMemory
from monitor.policy.over_run.shares import SharesMemory
from monitor.policy.over_run.taint import TaintMemory
from monitor.policy.over_run.unsaid import UnsaidMemory
from monitor.policy.run_schema import NEGATIVE, UNCHECKED
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.policy.over_run.joined import Step
    from monitor.policy.over_run.memory import Link
    from monitor.policy.over_run.nodes import Node, Tree
    from monitor.policy.over_run.run_rules import RunRule
    from monitor.records import Finding, Span


class Memory(Protocol):
    """What one rule remembers of one run."""

    def begin(self, node: Node) -> None:
        """A subcall begins."""
        ...

    def see(self, step: Step) -> Answer:
        """What the rule says of one more subcall."""
        ...


class JoinedRule:
    """One rule over the tree or over taint, in one run."""

    def __init__(self, rule: RunRule, tree: Tree) -> None:
        self.rule = rule
        self._memory = _memory(rule, tree)
        self._broken: Exception | None = None
        self._has_lost = False
        self._silent = {status: rule.finding(status) for status in (Status.NO_MATCH, Status.NOT_APPLICABLE)}

    @property
    def is_about_unchecked(self) -> bool:
        """Whether it also says something of subcalls that no check looks at."""
        return UNCHECKED in self.rule.parts

    def begin(self, node: Node) -> None:
        """A subcall begins. It never raises: what broke is told of every subcall from then on."""
        try:
            self._memory.begin(node)
        except Exception as exc:  # noqa: BLE001 - see ``see``
            self._broken = exc

    def lose(self) -> None:
        """A subcall of the run was not seen, wherever it stood."""
        self._has_lost = True

    def see(self, step: Step) -> Finding:
        """What the rule says of one more subcall. A rule that crashes is ``unknown`` from then on: it missed something."""
        rule = self.rule
        if rule.written.status == "unsupported":
            return rule.finding(Status.NOT_APPLICABLE, cause="the rule is marked as unsupported")
        if self._broken is None:
            try:
                answer = self._memory.see(step)
                return self._finding(self._in_doubt(answer, step) if self._has_lost else answer, step)
            except Exception as exc:  # noqa: BLE001 - here a crash becomes a recorded unknown
                self._broken = exc
        return rule.finding(Status.UNKNOWN, cause=type(self._broken).__name__)

    def _in_doubt(self, answer: Answer, step: Step) -> Answer:
        """The answer where a subcall was not seen, which could be what is missing, or what makes a match none."""
        tree = self.rule.written.tree
        if tree and (tree.share or tree.unsaid_in or tree.relation in NEGATIVE):
            is_certain = answer.truth in {Truth.ABSENT, Truth.UNKNOWN}
        else:
            is_certain = answer.truth is not Truth.NO_MATCH
        is_part = any(may(step.truth(name)) for name in self.rule.parts) or (
            tree is not None and tree.share is not None
        )
        if is_certain or not is_part:
            return answer
        return Answer(Truth.UNKNOWN, cause="a subcall of the run could not be read")

    def _finding(self, answer: Answer, step: Step) -> Finding:
        if answer.truth in {Truth.NO_MATCH, Truth.ABSENT}:
            return self._silent[answer.truth.status]
        return self.rule.finding(
            answer.truth.status,
            evidence=[span for link in answer.here for span in self._whole(link, step)],
            elsewhere=[span for link in answer.there for span in far(link)],
            cause=answer.cause if answer.truth is Truth.UNKNOWN else "",
        )

    def _whole(self, link: Link, step: Step) -> Sequence[Span]:
        """All that a part found in the subcall itself, of which a link keeps the beginning: ``redact`` covers it."""
        found = (step.found.get(name) for name in self.rule.parts)
        every = (one.evidence for one in found if one and one.evidence[: len(link.evidence)] == link.evidence)
        return max(every, key=len, default=link.evidence) if link.evidence else ()


def _memory(rule: RunRule, tree: Tree) -> Memory:
    written = rule.written.tree
    if written is None:
        return TaintMemory(rule, tree)
    if written.share:
        return SharesMemory(rule, tree)
    return UnsaidMemory(rule, tree) if written.unsaid_in else RelativesMemory(rule, tree)
