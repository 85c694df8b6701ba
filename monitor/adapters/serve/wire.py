"""What is sent and answered in OTLP/HTTP: protobuf or JSON, compressed or not.

https://opentelemetry.io/docs/specs/otlp/#otlphttp. An export in protobuf is turned into the shape that OTLP/JSON gives it,
so that one reader reads both. The packages are those of the extra ``serve``, imported when they are used.
"""

from __future__ import annotations

import base64
import importlib
import zlib
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from monitor.canonical import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Signal = Literal["traces", "logs"]
Encoding = Literal["protobuf", "json"]

TYPES: Final[dict[str, Encoding]] = {"application/x-protobuf": "protobuf", "application/json": "json"}
CODINGS: Final[dict[str, int]] = {"gzip": 31, "deflate": 15}
"""What a body may be compressed with, and the window bits by which zlib knows it."""
_CHUNK = 256 * 1024
_MOST_OBJECTS = 1_000_000  # of JSON in one request: each takes far more memory than its two characters
_MOST_MESSAGES = 20_000  # in one field of one message of protobuf
_LEVELS = {"traces": ("resourceSpans", "scopeSpans", "spans"), "logs": ("resourceLogs", "scopeLogs", "logRecords")}
_IDS = ("traceId", "spanId", "parentSpanId")


class BadPayloadError(ValueError):
    """A request is not what OTLP says. The message says what was expected, and what was found."""


class TooLargeError(ValueError):
    """A request is larger than what is read of one. The message says how large it may be."""


class Reply(NamedTuple):
    """The body of an answer, and its content type."""

    body: bytes
    content_type: str


# ------------------------------------------------------------------------------------------------------- compression


class Inflating:
    """Takes a compressed body apart piece by piece; ``most`` bytes come out of it at most, and never more are made."""

    def __init__(self, coding: str, most: int, held: Callable[[int], None]) -> None:
        """``held`` is told of each piece's size before it is kept, and may raise. ``coding`` "" is none."""
        self._coding, self._most, self._held = coding, most, held
        self._stream = zlib.decompressobj(CODINGS[coding]) if coding else None
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take a piece of the body. Raises BadPayloadError, TooLargeError, and what ``held`` raises."""
        if self._stream is None:
            self._keep(data)
            return
        try:
            while data:
                if self._stream.eof:  # several streams, one after the other, are one text
                    self._stream = zlib.decompressobj(CODINGS[self._coding])
                self._keep(self._stream.decompress(data, _CHUNK))
                data = self._stream.unconsumed_tail or self._stream.unused_data
        except zlib.error as exc:
            raise BadPayloadError(f"expected a body in {self._coding}, found what is none ({exc})") from None

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most:
            what = "decompressed body" if self._stream else "body"
            raise TooLargeError(f"the {what} is larger than {self._most:,} bytes: send fewer spans in one request")
        self._held(len(piece))
        self._pieces.append(piece)

    def whole(self) -> bytes:
        """All of it. Raises BadPayloadError where it was cut off."""
        if self._stream is not None and not self._stream.eof:
            raise BadPayloadError(f"expected a whole body in {self._coding}, found one that is cut off")
        whole = b"".join(self._pieces)
        self._pieces.clear()
        return whole


# ------------------------------------------------------------------------------------------------------------ bodies


def read(body: bytes, encoding: Encoding, signal: Signal) -> Any:
    """An export as OTLP/JSON has it. Raises BadPayloadError, and TooLargeError."""
    return _from_protobuf(body, signal) if encoding == "protobuf" else _from_json(body, signal)


def _from_json(body: bytes, signal: Signal) -> Any:
    if body.count(b"{") + body.count(b"[") > _MOST_OBJECTS:
        raise TooLargeError(
            f"the body has more than {_MOST_OBJECTS:,} objects and lists: send fewer spans in one request"
        )
    try:
        export = parse_json(body.decode())
    except UnicodeDecodeError as exc:
        raise BadPayloadError(f"expected UTF-8, found byte {body[exc.start]:#04x} at {exc.start}") from None
    except ValueError as exc:
        raise BadPayloadError(f"expected JSON ({exc})") from None
    if not isinstance(export, dict):
        raise BadPayloadError(f"expected an object with `{_LEVELS[signal][0]}`, found {type(export).__name__}")
    if export and _LEVELS[signal][0] not in export:
        raise BadPayloadError(f"expected `{_LEVELS[signal][0]}`, found {', '.join(map(repr, list(export)[:5]))}")
    _require_lists(export, *_LEVELS[signal])
    return export


def _require_lists(outer: Any, *names: str, where: str = "") -> None:
    """Raises BadPayloadError where what should be a list of objects is not."""
    if not names:
        return
    place = f"{where}{'.' if where else ''}{names[0]}"
    inner = outer.get(names[0])
    if inner is None:
        return
    if not isinstance(inner, list):
        raise BadPayloadError(f"{place}: expected a list, found {type(inner).__name__}")
    for index, item in enumerate(inner):
        if not isinstance(item, dict):
            raise BadPayloadError(f"{place}[{index}]: expected an object, found {type(item).__name__}")
        _require_lists(item, *names[1:], where=f"{place}[{index}]")


def _from_protobuf(body: bytes, signal: Signal) -> Any:
    request = _messages(signal)[0]()
    try:
        request.ParseFromString(body)
    except (_module("google.protobuf.message").DecodeError, UnicodeDecodeError) as exc:
        raise BadPayloadError(f"expected {request.DESCRIPTOR.name} in protobuf ({exc})") from None
    outer, middle, inner = _LEVELS[signal]
    # Messages are counted before they are looked at: empty ones take two bytes, and hundreds once Python has them.
    scopes = [scope for one in _few(request, outer) for scope in _few(one, middle)]
    records = [record for scope in scopes for record in _few(scope, inner)]
    for record in records:
        _few(record, "attributes")
    return {outer: [{middle: [{inner: Lazily(records)}]}]}


def _few(message: Any, name: str) -> Any:
    """The messages of a field. Raises TooLargeError where they are too many."""
    found = getattr(message, _snake(name))
    if len(found) > _MOST_MESSAGES:
        raise TooLargeError(f"more than {_MOST_MESSAGES:,} {name} in one: send fewer at once")
    return found


class Lazily(list[Any]):
    """Messages of protobuf, each turned into OTLP/JSON's shape when it is looked at, so that one at a time is both."""

    def __iter__(self) -> Iterator[Any]:
        to_dict = _module("google.protobuf.json_format").MessageToDict
        for message in super().__iter__():
            record = to_dict(message, use_integers_for_enums=True)
            for name in _IDS:
                if name in record:
                    record[name] = base64.b64decode(
                        record[name]
                    ).hex()  # the one place where OTLP/JSON is not protobuf's
            yield record


def _messages(signal: Signal) -> tuple[Any, Any]:
    """The classes of a request and of its answer."""
    if signal == "traces":
        traces = _module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        return traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse
    logs = _module("opentelemetry.proto.collector.logs.v1.logs_service_pb2")
    return logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


# ----------------------------------------------------------------------------------------------------------- answers


def accepted(encoding: Encoding, signal: Signal, *, rejected: int = 0, why: str = "") -> Reply:
    """The answer to an export of which all but ``rejected`` was kept."""
    response = _messages(signal)[1]()
    if rejected or why:
        setattr(response.partial_success, "rejected_spans" if signal == "traces" else "rejected_log_records", rejected)
        response.partial_success.error_message = why
    return _encoded(response, encoding)


def refused(encoding: Encoding, code: int, why: str) -> Reply:
    """A refusal: google.rpc.Status. ``code`` is one of gRPC's."""
    return _encoded(_module("google.rpc.status_pb2").Status(code=code, message=why), encoding)


def _encoded(message: Any, encoding: Encoding) -> Reply:
    if encoding == "protobuf":
        return Reply(message.SerializeToString(), "application/x-protobuf")
    to_json = _module("google.protobuf.json_format").MessageToJson
    return Reply(to_json(message, indent=None).encode(), "application/json")
