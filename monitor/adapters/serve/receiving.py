"""From an export to the inbox: which spans can be kept, and what is kept of each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.adapters.ingest.otlp import ADAPTER
from monitor.adapters.ingest.otlp_span import Places, SpanReader
from monitor.adapters.ingest.traces import MAX_RECORD, Broken, Tree, digest
from monitor.adapters.otel.mapping import EVENTS, NAMES
from monitor.adapters.otel.spans import (
    Happening,
    NotOtlp,
    Span,
    attributes_of,
    logs_of,
    read_log,
    read_span,
    spans_of,
)
from monitor.canonical import parse_json
from monitor.store.inbox import KNOWN, OPEN, WAITING, Note, Parcel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_RECORDS = 20_000
"""Spans, or records of a log, in one request."""
_KEPT = (
    "traceId",
    "spanId",
    "parentSpanId",
    "name",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "attributes",
    "events",
    "status",
)
_SHAPE = [name for what in ("operation", "kind", "agent") for name in NAMES[what]]
_LISTED = 3  # rejected records that are named in an answer


class Received(NamedTuple):
    """What of an export can be kept. ``rejected`` says of each of the others where it stands and why not."""

    parcels: list[Parcel]
    notes: list[Note]
    rejected: list[str]

    @property
    def why(self) -> str:
        """The first of those that were rejected, in one line."""
        more = len(self.rejected) - _LISTED
        return "; ".join(self.rejected[:_LISTED]) + (f"; and {more} more" if more > 0 else "")


class TooManyError(ValueError):
    """There are more records in a request than are read of one."""


def receive_spans(export: Any) -> Received:
    """The spans of an export. Raises TooManyError."""
    parcels, rejected = [], []
    for count, (place, record) in enumerate(spans_of(export)):
        _require(count)
        try:
            parcels.append(_parcel(record))
        except (NotOtlp, Broken) as exc:
            rejected.append(f"{place}: {exc}")
    return Received(parcels, [], rejected)


def receive_logs(export: Any) -> Received:
    """Those records of a log that say something of a span of a model: others are none of ours. Raises TooManyError."""
    notes, rejected = [], []
    for count, (place, record) in enumerate(logs_of(export)):
        _require(count)
        if not (isinstance(record, dict) and _name_of(record) in EVENTS and record.get("spanId")):
            continue
        try:
            trace_id, span_id, happening = read_log(record)
        except NotOtlp as exc:
            rejected.append(f"{place}: {exc}")
            continue
        body = json.dumps(happening._asdict(), separators=(",", ":"))
        notes.append(Note(trace_id, span_id, digest(body), body))
    return Received([], notes, rejected)


def _name_of(record: Any) -> Any:
    return record.get("eventName") or attributes_of(record).get("event.name")


def _require(count: int) -> None:
    if count >= MAX_RECORDS:
        raise TooManyError(f"more than {MAX_RECORDS:,} in one request: send fewer at once")


def _parcel(record: Any) -> Parcel:
    """What is kept of a span. Raises NotOtlp for what is none, and Broken where its messages cannot be read."""
    span = read_span(record)
    body = None
    if span.kind:
        SpanReader(Tree(ADAPTER, span.trace_id), span, {}).step(Places({}))
        body = json.dumps({name: record[name] for name in _KEPT if name in record}, separators=(",", ":"))
        if len(body) > MAX_RECORD:
            raise Broken(f"span {span.span_id} is longer than {MAX_RECORD // 2**20} MiB")
    state = OPEN if not span.end else WAITING if span.kind else KNOWN
    shape = {"parent": span.parent_id, "start": span.start, "end": span.end}
    says = {name: value for name in _SHAPE if isinstance(value := span.attributes.get(name), str)}
    text = json.dumps({**shape, "says": says}, separators=(",", ":"))
    return Parcel(span.trace_id, span.span_id, span.parent_id, state, span.end, text, body)


def span_of_shape(trace_id: str, span_id: str, shape: str) -> Span:
    """A span of which only the shape is kept."""
    kept = parse_json(shape)
    return Span(trace_id, span_id, kept["parent"], "", kept["start"], kept["end"], kept["says"])


def span_of_body(body: str, notes: Sequence[str]) -> Span:
    """A span as it came, with what came apart from it."""
    span = read_span(parse_json(body))
    span.happenings.extend(_happenings(notes))
    return span


def _happenings(notes: Sequence[str]) -> Iterator[Happening]:
    for note in notes:
        kept = parse_json(note)
        yield Happening(kept["name"], kept["says"], kept["body"])
