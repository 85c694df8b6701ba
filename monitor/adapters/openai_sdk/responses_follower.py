"""A stream of the Responses format, event by event: what may be handed on of it before its end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.adapters.openai_sdk.wire import BETWEEN, SAYS_NOTHING, Event, object_of, says_more, text_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGINNINGS = {"response.created", "response.in_progress", "response.queued"}
_SURFACES = {
    "response.output_text": ("output", "content_index", 0),
    "response.reasoning_text": ("reasoning", "content_index", 0),
    "response.reasoning_summary_text": ("reasoning", "summary_index", 1),
}
"""By the beginning of an event's type: the surface, what counts its parts, and which come first in an item."""
_PARTS = {"response.content_part": "content_index", "response.reasoning_summary_part": "summary_index"}
_AT = {"type", "sequence_number", "item_id", "output_index", "content_index", "summary_index", "obfuscation"}


class _Place(NamedTuple):
    """Where a text stands: which item, its content or its summary, which part of it. In the order of the whole answer."""

    item: int
    kind: int
    part: int


class ResponsesFollower:
    """See ``wire.Follower``. Followed are the texts of messages and of reasoning, one part after the other.

    Anything else (other items, refusals, encrypted reasoning, annotations, log probabilities, events that are not known,
    a text that is told twice and not in the same words) is not.
    """

    def __init__(self) -> None:
        self._texts: dict[_Place, str] = {}
        self._surfaces: dict[_Place, str] = {}
        self._noted: set[tuple[Any, ...]] = set()
        self._count = 0

    def take(self, event: Event) -> list[tuple[str, str]] | None:
        """See ``wire.Follower``."""
        said = event.json()
        kind = text_of(said.get("type"))
        if kind in _BEGINNINGS:
            response = object_of(said.get("response"))
            return [] if response.get("output") in SAYS_NOTHING and response.get("error") is None else None
        begins, _, does = kind.rpartition(".")
        if begins in _SURFACES and does in {"delta", "done"}:
            return self._text(said, begins, does)
        if begins == "response.output_item" and does in {"added", "done"}:
            return [] if self._is_known_item(said) else None
        if begins in _PARTS and does in {"added", "done"}:
            return [] if self._is_known_part(said, _PARTS[begins]) else None
        return None

    def _text(self, said: dict[str, Any], begins: str, does: str) -> list[tuple[str, str]] | None:
        surface, counter, kind = _SURFACES[begins]
        place = _place(said, counter, kind)
        text = said.get("delta" if does == "delta" else "text")
        if place is None or not isinstance(text, str) or says_more(said, {*_AT, "delta", "text", "logprobs"}):
            return None
        if said.get("logprobs") not in SAYS_NOTHING:
            return None
        if does == "done":
            return [] if text == self._texts.get(place, "") else None
        before = max(self._texts, default=place)
        if before > place:
            return None
        told = [(surface, text)] if text else []
        if text and not self._texts.get(place) and surface in {self._surfaces[one] for one in self._texts}:
            told.insert(0, (surface, BETWEEN))
        if text:
            self._texts[place] = self._texts.get(place, "") + text
            self._surfaces[place] = surface
        return told

    def _is_known_item(self, said: dict[str, Any]) -> bool:
        """Whether an item says nothing but what was told of it before."""
        item, index = object_of(said.get("item")), whole_number(said.get("output_index"))
        if item.get("type") not in {"message", "reasoning"} or index is None:
            return False
        if says_more(item, {"id", "type", "status", "role", "content", "summary", "phase"}):
            return False
        for kind, name in enumerate(("content", "summary")):
            parts = item.get(name) or []
            if not isinstance(parts, list) or not all(
                self._is_told(part, _Place(index, kind, number)) for number, part in enumerate(parts)
            ):
                return False
        return True

    def _is_known_part(self, said: dict[str, Any], counter: str) -> bool:
        place = _place(said, counter, 1 if counter == "summary_index" else 0)
        if place is None:
            return False
        begins = said["type"].endswith(".added")
        part = object_of(said.get("part"))
        return self._is_told(part, place) if not begins else not part.get("text") and not says_more(part, {"type"})

    def _is_told(self, part: Any, place: _Place) -> bool:
        return (
            isinstance(part, dict)
            and part.get("type") in {"output_text", "reasoning_text", "summary_text"}
            and not says_more(part, {"type", "text"})
            and text_of(part.get("text")) == self._texts.get(place, "")
        )

    def note(self, said: dict[str, Any]) -> None:
        """See ``wire.Follower``."""
        if said:
            self._count += 1
            self._noted.add(_identity(said))

    def continued(self, events: list[Event], reasoning: int, output: int) -> list[Event]:
        """See ``wire.Follower``: deltas with what was not handed on of a text, and every event that was not noted."""
        left = {"reasoning": reasoning, "output": output}
        rest = []
        for said in self._unsaid([event.json() for event in events]):
            begins, _, does = text_of(said.get("type")).rpartition(".")
            if begins in _SURFACES and does == "delta":
                surface, counter, kind = _SURFACES[begins]
                place = _place(said, counter, kind)
                count = min(left[surface], len(self._texts.get(place, ""))) if place else 0
                left[surface] = max(0, left[surface] - count - len(BETWEEN))
                if len(said["delta"]) > count:
                    rest.append({**said, "delta": said["delta"][count:]})
                continue
            rest.append(said)
        return [
            Event(json.dumps({**said, "sequence_number": self._count + number}), said["type"])
            for number, said in enumerate(rest)
        ]

    def _unsaid(self, said: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for one in said:
            if one["type"].endswith(".delta") or _identity(one) not in self._noted:
                yield one


def _place(said: dict[str, Any], counter: str, kind: int) -> _Place | None:
    item, part = whole_number(said.get("output_index")), whole_number(said.get(counter))
    return None if item is None or part is None else _Place(item, kind, part)


def _identity(said: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(said.get(name) for name in ("type", "output_index", "content_index", "summary_index"))
