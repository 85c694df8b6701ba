r"""A text that arrives in chunks: what can be said of it before it is whole.

``finish`` says what ``PatternEngine.find`` says of the whole text. ``feed`` says earlier what no later text can change: a
match of a pattern with a longest match, once so much text follows its beginning that a match there can be no other.
Everything else waits for ``finish``.

Whether a *rule* may be believed before its text is whole is another question, which ``undone_by`` answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.policy import condition as conditions
from monitor.policy.clauses import ExistsClause, ReferenceClause, TextClause
from monitor.policy.matching import MAX_SPANS, Codepoints
from monitor.policy.readings import FieldType
from monitor.policy.regex_syntax import shape

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from monitor.policy.clauses import Clause
    from monitor.policy.detection import Detection
    from monitor.policy.matching import Offsets, PatternEngine

MAX_WINDOW = 4_096
"""Codepoints. A pattern whose longest match is longer is found when the text is whole: each chunk is searched together
with as much text before it as the longest match of any followed pattern has.
"""


def is_followed(pattern: str) -> bool:
    """Whether matches of the pattern are found while the text arrives: it has a longest match, and none that is empty."""
    known = shape(pattern)
    return known.minimum > 0 and not known.cuts_codepoints and known.maximum is not None and known.maximum <= MAX_WINDOW


class TextStream:
    """One text, fed in chunks that may end at any codepoint. Of ``wanted`` it follows those that ``is_followed`` takes."""

    def __init__(self, engine: PatternEngine, wanted: Collection[str]) -> None:
        self._engine = engine
        self._wanted = frozenset(wanted)
        self._followed = {pattern for pattern in self._wanted if is_followed(pattern)}
        self.window = max((shape(pattern).maximum or 0 for pattern in self._followed), default=0)
        self._parts: list[str] = []
        self._length = 0
        self._data = bytearray()
        self._tail = ""
        self._settled_bytes = 0
        self._reported: dict[str, tuple[int, int]] = {}
        self.settled = 0

    @property
    def late(self) -> frozenset[str]:
        """The wanted patterns that ``feed`` never reports."""
        return self._wanted - self._followed

    def feed(self, chunk: str) -> dict[str, Offsets]:
        """Add a chunk; return the matches that have become certain, by pattern, as codepoints of the whole text.

        They are the next ones of those that ``finish`` will return. Every match that begins before ``settled`` and ends
        before the engine's cap has been reported by then, up to the first ``MAX_SPANS`` of a pattern; ``settled`` lies
        ``window`` codepoints and one before the end of what was fed.
        """
        self._parts.append(chunk)
        chunk = chunk[: max(0, self._engine.cap - self._length)]
        self._length += len(chunk)
        self._data += chunk.encode()
        self._tail = (self._tail + chunk)[-(self.window + 1) :]
        settled = self._length - len(self._tail)
        if settled <= self.settled or not self._followed:
            return {}
        settled_bytes = len(self._data) - len(self._tail.encode())
        found = {pattern: offsets for pattern, offsets in self._search(settled_bytes) if offsets}
        self.settled, self._settled_bytes = settled, settled_bytes
        return found

    def finish(self) -> dict[str, Offsets]:
        """What the engine finds in the whole text."""
        return self._engine.find("".join(self._parts), self._wanted)

    def _search(self, settled: int) -> Iterator[tuple[str, Offsets]]:
        """The matches that begin before byte ``settled`` and were not reported yet."""
        start = self._settled_bytes
        before = start - 1
        while before > 0 and self._data[before] & 0xC0 == 0x80:  # one codepoint more: ``\b`` and ``^`` look back at it
            before -= 1
        places = Codepoints(bytes(self._data[start:]))
        for pattern in self._engine.candidates(bytes(self._data[max(0, before) :]), self._followed):
            if pattern in self._followed:
                yield pattern, self._new(pattern, start, settled, places)

    def _new(self, pattern: str, start: int, settled: int, places: Codepoints) -> Offsets:
        count, end = self._reported.get(pattern, (0, 0))
        spans: list[tuple[int, int]] = []
        for match in self._engine.compiled(pattern).finditer(self._data, max(start, end)):
            if match.start() >= settled or count + len(spans) == MAX_SPANS:
                break
            spans.append(match.span())
        if not spans:
            return ()
        self._reported[pattern] = (count + len(spans), spans[-1][1])
        return tuple(
            (self.settled + places.at(first - start), self.settled + places.at(last - start)) for first, last in spans
        )


def window(detection: Detection) -> int | None:
    """The longest match of any pattern of the detection, in codepoints; None where one has no limit."""
    lengths = [shape(pattern).maximum for clause in _texts(detection) for pattern in clause.patterns]
    known = [length for length in lengths if length is not None]
    return max(known, default=0) if len(known) == len(lengths) else None


def undone_by(detection: Detection, fields: Collection[str] | None = None) -> tuple[str, ...]:
    """Why more text can undo a match of the detection, a sentence for each reason; none: a match stands whatever follows.

    ``fields`` are the names of those whose texts still arrive, None all. Other texts and facts (outcome, tokens, the role)
    are taken as they will be in the end.
    """
    arriving = [clause for clause in clauses_of(detection) if _arrives(clause, fields)]
    causes = [f"`{clause.label}` {cause}" for clause in arriving if (cause := _undone(clause))]
    causes += [
        f"`{name}` stands behind a `not`, and its text may still come."
        for name in conditions.asserted(detection.condition, positive=False)
        if any(_reads_text(clause) and _arrives(clause, fields) for clause in detection.selections[name].clauses)
    ]
    return tuple(dict.fromkeys(causes))


def _undone(clause: Clause) -> str:
    if isinstance(clause, TextClause) and clause.negated:
        return "holds as long as its text has not come."
    if isinstance(clause, TextClause) and any(shape(pattern).looks_at_end for pattern in clause.patterns):
        return "looks at the end of the text, which may still be another."
    if isinstance(clause, ExistsClause) and not clause.expected and _reads_text(clause):
        return "holds as long as there is no text."
    if isinstance(clause, ReferenceClause) and _reads_text(clause):
        return "compares with the whole of another field."
    return ""


def _arrives(clause: Clause, fields: Collection[str] | None) -> bool:
    names = {clause.field.name} | ({clause.other.name} if isinstance(clause, ReferenceClause) else set())
    return fields is None or not names.isdisjoint(fields)


def _reads_text(clause: Clause) -> bool:
    return clause.field.type is FieldType.TEXT


def clauses_of(detection: Detection) -> Iterator[Clause]:
    """Every clause that the condition reads."""
    read = conditions.references(detection.condition)
    for name, selection in detection.selections.items():
        if name in read:
            yield from selection.clauses


def _texts(detection: Detection) -> Iterator[TextClause]:
    yield from (clause for clause in clauses_of(detection) if isinstance(clause, TextClause))
