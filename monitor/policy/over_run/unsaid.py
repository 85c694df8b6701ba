"""``unsaid-in``: what a subcall shows, and neither its parent has said nor any sibling before it.

What a relative said counts if it was judged before the subcall began. Of a parent that is still in flight then, as an agent
is for whom another works, only what it was handed counts: its answer came after. So the order in which siblings finish
makes no difference. Without such a relative there is nobody who could have said it, and no match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from monitor.policy.logic import Truth
from monitor.policy.over_run.answers import NO, Answer, strongest
from monitor.policy.over_run.forms import shown, strings
from monitor.policy.over_run.joined import both, is_all, may, says, text_at, values_of, words
from monitor.policy.over_run.relatives import LOST
from monitor.policy.over_run.shelf import MAX_THINGS, MAX_WEIGHT, Shelf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.policy.over_run.joined import Step
    from monitor.policy.over_run.memory import Link
    from monitor.policy.over_run.nodes import Node, Tree
    from monitor.policy.over_run.run_rules import RunRule

MAX_SAID = 65_536
"""How many codepoints of one subcall are remembered as what it said, and as what it was handed."""
MAX_VALUES = 16
"""How many values of one subcall are looked for."""
MAX_RELATIVES = 64
"""How many siblings in one place, or children of one parent in flight, are remembered."""
_LONGEST_VALUE = 2_000


class _Text(NamedTuple):
    """What was said, as it is compared; ``is_whole`` is false where some of it is not known."""

    text: str
    is_whole: bool


class _Said(NamedTuple):
    truth: Truth
    link: Link
    origin: str
    seen: int
    handed: _Text
    everything: _Text


class _Asked(NamedTuple):
    truth: Truth
    link: Link
    values: tuple[str, ...]
    is_whole: bool


class _Many(NamedTuple):
    """``is_whole`` is false where there were more."""

    some: tuple[_Said | _Asked, ...] = ()
    is_whole: bool = True


class UnsaidMemory:
    """What one such rule remembers of one run."""

    def __init__(self, rule: RunRule, tree: Tree, most: int = MAX_THINGS, heaviest: int = MAX_WEIGHT) -> None:
        written = rule.written.tree
        assert written is not None, "the rule is over the tree"
        self._rule = rule
        self._tree = tree
        self._is_sibling = written.relation == "sibling"
        self._this, self._other = written.this, written.other
        self._said: Shelf[_Many] = Shelf(most, heaviest)
        self._waiting: Shelf[_Many] = Shelf(most, heaviest)

    def __len__(self) -> int:
        return len(self._said) + len(self._waiting)

    def begin(self, node: Node) -> None:
        """A subcall begins."""

    def see(self, step: Step) -> Answer:
        """What the rule says of one more subcall; and it is remembered."""
        this, other = step.truth(self._this), step.truth(self._other)
        node, answers = step.node, [NO]
        if may(this):
            asked = self._asked(step, this)
            answers.append(self._beside(node, asked) if self._is_sibling else self._below(node, asked))
        said = self._what_it_said(step, other)
        place = self._tree.parent(node) if self._is_sibling else node
        if not self._is_sibling:
            answers += self._of_children(node, said)
        if may(other) or not self._is_sibling:
            self._keep(self._said, place, said, node, len(said.handed.text) + len(said.everything.text))
        if this is Truth.ABSENT and other is Truth.ABSENT:
            return Answer(Truth.ABSENT)
        return strongest(answers)

    def _below(self, node: Node, asked: _Asked) -> Answer:
        parent = self._tree.parent(node)
        if not parent.is_subcall:
            return NO if parent.is_certain else _doubt(asked)
        if parent.seen is None:
            self._keep(self._waiting, parent, asked, node, sum(map(len, asked.values)))
            return NO
        known = self._said.get(parent.span)
        if known is None:
            return _doubt(asked)
        return _unsaid(asked, [one for one in known.some if isinstance(one, _Said)], node, is_whole=True)

    def _of_children(self, node: Node, said: _Said) -> list[Answer]:
        """Of those below that were judged while this one was in flight."""
        waiting = self._waiting.pop(node.span)
        is_whole = waiting.is_whole if waiting else node.number > self._waiting.lost
        answers = [] if is_whole or not may(said.truth) else [Answer(Truth.UNKNOWN, cause=LOST)]
        for one in waiting.some if waiting else ():
            if isinstance(one, _Asked):
                answer = _unsaid(one, [said], None, is_whole=True)
                answers.append(answer._replace(here=answer.there, there=answer.here))
        return answers

    def _beside(self, node: Node, asked: _Asked) -> Answer:
        parent = self._tree.parent(node)
        known = self._said.get(parent.span)
        is_whole = known.is_whole if known else parent.number > self._said.lost
        some = [
            one
            for one in (known.some if known else ())
            if isinstance(one, _Said) and one.seen < node.began and one.origin != node.origin
        ]
        return _unsaid(asked, some, node, is_whole=is_whole and parent.is_certain)

    @staticmethod
    def _keep(shelf: Shelf[_Many], place: Node, one: _Said | _Asked, node: Node, weight: int) -> None:
        known = shelf.get(place.span) or _Many(is_whole=place.number > shelf.lost)
        some = (*known.some, one)
        weight += sum(_weight(other) for other in known.some)
        shelf.put(
            place.span,
            _Many(some[-MAX_RELATIVES:], known.is_whole and len(some) <= MAX_RELATIVES),
            node.number,
            weight,
        )

    def _asked(self, step: Step, truth: Truth) -> _Asked:
        field = self._rule.what
        values: list[str]
        is_whole = True
        if field is not None:
            reading = step.read(field)
            values, is_whole = values_of(reading), reading.gap is not Truth.UNKNOWN
        else:
            finding, record = step.found.get(self._this), step.record
            assert record is not None, "of an unchecked subcall nothing is read"
            spans = finding.evidence if finding else ()
            values = [shown(text_at(record, span.surface), span.start, span.end) for span in spans]
            is_whole = truth is Truth.MATCH and bool(spans) and is_all(spans)
        compared = tuple(dict.fromkeys(word for value in values if (word := words(value[:_LONGEST_VALUE]))))
        is_whole = is_whole and len(compared) <= MAX_VALUES and all(len(value) <= _LONGEST_VALUE for value in values)
        return _Asked(truth, step.link(self._this), compared[:MAX_VALUES], is_whole)

    def _what_it_said(self, step: Step, truth: Truth) -> _Said:
        handed: list[str] = []
        everything: list[str] = []
        is_whole = True
        for field in self._rule.texts if may(truth) else ():
            reading = step.read(field)
            is_whole = is_whole and reading.gap is not Truth.UNKNOWN
            for passage in reading.passages:
                told = [passage.text, *(one.text for one in strings(passage.text, 1))]
                everything += told
                if passage.surface == "task" or passage.surface.startswith("messages["):
                    handed += told
        return _Said(
            truth,
            step.link(self._other),
            step.node.origin,
            step.moment.seen,
            _capped(handed, is_whole=True),
            _capped(everything, is_whole=is_whole),
        )


def _unsaid(asked: _Asked, some: Sequence[_Said], node: Node | None, *, is_whole: bool) -> Answer:
    """``node`` is the subcall that asks, None where it was judged before the relative that is asked."""
    relatives = [
        (one, one.everything if node is not None and one.seen < node.began else one.handed)
        for one in some
        if may(one.truth)
    ]
    certain = [one for one, _ in relatives if one.truth is Truth.MATCH]
    if not relatives:
        return NO if is_whole else _doubt(asked)
    truths = [] if asked.is_whole else [Truth.UNKNOWN]
    for value in asked.values:
        is_said = [says(said.text, value) for _, said in relatives]
        if any(told and one.truth is Truth.MATCH for told, (one, _) in zip(is_said, relatives, strict=True)):
            truths.append(Truth.NO_MATCH)
        elif any(is_said) or not certain or not is_whole or not all(said.is_whole for _, said in relatives):
            truths.append(Truth.UNKNOWN)
        else:
            truths.append(Truth.MATCH)
    truth = both(asked.truth, strongest(map(Answer, truths)).truth)
    if truth is Truth.MATCH:
        return Answer(truth, (asked.link,), tuple(one.link for one in certain[-MAX_VALUES:]))
    cause = "" if is_whole else LOST
    return Answer(truth, cause=cause or "what a relative said is not known, or what is looked for")


def _doubt(asked: _Asked) -> Answer:
    return Answer(both(asked.truth, Truth.UNKNOWN), cause=LOST)


def _weight(one: _Said | _Asked) -> int:
    if isinstance(one, _Said):
        return len(one.handed.text) + len(one.everything.text)
    return sum(map(len, one.values))


def _capped(texts: Sequence[str], *, is_whole: bool) -> _Text:
    text = " \x00 ".join(words(text[: MAX_SAID + 1]) for text in texts)
    is_whole = is_whole and len(text) <= MAX_SAID and all(len(text) <= MAX_SAID for text in texts)
    return _Text(text[:MAX_SAID], is_whole)
