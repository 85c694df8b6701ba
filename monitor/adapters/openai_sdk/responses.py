"""Responses: a request for the record, what an answer's items say, an answer with other texts in it.

What a call refers to and does not carry (``previous_response_id``, a conversation, a stored prompt) is not in its record:
the server has it.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from monitor.adapters.openai_sdk import responses_stream
from monitor.adapters.openai_sdk.responses_follower import ResponsesFollower
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
    text_of,
    text_of_answer,
    usage_of,
    whole_number,
    without_data,
)
from monitor.canonical import escape_text, unescape_text
from monitor.errors import ConfigError
from monitor.models.base import ToolSpec, tool_call_of
from monitor.models.parts import texts_in
from monitor.orchestrate.foreign import Asked
from monitor.records import Message, Observation, ReasoningState, ToolCall

_OWN_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Calls of the caller's tools, and where their arguments stand. Other items are made by tools of the provider."""
_TEXTS = {"output_text": "text", "refusal": "refusal"}
_KEPT = {"type", "text", "refusal", "annotations", "logprobs"}
"""What is kept of a part in which a text was replaced."""
_NOT_ARGUMENTS = {"id", "type", "status", "call_id"}
_ENDS = {"max_output_tokens": "length", "max_tokens": "length"}


class Responses:
    """The Responses format (see ``wire.Format``)."""

    def asked(self, body: dict[str, Any], role: str) -> Asked:
        """See ``wire.Format``.

        Raises:
            ConfigError: the answer is to be fetched later, by another request, and could not be judged.
        """
        if body.get("background"):
            raise ConfigError(
                "a response made in the background is fetched by another request, unjudged: leave background out"
            )
        messages = tuple(_history(body))
        tasks = [message.content for message in messages if message.role == "user"]
        schema = object_of(object_of(body.get("text")).get("format")).get("schema")
        return Asked(
            role=role,
            adapter=ADAPTER,
            model=escape_text(text_of(body.get("model"))),
            task=tasks[-1] if tasks else "",
            messages=messages,
            tools=tuple(_tool(tool) for tool in objects_in(body.get("tools"))),
            output_schema=as_json(schema) if schema else "",
            temperature=number(body.get("temperature")),
            max_output_tokens=whole_number(body.get("max_output_tokens")),
        )

    def prepared(self, body: dict[str, Any], longest: int | None, *, is_official: bool, usage: bool) -> dict[str, Any]:
        """See ``wire.Format``. A stream ends with its usage here anyway."""
        return body if longest is None else {**body, "max_output_tokens": longest}

    def merged(self, events: list[Event]) -> dict[str, Any]:
        """See ``wire.Format``."""
        return responses_stream.merged(events)

    def heard(self, answer: dict[str, Any]) -> Heard:
        """See ``wire.Format``."""
        items = objects_in(answer.get("output"))
        thoughts = _thoughts(items)
        reason = text_of(object_of(answer.get("incomplete_details")).get("reason"))
        error = object_of(answer.get("error"))
        return Heard(
            text=BETWEEN.join(
                [text for holder, name in _places(items) if (text := text_of(holder.get(name)))] + _besides(items)
            ),
            reasoning=BETWEEN.join(text_of(part.get("text")) for part in thoughts),
            state=_state(items, thoughts),
            tool_calls=tuple(_tool_call(item, index) for index, item in enumerate(_calls(items))),
            usage=usage_of(object_of(answer.get("usage")), "input", "output"),
            finish_reason=_ENDS.get(reason, reason) or "stop",
            model=text_of(answer.get("model")),
            error=text_of(error.get("message")) or (as_json(error) if error else ""),
            is_whole=answer.get("status", "completed") in {"completed", "incomplete"} and "output" in answer,
        )

    def replaced(self, answer: dict[str, Any], seen: Observation, released: Observation) -> dict[str, Any]:
        """See ``wire.Format``. Whatever tells the texts another time (log probabilities, annotations) is left out."""
        changed = copy.deepcopy(answer)
        changed.pop("output_text", None)  # some servers tell it all once more
        items = objects_in(changed.get("output"))
        besides = _besides(items)
        for part in (
            part for item in items if item.get("type") == "message" for part in objects_in(item.get("content"))
        ):
            for name in ("logprobs", "annotations"):
                if name in part:
                    part[name] = []
        for item in (item for item in items if item.get("type") == "message"):
            known = [part for part in objects_in(item.get("content")) if part.get("type") in _TEXTS]
            item["content"] = [{name: part[name] for name in part.keys() & _KEPT} for part in known]
        if len(released.tool_calls) != len(_calls(items)):
            items = [item for item in items if item.get("type") in {"message", "reasoning"}]
        for item, call in zip(_calls(items), released.tool_calls, strict=True):
            _put_arguments(item, unescape_text(call.arguments))
        if seen.reasoning.source == "provider":
            put(released.reasoning.text, [(part, "text") for part in _thoughts(items)])
        changed["output"] = _with_text(items, seen, released, besides)
        return changed

    def streamed(self, answer: dict[str, Any]) -> list[Event]:
        """See ``wire.Format``."""
        return responses_stream.streamed(answer)

    def follower(self) -> ResponsesFollower:
        """See ``wire.Format``."""
        return ResponsesFollower()

    def without_usage(self, events: list[Event]) -> list[Event]:
        """See ``wire.Format``: the usage of a stream is in its last event, whoever asks."""
        return events


def _with_text(
    items: list[dict[str, Any]], seen: Observation, released: Observation, besides: list[str]
) -> list[dict[str, Any]]:
    """The items with the released text where that stood that was seen; a thought in it stays in front."""
    text = text_of_answer(seen, released)
    places = [(holder, name) for holder, name in _places(items) if text_of(holder.get(name))]
    if text and not places:
        part = {"type": "output_text", "text": "", "annotations": []}
        message = {
            "id": "msg_released",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
        items, places, besides = [*items, message], [(part, "text")], []
    put(text, places, besides)
    return items


def _history(body: dict[str, Any]) -> list[Message]:
    instructions = content_text(body.get("instructions"))
    first = [Message(role="system", content=escape_text(instructions))] if instructions else []
    given = body.get("input")
    if isinstance(given, str):
        return [*first, Message(role="user", content=escape_text(given))]
    return [*first, *(_message(item) for item in objects_in(given))]


def _message(item: dict[str, Any]) -> Message:
    """An item of the history. What the record has no field for stands in its content, as JSON."""
    kind, role = text_of(item.get("type")), text_of(item.get("role"))
    if kind in {"", "message"}:
        content = escape_text(content_text(item.get("content")))
        if role in {"system", "developer"}:
            return Message(role="system", content=content)
        return Message(role="assistant" if role == "assistant" else "user", content=content)
    if kind == "reasoning":
        thought = BETWEEN.join(text_of(part.get("text")) for part in _thoughts([item]))
        return Message(role="assistant", content=escape_text(f"<think>{thought}</think>"))
    if kind.endswith("_output"):
        call_id = escape_text(text_of(item.get("call_id")))
        return Message(role="tool", content=escape_text(content_text(item.get("output"))), tool_call_id=call_id or None)
    if kind.endswith("_call"):
        return Message(role="assistant", tool_calls=(_tool_call(item, 0),))
    return Message(role="user", content=as_json(without_data(item)))


def _tool(tool: dict[str, Any]) -> ToolSpec:
    name = text_of(tool.get("name")) or text_of(tool.get("type"))
    return ToolSpec(
        escape_text(name),
        escape_text(text_of(tool.get("description"))),
        object_of(tool.get("parameters")) or {key: value for key, value in tool.items() if key not in {"name", "type"}},
    )


def _places(items: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Where the texts of messages stand."""
    parts = [part for item in items if item.get("type") == "message" for part in objects_in(item.get("content"))]
    return [(part, _TEXTS[kind]) for part in parts if (kind := text_of(part.get("type"))) in _TEXTS]


def _besides(items: list[dict[str, Any]]) -> list[str]:
    """What messages say in other parts and fields than those that are known: a title of what is cited."""
    said: list[str] = []
    for item in (item for item in items if item.get("type") == "message"):
        content = item.get("content")
        for part in content if isinstance(content, list) else [content]:
            known = _TEXTS.get(text_of(object_of(part).get("type")))
            said += texts_in({**part, known: "", "logprobs": []} if isinstance(part, dict) and known else part)
    return said


def _thoughts(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of reasoning items that have a text: the thought itself, and what the provider says of it."""
    found = [item for item in items if item.get("type") == "reasoning"]
    parts = [part for item in found for name in ("content", "summary") for part in objects_in(item.get(name))]
    return [part for part in parts if text_of(part.get("text"))]


def _state(items: list[dict[str, Any]], thoughts: list[dict[str, Any]]) -> ReasoningState:
    kinds = {text_of(part.get("type")) for part in thoughts}
    if kinds - {"summary_text"}:
        return ReasoningState.PLAIN
    if kinds:
        return ReasoningState.SUMMARY
    is_sealed = any(item.get("type") == "reasoning" and item.get("encrypted_content") for item in items)
    return ReasoningState.ENCRYPTED if is_sealed else ReasoningState.ABSENT


def _calls(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every item that is neither said nor thought: calls of the caller's tools, and what the provider's tools did."""
    return [item for item in items if item.get("type") not in {"message", "reasoning"}]


def _tool_call(item: dict[str, Any], index: int) -> ToolCall:
    kind = text_of(item.get("type"))
    call_id = text_of(item.get("call_id")) or text_of(item.get("id"))
    if (field := _OWN_CALLS.get(kind)) is not None:
        return tool_call_of(call_id, text_of(item.get("name")), text_of(item.get(field)), index)
    rest = {name: value for name, value in item.items() if name not in _NOT_ARGUMENTS}
    return tool_call_of(call_id, kind, json.dumps(without_data(rest), ensure_ascii=False, sort_keys=True), index)


def _put_arguments(item: dict[str, Any], arguments: str) -> None:
    if (field := _OWN_CALLS.get(text_of(item.get("type")))) is not None:
        item[field] = arguments
    elif arguments != _tool_call(item, 0).arguments:
        item.update(json.loads(arguments))
