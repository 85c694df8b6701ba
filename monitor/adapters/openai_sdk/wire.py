"""JSON from the wire that may be anything, server-sent events, and what an answer says, in both formats alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from monitor.canonical import escape_text, unescape_text
from monitor.models.base import ReportedUsage
from monitor.records import ReasoningState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.orchestrate.foreign import Asked
    from monitor.records import Observation, ToolCall

ADAPTER = "openai"
"""What the record says these calls came in through."""
BETWEEN = "\n\n"
"""Between the texts of one answer that has several: choices, parts, summaries."""


def object_of(value: Any) -> dict[str, Any]:
    """An object, or an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def objects_in(value: Any) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """A text, or an empty one where there is none."""
    return value if isinstance(value, str) else ""


def as_json(value: Any) -> str:
    """A value as escaped JSON text, its names in order."""
    return escape_text(json.dumps(value, ensure_ascii=False, sort_keys=True))


def whole_number(value: Any) -> int | None:
    """A count, or None where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def number(value: Any) -> float | None:
    """A number, or None where it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def content_text(content: Any) -> str:
    """The content of a message: its text, and what is no text as JSON (data of files and pictures left out)."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return "" if content is None else as_json(content)
    return "\n".join(_part_text(part) for part in content)


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = text_of(object_of(part).get("type"))
    if kind in {"text", "input_text", "output_text", "reasoning_text", "summary_text"}:
        return text_of(part.get("text"))
    if kind == "refusal":
        return text_of(part.get("refusal"))
    return as_json(without_data(part))


def without_data(value: Any) -> Any:
    """A value with the data in it (files, pictures: long texts without a space) cut short."""
    if isinstance(value, dict):
        return {name: without_data(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_data(item) for item in value]
    if isinstance(value, str) and len(value) > 2_000 and " " not in value[:2_000]:
        return f"{value[:64]}… ({len(value)} characters)"
    return value


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    data: str
    name: str = ""

    def json(self) -> dict[str, Any]:
        """Its data as an object; an empty one for what is none, such as ``[DONE]``."""
        try:
            return object_of(json.loads(self.data))
        except ValueError:
            return {}


def read_events(body: bytes) -> list[Event]:
    """The events of a stream, as far as it came."""
    found: list[Event] = []
    data: list[str] = []
    name = ""
    lines = body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line in [*lines, ""]:  # the last one may have come without its empty line
        field, _, value = line.partition(":")
        if not line and data:
            found.append(Event("\n".join(data), name))
        if not line:
            data, name = [], ""
        elif field == "data":
            data.append(value.removeprefix(" "))
        elif field == "event":
            name = value.removeprefix(" ")
    return found


class EventReader:
    """A stream's bytes in blocks of one event each, as they came; of one that has not come whole nothing is said yet."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._line = self._searched = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add bytes; return the blocks that are whole now, their empty line included."""
        self._data += chunk
        found: list[bytes] = []
        begin = 0
        while (end := self._data.find(b"\n", self._searched)) >= 0:
            is_empty = not self._data[self._line : end].rstrip(b"\r")
            self._line = self._searched = end + 1
            if is_empty:
                found.append(bytes(self._data[begin : self._line]))
                begin = self._line
        del self._data[:begin]
        self._line -= begin
        self._searched = len(self._data)
        return found


def write_events(events: Iterable[Event]) -> bytes:
    """Events as a stream."""
    return "".join(
        (f"event: {event.name}\n" if event.name else "")
        + "".join(f"data: {line}\n" for line in event.data.split("\n"))
        + "\n"
        for event in events
    ).encode()


@dataclass(frozen=True, slots=True)
class Heard:
    """What an answer says. ``text`` is all of it, think tags included; none of it is escaped but the tool calls."""

    text: str = ""
    reasoning: str = ""
    state: ReasoningState = ReasoningState.ABSENT
    tool_calls: tuple[ToolCall, ...] = ()
    usage: ReportedUsage | None = None
    finish_reason: str = ""
    model: str = ""
    error: str = ""
    is_whole: bool = True


class Format(Protocol):
    """One of the two formats, Chat Completions or Responses."""

    def asked(self, body: dict[str, Any], role: str) -> Asked:
        """A request as the record and the budget have it."""
        ...

    def prepared(self, body: dict[str, Any], longest: int | None, *, is_official: bool, usage: bool) -> dict[str, Any]:
        """A request as it is sent: no longer output than ``longest``, and a stream's usage asked for."""
        ...

    def merged(self, events: list[Event]) -> dict[str, Any]:
        """A stream as the answer in one piece, as far as it came."""
        ...

    def heard(self, answer: dict[str, Any]) -> Heard:
        """What an answer in one piece says."""
        ...

    def replaced(self, answer: dict[str, Any], seen: Observation, released: Observation) -> dict[str, Any]:
        """An answer in one piece that says what is released instead of what was seen."""
        ...

    def streamed(self, answer: dict[str, Any]) -> list[Event]:
        """An answer in one piece as a stream."""
        ...

    def follower(self) -> Follower:
        """What follows one stream in this format."""
        ...

    def without_usage(self, events: list[Event]) -> list[Event]:
        """A stream without the usage that the caller had not asked for."""
        ...


class Follower(Protocol):
    """What follows a stream event by event, to say what each adds to the answer."""

    def take(self, event: Event) -> list[tuple[str, str]] | None:
        """What the next event adds: ``reasoning`` or ``output``, and the text. None where it says anything else, or
        nothing is known of what it says.
        """
        ...

    def note(self, said: dict[str, Any]) -> None:
        """The event that says this is handed on; they are noted in their order."""
        ...

    def continued(self, events: list[Event], reasoning: int, output: int) -> list[Event]:
        """Of an answer as a stream, what is left to say after what was noted, which has so many characters."""
        ...


SAYS_NOTHING: tuple[Any, ...] = (None, "", [], {})
"""Values of fields that are sent empty."""


def says_more(value: dict[str, Any], known: set[str]) -> bool:
    """Whether anything stands in an object besides what is known."""
    return any(value[name] not in SAYS_NOTHING for name in value.keys() - known)


def put(text: str, places: list[tuple[dict[str, Any], str]], besides: list[str] | None = None) -> None:
    """Put a text in the place of those that stand there: see ``spread``. What was said ``besides`` them is left out."""
    seen = [escape_text(content_text(holder.get(name))) for holder, name in places]
    told = [*seen, *(escape_text(one) for one in besides or [])]
    parts = spread(text, told if len(text) == len(BETWEEN.join(told)) else seen)
    for (holder, name), part in zip(places, parts, strict=False):
        holder[name] = unescape_text(part)


def text_of_answer(seen: Observation, released: Observation) -> str:
    """The released text as it stands in an answer: a thought that was found in the text stays in front of it."""
    if seen.reasoning.source == "think_tag":
        return f"<think>{released.reasoning.text}</think>{released.output}"
    return released.output


def usage_of(usage: dict[str, Any], given: str, made: str) -> ReportedUsage | None:
    """What an answer reports, under these names for what the model was given and what it made; None where it does not."""
    prompt, output = whole_number(usage.get(f"{given}_tokens")), whole_number(usage.get(f"{made}_tokens"))
    if prompt is None or output is None:
        return None
    cached = whole_number(object_of(usage.get(f"{given}_tokens_details")).get("cached_tokens")) or 0
    return ReportedUsage(prompt, output, min(cached, prompt))


def spread(text: str, parts: list[str]) -> list[str]:
    """A text that stands in the place of ``parts`` (joined by BETWEEN), cut where they were.

    What is covered keeps its length. Where the length is another, all of it stands in the first part.
    """
    if len(text) != len(BETWEEN.join(parts)):
        return [text if index == 0 else "" for index in range(len(parts))]
    cut, at = [], 0
    for part in parts:
        cut.append(text[at : at + len(part)])
        at += len(part) + len(BETWEEN)
    return cut
