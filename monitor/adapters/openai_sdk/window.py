"""How much of a stream may be handed on before its end: whole events, byte for byte and in their order.

An event that only adds to the answer's text or reasoning is ready as soon as no rule that acts can match anything in what
it says (``monitor.policy.windows``). Whatever else an event says (a tool call, log probabilities, usage, the end, something
unknown) is only handed on once all is judged, and so is everything behind it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.adapters.openai_sdk.wire import EventReader, read_events
from monitor.canonical import escape_text
from monitor.orchestrate.replies import THINK_CLOSE, THINK_OPEN
from monitor.records import Released, now

if TYPE_CHECKING:
    from typing import Any

    from monitor.adapters.openai_sdk.wire import Follower
    from monitor.loaded import Watch

MARGIN = max(len(THINK_OPEN), len(THINK_CLOSE))
"""Codepoints held back besides: a think tag that has not come whole yet divides the text that rules read."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a chunk of the stream made ready: bytes, and the text in them, which has to be committed first.

    ``found`` says that a pattern of an acting rule was found in it: from now on nothing is ready before the end.
    """

    ready: bytes = b""
    part: Released | None = None
    found: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An event that is not handed on yet, and how long reasoning and output are with it."""

    raw: bytes
    said: dict[str, Any]
    reasoning: int
    output: int


class Window:
    """One stream. Ready so far: ``handed_on`` bytes, in ``parts`` commits, with the texts ``reasoning`` and ``output``."""

    def __init__(self, follower: Follower, watch: Watch) -> None:
        self.follower, self._watch = follower, watch
        self._reader = EventReader()
        self._waiting: deque[_Waiting] = deque()
        self._length = {"reasoning": 0, "output": 0}
        self._pending = {"reasoning": "", "output": ""}
        self._tail = ""
        self.handed_on = 0
        self.parts = 0
        self.reasoning = ""
        self.output = ""

    def take(self, chunk: bytes) -> Step:
        """Add the next bytes of the stream."""
        found = False
        for raw in [] if self._watch.is_held else self._reader.feed(chunk):
            if not self._watch.is_held:
                found = self._add(raw) or found
        ready = self._ready()
        if not ready:
            return Step(found=found)
        part = self._part(ready[-1])
        data = b"".join(one.raw for one in ready)
        self.handed_on += len(data)
        for one in ready:
            self.follower.note(one.said)
        return Step(data, part, found)

    def _add(self, raw: bytes) -> bool:
        """Follow one event; says whether a pattern was found in it."""
        found = False
        events = read_events(raw)
        if b"\r" in raw.replace(b"\r\n", b""):  # some take it for the end of a line, and would read other events
            self._watch.hold()
            return found
        for event in events:
            told = self.follower.take(event)
            if told is None:
                self._watch.hold()
                return found
            for surface, text in told:
                escaped = escape_text(text)
                found = self._watch.feed(surface, escaped) or found
                self._length[surface] += len(escaped)
                self._pending[surface] += escaped
                self._look_for_tags(surface, escaped)
        said = events[0].json() if events else {}
        self._waiting.append(_Waiting(raw, said, self._length["reasoning"], self._length["output"]))
        return found

    def _look_for_tags(self, surface: str, text: str) -> None:
        """A think tag makes reasoning of text that came as the answer: what rules read is only known at the end."""
        if surface == "output":
            self._tail += text
            if THINK_OPEN in self._tail or THINK_CLOSE in self._tail:
                self._watch.hold()
            self._tail = self._tail[-MARGIN:]

    def _ready(self) -> list[_Waiting]:
        ready = []
        reasoning, output = self._watch.safe("reasoning"), self._watch.safe("output")
        while self._waiting and self._waiting[0].reasoning <= reasoning and self._waiting[0].output <= output:
            ready.append(self._waiting.popleft())
        return ready

    def _part(self, last: _Waiting) -> Released | None:
        """The text up to an event, that was not handed on yet."""
        starts = {"reasoning": len(self.reasoning), "output": len(self.output)}
        texts = {}
        for surface, end in (("reasoning", last.reasoning), ("output", last.output)):
            count = end - starts[surface]
            texts[surface], self._pending[surface] = self._pending[surface][:count], self._pending[surface][count:]
        if not any(texts.values()):
            return None
        self.reasoning += texts["reasoning"]
        self.output += texts["output"]
        self.parts += 1
        return Released(**texts, reasoning_start=starts["reasoning"], output_start=starts["output"], at=now())
