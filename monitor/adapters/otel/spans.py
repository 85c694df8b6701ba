"""Spans and log records of OTLP/JSON, decoded: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.adapters.otel.mapping import MODEL_KINDS, NAMES, TOOL_KINDS
from monitor.canonical import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEX = frozenset("0123456789abcdef")
_LAST = 2**63 - 1  # what a time in nanoseconds can be
_ERROR = {2, "STATUS_CODE_ERROR"}


class NotOtlp(ValueError):  # noqa: N818 - a property of the record, not of the program
    """A span or a log record is not what OTLP/JSON says. The message says what was expected."""


class Happening(NamedTuple):
    """An event of a span, or a record of the log that belongs to one: its name, what it says, and its body."""

    name: str
    says: Mapping[str, Any]
    body: Any = None


@dataclass(slots=True)
class Span:
    """One span. ``start`` and ``end`` are nanoseconds since 1970; ``end`` 0 is one that has not ended."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start: int
    end: int
    attributes: Mapping[str, Any]
    happenings: list[Happening] = field(default_factory=list)
    is_error: bool = False
    message: str = ""

    def get(self, what: str) -> Any:
        """What the first of the attributes says that the mapping has for ``what``; None where there is none."""
        return next((self.attributes[name] for name in NAMES[what] if self.attributes.get(name) is not None), None)

    def word(self, what: str) -> str:
        """As ``get``, where it is a text."""
        found = self.get(what)
        return found if isinstance(found, str) else ""

    @property
    def kind(self) -> str:
        """``model``, ``tool``, or nothing for a span that is only structure."""
        said = {self.word("operation").lower(), self.word("kind").lower()}
        if said & TOOL_KINDS:
            return "tool"
        return "model" if said & MODEL_KINDS else ""


def spans_of(export: Any) -> Iterator[tuple[str, Any]]:
    """The spans of one export, as they are written, each with its place in it."""
    yield from _records(export, "resourceSpans", "scopeSpans", "spans")


def logs_of(export: Any) -> Iterator[tuple[str, Any]]:
    """The records of the log in one export, as above."""
    yield from _records(export, "resourceLogs", "scopeLogs", "logRecords")


def is_export(value: Any) -> bool:
    """Whether a JSON value is an export of spans or of a log."""
    return isinstance(value, dict) and any(
        isinstance(value.get(name), list) for name in ("resourceSpans", "resourceLogs")
    )


def _records(outer: Any, name: str, *names: str, where: str = "") -> Iterator[tuple[str, Any]]:
    inner = outer.get(name) if isinstance(outer, dict) else None
    for index, item in enumerate(inner if isinstance(inner, list) else ()):
        place = f"{where}{'.' if where else ''}{name}[{index}]"
        if names:
            yield from _records(item, *names, where=place)
        else:
            yield place, item


def trace_id_of(record: Any) -> str:
    """The id of the trace that a span belongs to. Raises NotOtlp."""
    if not isinstance(record, dict):
        raise NotOtlp("expected an object")
    return _id(record, "traceId", 32)


def read_span(record: Any) -> Span:
    """Read one span. Raises NotOtlp."""
    trace_id, span_id = trace_id_of(record), _id(record, "spanId", 16)
    parent = _id(record, "parentSpanId", 16) if record.get("parentSpanId") else ""
    status = record["status"] if isinstance(record.get("status"), dict) else {}
    events = record.get("events")
    code, message, name = status.get("code"), status.get("message"), record.get("name")
    return Span(
        trace_id,
        span_id,
        "" if parent == "0" * 16 else parent,
        name if isinstance(name, str) else "",
        _nanoseconds(record.get("startTimeUnixNano")),
        _nanoseconds(record.get("endTimeUnixNano")),
        attributes_of(record),
        [
            Happening(str(event.get("name")), attributes_of(event))
            for event in (events if isinstance(events, list) else ())
            if isinstance(event, dict)
        ],
        isinstance(code, (int, str)) and code in _ERROR,
        message if isinstance(message, str) else "",
    )


def read_log(record: Any) -> tuple[str, str, Happening]:
    """Read one record of the log: its trace, its span, and what it says. Raises NotOtlp for one that is of no span."""
    trace_id, span_id = trace_id_of(record), _id(record, "spanId", 16)
    says = attributes_of(record)
    name = record.get("eventName") or says.get("event.name")
    return trace_id, span_id, Happening(name if isinstance(name, str) else "", says, value_of(record.get("body")))


def attributes_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a span, an event or a record of the log, decoded."""
    given = record.get("attributes")
    return _pairs(given) if isinstance(given, list) else {}


def _pairs(given: list[Any]) -> dict[str, Any]:
    return {
        pair["key"]: value_of(pair.get("value"))
        for pair in given
        if isinstance(pair, dict) and isinstance(pair.get("key"), str)
    }


def value_of(value: Any) -> Any:
    """A value of OTLP (``AnyValue``) as JSON's."""
    if not isinstance(value, dict):
        return None
    if "intValue" in value:
        try:
            return int(value["intValue"])
        except (TypeError, ValueError):
            return None
    for name in ("arrayValue", "kvlistValue"):
        inner = value.get(name)
        if isinstance(inner, dict):
            items = inner["values"] if isinstance(inner.get("values"), list) else []
            return [value_of(item) for item in items] if name == "arrayValue" else _pairs(items)
    return next(
        (value[name] for name in ("stringValue", "boolValue", "doubleValue", "bytesValue") if name in value), None
    )


def structured(value: Any) -> Any:
    """A value that may be written as JSON text, as what it says; text that is no JSON stays as it is."""
    if isinstance(value, str):
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value


def time_of(nanoseconds: int) -> str:
    """A time as events carry it, or nothing for one that is not known."""
    seconds, rest = divmod(nanoseconds, 10**9)
    if not 0 < seconds < 253_402_300_800:  # the year 10000
        return ""
    whole = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    return f"{whole}.{rest // 1000:06d}Z"


def _nanoseconds(value: Any) -> int:
    try:
        return min(max(0, int(value)), _LAST)
    except (TypeError, ValueError, OverflowError):
        return 0


def _id(record: Mapping[str, Any], name: str, digits: int) -> str:
    value = record.get(name)
    found = value.lower() if isinstance(value, str) else ""
    if len(found) != digits or not _HEX.issuperset(found) or not found.strip("0"):
        raise NotOtlp(f"{name}: expected {digits} hex digits that are not all 0")
    return found
