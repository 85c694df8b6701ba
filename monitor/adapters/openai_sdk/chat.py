"""Chat Completions: a request for the record, a stream put together, an answer with other texts in it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, Literal

from monitor.adapters.openai_sdk.chat_stream import ChatFollower
from monitor.adapters.openai_sdk.wire import (
    ADAPTER,
    BETWEEN,
    Event,
    Heard,
    as_json,
    content_text,
    number,
    object_of,
    objects_in,
    put,
    spread,
    text_of,
    text_of_answer,
    usage_of,
    whole_number,
)
from monitor.canonical import escape_text, unescape_text
from monitor.models.base import ToolSpec, tool_call_of
from monitor.models.parts import texts_in
from monitor.orchestrate.foreign import Asked
from monitor.records import Message, ReasoningState

if TYPE_CHECKING:
    from monitor.records import Observation, ToolCall

ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
REASONING = ("reasoning_content", "reasoning", "thinking")
"""The names under which servers send the thought; some send both, with one content."""
_TEXTS = ("content", "refusal")
_KEPT = {"role", "tool_calls", "function_call", *REASONING, *_TEXTS}
"""What is kept of a message in which a text was replaced."""


class Chat:
    """The Chat Completions format (see ``wire.Format``)."""

    def asked(self, body: dict[str, Any], role: str) -> Asked:
        """See ``wire.Format``. The last user message is the task."""
        messages = tuple(_message(item) for item in objects_in(body.get("messages")))
        tasks = [message.content for message in messages if message.role == "user"]
        longest = _longest(body)
        return Asked(
            role=role,
            adapter=ADAPTER,
            model=escape_text(text_of(body.get("model"))),
            task=tasks[-1] if tasks else "",
            messages=messages,
            tools=tuple(_tools(body)),
            output_schema=_schema(body),
            temperature=number(body.get("temperature")),
            seed=whole_number(body.get("seed")),
            max_output_tokens=None if longest is None else longest * choices_in(body),
        )

    def prepared(self, body: dict[str, Any], longest: int | None, *, is_official: bool, usage: bool) -> dict[str, Any]:
        """See ``wire.Format``."""
        ready = dict(body)
        if longest is not None:
            each = max(1, longest // choices_in(body))
            given = [
                name for name in ("max_completion_tokens", "max_tokens") if whole_number(body.get(name)) is not None
            ]
            for name in given or ["max_completion_tokens" if is_official else "max_tokens"]:
                ready[name] = min(each, ready[name]) if name in given else each
        if usage and body.get("stream") and body.get("stream_options") is None:
            ready["stream_options"] = {"include_usage": True}
        return ready

    def merged(self, events: list[Event]) -> dict[str, Any]:
        """See ``wire.Format``."""
        whole: dict[str, Any] = {"object": "chat.completion"}
        choices: dict[int, dict[str, Any]] = {}
        for event in events:
            chunk = event.json()
            whole |= {name: value for name, value in chunk.items() if name not in {"choices", "object"} and value}
            for choice in objects_in(chunk.get("choices")):
                index = whole_number(choice.get("index")) or 0
                _add(choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None}), choice)
        return whole | {"choices": [choice for _, choice in sorted(choices.items())]}

    def heard(self, answer: dict[str, Any]) -> Heard:
        """See ``wire.Format``. The texts of several choices stand one after the other."""
        choices = objects_in(answer.get("choices"))
        messages = [object_of(choice.get("message")) for choice in choices]
        reasoning = [text for message in messages if (text := _thought(message))]
        texts = [text for message in messages for name in _TEXTS if (text := content_text(message.get(name)))]
        texts += [text for message in messages for text in _besides(message)]
        calls = [call for message in messages for call in _calls(message)]
        reasons = [text_of(choice.get("finish_reason")) for choice in choices]
        return Heard(
            text=BETWEEN.join(texts),
            reasoning=BETWEEN.join(reasoning),
            state=ReasoningState.PLAIN if reasoning else _sealed(messages),
            tool_calls=tuple(_tool_call(call, index) for index, call in enumerate(calls)),
            usage=usage_of(object_of(answer.get("usage")), "prompt", "completion"),
            finish_reason="length" if "length" in reasons else next(iter(reasons), ""),
            model=text_of(answer.get("model")),
            error=content_text(answer.get("error")),
            is_whole=bool(choices) and all(reasons),
        )

    def replaced(self, answer: dict[str, Any], seen: Observation, released: Observation) -> dict[str, Any]:
        """See ``wire.Format``. Whatever may tell the texts another time (log probabilities, audio, details) is left out."""
        changed = copy.deepcopy(answer)
        choices = objects_in(changed.get("choices"))
        messages = [object_of(choice.get("message")) for choice in choices]
        besides = [text for message in messages for text in _besides(message)]
        for choice, message in zip(choices, messages, strict=True):
            choice.pop("logprobs", None)
            for name in message.keys() - _KEPT:
                del message[name]
        _put_texts(messages, seen, released, besides)
        calls = [call for message in messages for call in _calls(message)]
        if len(released.tool_calls) != len(calls):
            for choice, message in zip(choices, messages, strict=True):
                message.pop("tool_calls", None)
                message.pop("function_call", None)
                choice["finish_reason"] = "stop"
            return changed
        for call, instead in zip(calls, released.tool_calls, strict=True):
            holder, name = _arguments_of(call)
            holder[name] = unescape_text(instead.arguments)
        return changed

    def streamed(self, answer: dict[str, Any]) -> list[Event]:
        """See ``wire.Format``: for each choice a chunk with all that it says, and one with its end."""
        head = {name: value for name, value in answer.items() if name not in {"choices", "usage", "object"}}
        head["object"] = "chat.completion.chunk"
        chunks: list[dict[str, Any]] = []
        for choice in objects_in(answer.get("choices")):
            delta = copy.deepcopy(object_of(choice.get("message")))
            for index, call in enumerate(objects_in(delta.get("tool_calls"))):
                call["index"] = index
            first = {"index": choice["index"], "delta": {"role": "assistant", **delta}, "finish_reason": None}
            last = {"index": choice["index"], "delta": {}, "finish_reason": choice.get("finish_reason")}
            chunks += [head | {"choices": [first]}, head | {"choices": [last]}]
        if answer.get("usage"):
            chunks.append(head | {"choices": [], "usage": answer["usage"]})
        return [*(Event(json.dumps(chunk)) for chunk in chunks), Event("[DONE]")]

    def follower(self) -> ChatFollower:
        """See ``wire.Format``."""
        return ChatFollower(REASONING)

    def without_usage(self, events: list[Event]) -> list[Event]:
        """See ``wire.Format``: the chunk that has usage and no choice."""
        return [event for event in events if not ((said := event.json()).get("usage") and said.get("choices") == [])]


def choices_in(body: dict[str, Any]) -> int:
    """How many answers are asked for at once."""
    return max(1, whole_number(body.get("n")) or 1)


def _longest(body: dict[str, Any]) -> int | None:
    given = [whole_number(body.get(name)) for name in ("max_completion_tokens", "max_tokens")]
    return min((limit for limit in given if limit is not None), default=None)


def _message(item: dict[str, Any]) -> Message:
    """A message of the history. What the record has no field for stands in its content."""
    role = text_of(item.get("role"))
    content = content_text(item.get("content"))
    before = [f"<think>{thought}</think>" for thought in [_thought(item)] if thought]
    after = [text for text in (text_of(item.get("refusal")),) if text]
    return Message(
        role=ROLES.get(role, "tool" if role == "function" else "user"),
        content=escape_text("\n".join([*before, content, *after] if before or after else [content])),
        tool_calls=tuple(_tool_call(call, index) for index, call in enumerate(_calls(item))),
        tool_call_id=escape_text(text_of(item.get("tool_call_id") or item.get("name"))) or None
        if role in {"tool", "function"}
        else None,
    )


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The tool calls of a message, the one in the old field among them."""
    old = message.get("function_call")
    return objects_in(message.get("tool_calls")) + ([{"function": old}] if isinstance(old, dict) else [])


def _arguments_of(call: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The object that holds a call's arguments, and under which name: a function's, or a custom tool's text."""
    if isinstance(custom := call.get("custom"), dict):
        return custom, "input"
    return object_of(call.get("function")), "arguments"


def _tool_call(call: dict[str, Any], index: int) -> ToolCall:
    holder, name = _arguments_of(call)
    given = holder.get(name)
    arguments = given if isinstance(given, str) else as_json(given) if given else ""
    return tool_call_of(text_of(call.get("id")), text_of(holder.get("name")), arguments, index)


def _tools(body: dict[str, Any]) -> list[ToolSpec]:
    functions = [object_of(tool.get("function") or tool.get("custom")) for tool in objects_in(body.get("tools"))]
    return [
        ToolSpec(
            escape_text(text_of(function.get("name"))),
            escape_text(text_of(function.get("description"))),
            object_of(function.get("parameters") or function.get("format")),
        )
        for function in functions + objects_in(body.get("functions"))
    ]


def _schema(body: dict[str, Any]) -> str:
    schema = object_of(object_of(body.get("response_format")).get("json_schema")).get("schema")
    return as_json(schema) if schema else ""


def _thought(message: dict[str, Any]) -> str:
    """The thought; where fields for it say different things, all of them."""
    details = objects_in(message.get("reasoning_details"))
    told = "".join(text_of(detail.get("text")) or text_of(detail.get("summary")) for detail in details)
    texts = [text for text in (*(text_of(message.get(name)) for name in REASONING), told) if text]
    return BETWEEN.join(text for at, text in enumerate(texts) if not any(text in other for other in texts[:at]))


def _sealed(messages: list[dict[str, Any]]) -> ReasoningState:
    details = [detail for message in messages for detail in objects_in(message.get("reasoning_details"))]
    return ReasoningState.ENCRYPTED if any(detail.get("data") for detail in details) else ReasoningState.ABSENT


def _besides(message: dict[str, Any]) -> list[str]:
    """What a message says in other fields than those that are known: a transcript, a title of what it cites."""
    known = {*_KEPT, "reasoning_details"}
    return texts_in({name: value for name, value in message.items() if name not in known})


def _add(whole: dict[str, Any], choice: dict[str, Any]) -> None:
    """Add a chunk's choice to the choice so far."""
    whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]
    delta, message = object_of(choice.get("delta") or choice.get("message")), whole["message"]
    for name, value in delta.items():
        if name == "tool_calls":
            calls = message.setdefault("tool_calls", [])
            for position, part in enumerate(objects_in(value)):
                index = whole_number(part.get("index"))
                _add_call(calls, position if index is None else index, part)
        elif name != "role":
            message[name] = _grown(message.get(name), value)
    message.setdefault("role", "assistant")
    message.setdefault("content", None)


def _add_call(calls: list[dict[str, Any]], index: int, part: dict[str, Any]) -> None:
    """Add a part to the call of its index; some servers give calls of different ids one index."""
    known = [call for call in calls if call["index"] == index]
    holder, _ = _arguments_of(part)
    if not known or (holder.get("name") and part.get("id") and part["id"] != known[-1].get("id", part["id"])):
        known.append({"index": index})
        calls.append(known[-1])
    call = known[-1]
    for name, value in part.items():
        if name in {"function", "custom"}:
            call[name] = _grown(call.get(name), value)
        elif name != "index":
            call[name] = call.get(name) or value


def _grown(before: Any, more: Any) -> Any:
    """What a stream has said so far of a field, with what it says now."""
    if isinstance(before, str) and isinstance(more, str):
        return before + more
    if isinstance(before, dict) and isinstance(more, dict):
        return before | {name: _grown(before.get(name), value) for name, value in more.items()}
    if isinstance(before, list) and isinstance(more, list):
        return before + more
    return before if more is None else more


def _put_texts(messages: list[dict[str, Any]], seen: Observation, released: Observation, besides: list[str]) -> None:
    """Put the released texts where those stood that were seen; a thought in the text stays in front of it."""
    if seen.reasoning.source == "provider":
        holders = [message for message in messages if _thought(message)]
        parts = spread(released.reasoning.text, [escape_text(_thought(message)) for message in holders])
        for message, part in zip(holders, parts, strict=True):
            for name in REASONING:
                if name in message:
                    message[name] = unescape_text(part)
    text = text_of_answer(seen, released)
    places = [(message, name) for message in messages for name in _TEXTS if content_text(message.get(name))]
    if text and not places and messages:
        places, besides = [(messages[0], "content")], []
    put(text, places, besides)
