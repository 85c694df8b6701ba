"""Taint: texts of one subcall that reach another one, found where they stand there.

What a subcall of the ``source`` says is marked, without what it was handed itself: what it repeats did not come from it.
Marked text **reaches** a subcall of the ``sink``

* in what it was handed, if it is of another role than the one that has the text anyway: the role that said it, and of a
  tool's result the role that called the tool. A conversation that goes on hands a role its own history: that is no flow;
* in what it writes itself (its answer, the arguments of its tools), whoever had the text before.

Only what was judged before the sink began can have reached it, and what the sink was handed itself. So the order in which
siblings that overlap are judged makes no difference.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from monitor.policy.logic import Truth
from monitor.policy.matching import MAX_SPANS
from monitor.policy.over_run.answers import NO, Answer, strongest
from monitor.policy.over_run.dropped import Dropped
from monitor.policy.over_run.forms import Form, forms, strings, through
from monitor.policy.over_run.joined import MAX_EVIDENCE, both, is_all, may, text_at
from monitor.policy.over_run.memory import Link
from monitor.policy.over_run.shelf import MAX_THINGS, MAX_WEIGHT, Shelf
from monitor.policy.over_run.stretches import Fingerprints, uncovered
from monitor.records import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from monitor.policy.over_run.joined import Step
    from monitor.policy.over_run.nodes import Node, Tree
    from monitor.policy.over_run.run_rules import RunRule
    from monitor.policy.readings import Reading

DROPPED = "more marked text than may be remembered: some that was dropped may stand here"
_CROWDED = "a stretch of marked text stands in more places than are remembered"
_UNREAD = "what is marked, or where it is looked for, cannot be read as a whole"
_EARLIER = "what is said of the source or of the sink is unknown"
_CALLER = "which role called the tool is not known"


class _Mark(NamedTuple):
    """One marked piece of a text in one form. ``holder`` is the role that has it anyway, None where that is not known."""

    form: Form
    place: _Place
    start: int
    end: int
    span_id: str
    holder: str | None
    truth: Truth
    seen: int

    @property
    def text(self) -> str:
        """The piece as it is compared."""
        return self.form.text[self.start : self.end]

    @property
    def key(self) -> bytes:
        """The same for the same piece that the same role has."""
        content = f"{self.holder}\x00{self.truth.value}\x00{self.text}"
        return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class _Place(NamedTuple):
    """A text of the subcall. ``back`` says where codepoints of it stand in the text that is stored as ``surface``."""

    surface: str
    text: str
    back: Callable[[int, int], tuple[int, int]]

    @property
    def is_handed(self) -> bool:
        """Whether the subcall was handed it, and did not write it."""
        return self.surface == "task" or self.surface.startswith("messages[")

    def span(self, form: Form, start: int, end: int) -> Span:
        """Where codepoints of a form of it are stored."""
        begins, ends = self.back(*form.stored(start, end))
        return Span(surface=self.surface, start=begins, end=ends, clause=form.how)


class _Reached(NamedTuple):
    truth: Truth
    here: Span
    there: Link
    cause: str


class TaintMemory:
    """What one such rule remembers of one run."""

    def __init__(self, rule: RunRule, tree: Tree, most: int = MAX_THINGS, heaviest: int = MAX_WEIGHT) -> None:
        written = rule.written.taint
        assert written is not None, "the rule is over taint"
        self._rule = rule
        self._tree = tree
        self._source, self._sink, self.least = written.source, written.sink, written.least
        self._marks: Shelf[_Mark] = Shelf(most, heaviest)
        self._known: Fingerprints[bytes] = Fingerprints(written.least)
        self._dropped: Dropped | None = None
        self._unread: int | None = (
            None  # the first place at which a source was judged that could not be read as a whole
        )

    def __len__(self) -> int:
        return len(self._marks) + len(self._known)

    def begin(self, node: Node) -> None:
        """A subcall begins."""

    def see(self, step: Step) -> Answer:
        """What the rule says of one more subcall; and what it said is marked."""
        source, sink = step.truth(self._source), step.truth(self._sink)
        marks: list[_Mark] = []
        is_whole = True
        if may(source):
            places, is_whole = self._said(step)
            marks = list(self._marks_in(step, places, source))
        answer = self._reaching(step, sink, marks) if may(sink) else NO
        for mark in marks:
            self._keep(mark, step.moment.number)
        if not is_whole and self._unread is None:
            self._unread = step.moment.seen
        return Answer(Truth.ABSENT) if source is Truth.ABSENT and sink is Truth.ABSENT else answer

    def _said(self, step: Step) -> tuple[list[_Place], bool]:
        """The texts that are to be marked, and whether those are all."""
        record = step.record
        assert record is not None, "of an unchecked subcall nothing is read"
        if self._rule.marks:
            readings = [step.read(one) for one in self._rule.marks]
            return _places(readings), all(reading.gap is not Truth.UNKNOWN for reading in readings)
        finding = step.found.get(self._source)
        spans = finding.evidence if finding else ()
        places = [place for span in spans for place in _found(span, text_at(record, span.surface), self.least)]
        # A rule that is unknown, or that matched by a fact, does not say what it found; of very much it says a part.
        return places, bool(spans) and is_all(spans)

    def _marks_in(self, step: Step, places: Sequence[_Place], truth: Truth) -> Iterator[_Mark]:
        if not places:
            return
        handed: Fingerprints[int] = Fingerprints(self.least)
        for number, text in enumerate(_handed(step, {place.surface for place in places})):
            for form in forms(text, self.least):
                handed.add(number, form.text)
        holder = self._caller(step.node) if step.call.kind == "tool" else step.call.role
        for place in places:
            for form in forms(place.text, self.least):
                found = (stretch for stretch in handed.common(form.text) if stretch)
                covered = list(_merged(sorted((start, end) for _, start, end, _ in found)))
                for start, end in uncovered(0, len(form.text), covered, self.least):
                    yield _Mark(form, place, start, end, step.call.span_id, holder, truth, step.moment.seen)

    def _keep(self, mark: _Mark, number: int) -> None:
        key = mark.key
        known = self._marks.get(key)
        if known is None:
            self._known.add(key, mark.text)
        # The first to say it stays the one that said it.
        for old in self._marks.put(key, known or mark, number, (known or mark).form.weight):
            self._dropped = self._dropped or Dropped()
            self._known.remove(old.key, old.text)
            for gram, _ in self._known.of(old.text):
                self._dropped.add(gram)

    def _caller(self, node: Node) -> str | None:
        """The role of the model that called a tool; None where it is not known."""
        above, _ = self._tree.above(node)
        return next((one.role for one in above if one.kind == "model"), None)

    def _reaching(self, step: Step, sink: Truth, own: Sequence[_Mark]) -> Answer:
        readings = [step.read(one) for one in self._rule.texts]
        found: list[_Reached] = []
        causes: list[str] = []
        handed = {number: mark for number, mark in enumerate(own) if mark.place.is_handed}
        here: Fingerprints[int] = Fingerprints(self.least)
        for number, mark in handed.items():
            here.add(number, mark.text)
        for place in _places(readings):
            for form in forms(place.text, self.least):
                if self._dropped and self._dropped.may_hold(form.text, self._known.gram):
                    causes.append(DROPPED)
                met: list[tuple[_Mark | None, int, int, int]] = []
                for stretch in self._known.common(form.text):
                    if stretch is None:
                        causes.append(_CROWDED)
                    else:
                        met.append((self._marks.get(stretch[0]), *stretch[1:]))
                if not place.is_handed:
                    met += [(handed[one[0]], *one[1:]) for one in here.common(form.text) if one]
                found += [
                    _reached(mark, place, form, (start, end, there), sink)
                    for mark, start, end, there in met
                    if mark is not None and _can_reach(mark, step, place)
                ]
        certain = [one for one in found if one.truth is Truth.MATCH]
        if certain:
            spans = tuple(_first(dict.fromkeys(one.here for one in certain)))
            sources = tuple(dict.fromkeys(one.there for one in certain))[:MAX_EVIDENCE]
            return Answer(Truth.MATCH, (Link(step.call.span_id, spans),), sources)
        causes += [one.cause for one in found]
        if any(reading.gap is Truth.UNKNOWN for reading in readings) and (len(self._marks) or self._dropped or own):
            causes.append(_UNREAD)
        if self._unread is not None and self._unread < step.moment.began:
            causes.append(_UNREAD)
        return strongest(Answer(both(sink, Truth.UNKNOWN), cause=cause) for cause in causes[:1])


def _first(spans: Iterable[Span]) -> Iterator[Span]:
    """As much of the evidence as a rule over one subcall would have: what is more than that, whoever reads it can tell."""
    count: Counter[str] = Counter()
    for span in spans:
        count[span.clause] += 1
        if count[span.clause] <= MAX_SPANS:
            yield span


def _can_reach(mark: _Mark, step: Step, place: _Place) -> bool:
    if mark.span_id == step.call.span_id:
        return not place.is_handed
    if mark.seen >= step.moment.began:
        return False
    return not place.is_handed or step.call.kind == "tool" or mark.holder != step.call.role


def _reached(mark: _Mark, place: _Place, form: Form, where: tuple[int, int, int], sink: Truth) -> _Reached:
    start, end, there = where
    here = place.span(form, start, end)
    source = mark.place.span(mark.form, mark.start + there, mark.start + there + end - start)
    is_known = mark.holder is not None or not place.is_handed
    truth = both(sink, mark.truth, Truth.MATCH if is_known else Truth.UNKNOWN)
    return _Reached(truth, here, Link(mark.span_id, (source,)), _EARLIER if is_known else _CALLER)


def _places(readings: Sequence[Reading]) -> list[_Place]:
    found = {
        (passage.surface, passage.text): _Place(passage.surface, passage.text, passage.stored)
        for reading in readings
        for passage in reading.passages
        if passage.surface
    }
    return list(found.values())


def _found(span: Span, text: str, least: int) -> Iterator[_Place]:
    """What a rule found; where it found it in a JSON text with escapes, without those as well."""
    yield _Place(span.surface, text[span.start : span.end], _further(span.start))
    if "\\" in text[span.start : span.end]:
        for one in strings(text, least):
            start, end = (bisect_left(one.places, place) for place in (span.start, span.end))
            yield _Place(span.surface, one.text[start:end], through(one.places[start:]))


def _further(shift: int) -> Callable[[int, int], tuple[int, int]]:
    return lambda start, end: (start + shift, end + shift)


def _merged(stretches: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Stretches in order, those that touch as one."""
    here: tuple[int, int] | None = None
    for start, end in stretches:
        if here is None or start > here[1]:
            if here:
                yield here
            here = start, end
        else:
            here = here[0], max(here[1], end)
    if here:
        yield here


def _handed(step: Step, said: Collection[str]) -> Iterator[str]:
    """What the subcall was handed before it said what stands at these surfaces."""
    call = step.call
    messages = [surface for surface in said if surface.startswith("messages[")]
    if not messages:
        yield call.task
    for number, message in enumerate(call.messages):
        surface = f"messages[{number}].content"
        if surface not in messages:
            yield message.content
        yield from (asked.arguments for asked in message.tool_calls)
