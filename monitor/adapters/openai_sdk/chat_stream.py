"""A stream of Chat Completions, event by event: what may be handed on of it before its end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from monitor.adapters.openai_sdk.wire import SAYS_NOTHING, Event, object_of, objects_in, says_more, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = {"id", "object", "created", "model", "system_fingerprint", "service_tier", "obfuscation", "choices"}


class ChatFollower:
    """See ``wire.Follower``. ``reasoning`` are the names under which servers send the thought, the first one counts.

    Followed is one choice that says text and thought. Anything else in a chunk (another choice, tool calls, a refusal, log
    probabilities, usage, fields that are not known) is not.
    """

    def __init__(self, reasoning: Sequence[str]) -> None:
        self._reasoning = reasoning
        self._names: set[str] | None = None
        self._is_begun = False

    def take(self, event: Event) -> list[tuple[str, str]] | None:
        """See ``wire.Follower``."""
        said = event.json()
        if said.get("object") != "chat.completion.chunk" or says_more(said, _HEAD):
            return None
        if not isinstance(said.get("choices"), list) or len(said["choices"]) > 1:
            return None
        told: list[tuple[str, str]] = []
        for choice in said["choices"]:
            texts = self._told(choice) if isinstance(choice, dict) else None
            if texts is None:
                return None
            told += texts
        return told

    def _told(self, choice: dict[str, Any]) -> list[tuple[str, str]] | None:
        delta = choice.get("delta")
        if says_more(choice, {"index", "delta"}) or choice.get("index", 0) != 0 or not isinstance(delta, dict):
            return None
        if says_more(delta, {"role", "content", *self._reasoning}) or delta.get("role", "assistant") != "assistant":
            return None
        thoughts = {name: delta[name] for name in self._reasoning if delta.get(name) not in SAYS_NOTHING}
        text = delta.get("content")
        texts = [*thoughts.values(), *([] if text in SAYS_NOTHING else [text])]
        if not all(isinstance(one, str) for one in texts) or len(set(thoughts.values())) > 1:
            return None
        if thoughts:  # what came under another name before would no longer be what the whole is read from
            self._names = self._names or set(thoughts)
            if self._names != set(thoughts):
                return None
        thought = next(iter(thoughts.values()), "")
        return [(name, one) for name, one in (("reasoning", thought), ("output", text or "")) if one]

    def note(self, said: dict[str, Any]) -> None:
        """See ``wire.Follower``."""
        self._is_begun = self._is_begun or bool(said)

    def continued(self, events: list[Event], reasoning: int, output: int) -> list[Event]:
        """See ``wire.Follower``: the chunk with all that the answer says, without what was handed on."""
        if not self._is_begun:
            return events
        rest = []
        for event in events:
            said = event.json()
            for choice in objects_in(said.get("choices")):
                delta = object_of(choice.get("delta"))
                if "role" not in delta:
                    continue
                del delta["role"]
                for name in {"content", *self._reasoning} & delta.keys():
                    delta[name] = text_of(delta[name])[output if name == "content" else reasoning :]
            rest.append(Event(json.dumps(said), event.name) if said else event)
        return rest
