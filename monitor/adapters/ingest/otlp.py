"""OTLP/JSON: exports of spans, one in each line as the Collector's file exporter writes them, or one in all.

A trace id is a run, a span of a model or a tool is a subcall under its own id, below the nearest span around it that is one
too. The spans of a trace may be in any order, in any number of lines, twice, and in several files: a file is gone through
twice, once for where each trace is and once for each trace, so that only one is in memory at a time.

A span without messages (instrumentors leave them out by default) is stored with what it has, and left unchecked: nothing
can pass of which nothing is known.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from monitor.adapters.ingest.otlp_span import Places, SpanReader
from monitor.adapters.ingest.traces import Broken, Problem, Step, Trace, Tree
from monitor.adapters.otel.spans import NotOtlp, is_export, logs_of, read_log, read_span, spans_of, time_of, trace_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from monitor.adapters.otel.spans import Span

ADAPTER = "otlp"
_KEPT = 4  # exports that are kept parsed: a trace is mostly in neighbouring ones
is_one = is_export


class Exports:
    """The exports of one file, by number: where each trace is, and its spans."""

    def __init__(self, file: str, load: Callable[[int], Any]) -> None:
        """``load`` parses an export that was added before, by its number."""
        self._file, self._load = file, load
        self._places: dict[str, list[int]] = {}
        self._recent: OrderedDict[int, Any] = OrderedDict()

    def add(self, number: int, export: Any, where: str) -> Iterator[Problem]:
        """Note where the traces of an export are; yields what in it is broken."""
        if not is_export(export):
            yield Problem(self._file, where, "expected an export with `resourceSpans` or `resourceLogs`")
            return
        for place, record in spans_of(export):
            try:
                span = read_span(record)
            except NotOtlp as exc:
                yield Problem(self._file, _joined(where, place), str(exc))
                continue
            if span.kind and not span.end:
                yield Problem(self._file, _joined(where, place), "the span has not ended", is_refused=False)
            self._note(span.trace_id, number)
        for _, record in logs_of(export):
            try:
                self._note(trace_id_of(record), number)
            except NotOtlp:
                continue  # most of a log is of no span

    def _note(self, trace_id: str, number: int) -> None:
        places = self._places.setdefault(trace_id, [])
        if not places or places[-1] != number:
            places.append(number)

    def traces(self) -> Iterator[Trace | Problem]:
        """The traces in the order in which they began, those without any span of a model or a tool left out."""
        for trace_id in self._places:
            spans, dropped = self._spans(trace_id)
            if any(span.kind and span.end for span in spans.values()):
                yield from _trace(trace_id, spans, self._file, dropped)
            elif spans:
                why = "no span of a model or a tool that has ended"
                yield Problem(self._file, f"trace {trace_id}", why, is_refused=False)

    def _spans(self, trace_id: str) -> tuple[dict[str, Span], int]:
        """The spans of a trace, and how many of its records cannot be read.

        Of a span that is there twice, it is the one that has ended; logs go to the spans they are of.
        """
        spans: dict[str, Span] = {}
        logs, dropped = [], 0
        for number in self._places[trace_id]:
            export = self._parsed(number)
            for _, record in spans_of(export):
                if _is_of(record, trace_id):
                    try:
                        span = read_span(record)
                    except NotOtlp:  # it was named when it was added
                        dropped += 1
                        continue
                    before = spans.get(span.span_id)
                    if before is None or before.end < span.end:
                        spans[span.span_id] = span
            for _, record in logs_of(export):
                if _is_of(record, trace_id):
                    try:
                        logs.append(read_log(record))
                    except NotOtlp:
                        dropped += 1
        for _, span_id, happening in logs:
            if span_id in spans:
                spans[span_id].happenings.append(happening)
        return spans, dropped

    def _parsed(self, number: int) -> Any:
        if number not in self._recent:
            self._recent[number] = self._load(number)
            if len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
        return self._recent[number]


def _is_of(record: Any, trace_id: str) -> bool:
    return isinstance(record, dict) and str(record.get("traceId")).lower() == trace_id


def _joined(*places: str) -> str:
    return ", ".join(filter(None, places))


def _trace(trace_id: str, spans: Mapping[str, Span], file: str, dropped: int) -> Iterator[Trace | Problem]:
    wanted = [span for span in spans.values() if span.kind and span.end]
    trace, problems = build(trace_id, spans, wanted, file)
    yield from problems
    if trace:
        yield replace(trace, dropped=trace.dropped + dropped)


def build(
    trace_id: str, spans: Mapping[str, Span], wanted: Iterable[Span], file: str
) -> tuple[Trace | None, list[Problem]]:
    """The trace of the ``wanted`` ones of ``spans``, each at its place among all of them; None where none can be read."""
    tree, places = Tree(ADAPTER, trace_id), Places(spans)
    problems: list[Problem] = []
    steps: list[Step] = []
    ordered = sorted(wanted, key=lambda span: (span.start, span.end, span.span_id))
    for span in ordered:
        try:
            steps.append(SpanReader(tree, span, spans).step(places))
        except Broken as exc:
            problems.append(Problem(file, f"span {trace_id}/{span.span_id}", str(exc)))
    if not steps:
        return None, problems
    models = [step for step in steps if step.call.kind == "model"]
    task = next((said.content for step in models for said in step.call.messages if said.role == "user"), "")
    trace = Trace(
        tree,
        file,
        f"trace {trace_id}",
        "",
        lambda: iter(steps),
        task=task,
        model=models[0].call.model if models else "",
        answer=models[-1].observation.output if models else "",
        at=time_of(min(span.start for span in spans.values())),
        may_grow=True,
        dropped=len(problems),
    )
    return trace, problems


def read_document(export: Any, file: str) -> Iterator[Trace | Problem]:
    """The traces of a file that is one export."""
    exports = Exports(file, lambda _: export)
    yield from exports.add(0, export, "")
    yield from exports.traces()


def read_lines(
    file: IO[bytes], name: str, lines: Iterator[tuple[int, int, Any]], parse: Callable[[bytes], Any]
) -> Iterator[Trace | Problem]:
    """The traces of a file with an export in each line; ``lines`` has (number, offset, value or Problem) of each."""

    def load(offset: int) -> Any:
        file.seek(offset)
        return parse(file.readline())

    exports = Exports(name, load)
    for number, offset, found in lines:
        if isinstance(found, Problem):
            yield found
        else:
            yield from exports.add(offset, found, f"line {number}")
    yield from exports.traces()
