"""LangChain's messages: ours as theirs, and an answer of theirs as ours, reasoning blocks and all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

from monitor.canonical import escape_text
from monitor.models.base import ModelReply, ReportedUsage, tool_call_of
from monitor.models.parts import texts_in
from monitor.records import Message, ReasoningState, ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.models.base import ToolSpec

SCHEMA_TOOL = "answer"
"""The name under which an output schema is shown to models that answer it by a tool call."""

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "tool_use": "tool_calls",
}
"""Other words of providers for the three that everybody knows."""


def to_langchain(messages: Sequence[Message]) -> list[BaseMessage]:
    """Our messages as LangChain's."""
    return [_to_langchain(message) for message in messages]


def _to_langchain(message: Message) -> BaseMessage:
    if message.role == "system":
        return SystemMessage(message.content)
    if message.role == "user":
        return HumanMessage(message.content)
    if message.role == "tool":
        return ToolMessage(message.content, tool_call_id=message.tool_call_id or "")
    calls, invalid = [], []
    for call in message.tool_calls:
        try:
            arguments = json.loads(call.arguments)
        except (ValueError, RecursionError):
            arguments = None
        if isinstance(arguments, dict):
            calls.append(tool_call(name=call.name, args=arguments, id=call.id))
        else:
            invalid.append(invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error="not JSON"))
    return AIMessage(message.content, tool_calls=calls, invalid_tool_calls=invalid)


_ROLES: dict[str, Any] = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool", "function": "tool"}


def from_langchain(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Their messages as ours, escaped. A part that is no text (an image, a file) is there by its type alone.

    A type of message that we have no role for is a user's, but for a ``chat`` message that names one of ours.
    """
    return tuple(_from_langchain(message) for message in messages)


def _from_langchain(message: BaseMessage) -> Message:
    kind = message.type.removesuffix("MessageChunk").lower()
    role = getattr(message, "role", "") if kind == "chat" else _ROLES.get(kind, "user")
    call_id = getattr(message, "tool_call_id", None)
    return Message(
        role=role if role in _ROLES.values() else "user",
        content=escape_text(content_text(message.content)),
        tool_calls=tool_calls(message),
        tool_call_id=escape_text(str(call_id)) if call_id else None,
    )


_TOLD_APART = frozenset(
    {"text", "reasoning", "thinking", "redacted_thinking", "tool_use", "tool_call", "function_call"}
)
"""Types of parts that are text, or stand elsewhere in a record."""


def content_text(content: Any) -> str:
    """The text of a message's content; a part that is neither text nor recorded elsewhere is its type and its texts."""
    if isinstance(content, str):
        return content
    parts = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict):
            kind = str(part.get("type"))
            text = part.get("text", part.get("refusal"))
            if isinstance(text, str):
                parts.append(text)
            elif kind == "json" or "type" not in part:
                parts.append(json.dumps(part, default=repr))
            elif kind not in _TOLD_APART:
                parts.append("\n".join([f"[{kind}]", *texts_in(part)]))
        else:
            parts.append(str(part))
    return "".join(parts)


def tool_json(name: str, description: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A tool in the form that every LangChain provider takes."""
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def tools_json(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """Our tools in the form that every LangChain provider takes."""
    return [tool_json(tool.name, tool.description, tool.parameters) for tool in tools]


def titled(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the title and description that LangChain needs to name it."""
    return {"title": SCHEMA_TOOL, "description": "The answer.", **schema}


def reasoning_text(message: BaseMessage) -> str:
    """The readable reasoning in a message or in a chunk of one."""
    return "".join(_thought(block) for block in _blocks(message))


def _thought(block: dict[str, Any]) -> str:
    if block.get("type") == "reasoning":
        return str(block.get("reasoning") or "")
    foreign = block.get("value")  # of a provider whose parts LangChain does not know
    if not isinstance(foreign, dict) or foreign.get("type") != "thinking":
        return ""
    return str(foreign.get("thinking") or "")


def said_besides(message: BaseMessage) -> list[str]:
    """What an answer says that is neither text nor reasoning nor a call: a refusal, what the provider's tools did."""
    parts = message.content if isinstance(message.content, list) else []
    others = [part for part in parts if isinstance(part, dict) and part.get("type") not in _TOLD_APART]
    more = message.additional_kwargs
    transcript = audio.get("transcript") if isinstance(audio := more.get("audio"), dict) else None
    return [*texts_in(others), *(text for text in (more.get("refusal"), transcript) if isinstance(text, str) and text)]


def reply_of(message: BaseMessage, *, schema_names: frozenset[str] = frozenset()) -> ModelReply:
    """A finished answer as ours.

    A call of a tool in ``schema_names`` is no tool call: its arguments are the answer that the output schema asked for.
    """
    metadata: dict[str, Any] = message.response_metadata
    reasoning = reasoning_text(message)
    calls = tool_calls(message)
    structured = [call.arguments for call in calls if call.name in schema_names]
    finish = metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason") or ""
    finish = _FINISH_REASONS.get(str(finish).lower(), str(finish).lower())
    return ModelReply(
        text=structured[0] if structured else str(message.text),
        reasoning=reasoning,
        reasoning_state=_state(message, reasoning),
        tool_calls=tuple(call for call in calls if call.name not in schema_names),
        finish_reason="stop" if structured and finish == "tool_calls" else finish,
        model=str(metadata.get("model_name") or metadata.get("model") or ""),
        usage=_usage(message),
    )


def tool_calls(message: BaseMessage) -> tuple[ToolCall, ...]:
    """All tool calls, malformed ones too, with their arguments as the text that the model wrote where that is left."""
    if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
        written = [(chunk.get("id"), chunk.get("name"), chunk.get("args")) for chunk in message.tool_call_chunks]
    elif isinstance(message, AIMessage):
        written = [(call["id"], call["name"], json.dumps(call["args"])) for call in message.tool_calls]
        written += [(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls]
    else:
        written = []
    return tuple(
        tool_call_of(call_id, name, arguments, index) for index, (call_id, name, arguments) in enumerate(written)
    )


def _usage(message: BaseMessage) -> ReportedUsage | None:
    """What the provider says; LangChain's own cache writes a cost of 0 into an answer, and perhaps no more."""
    usage: Any = message.usage_metadata if isinstance(message, AIMessage) else None
    if not usage or not {"input_tokens", "output_tokens"} <= usage.keys():
        return ReportedUsage(0, 0) if usage and usage.get("total_cost") == 0 else None
    cached = usage.get("input_token_details", {}).get("cache_read") or 0
    return ReportedUsage(usage["input_tokens"], usage["output_tokens"], min(cached, usage["input_tokens"]))


def _state(message: BaseMessage, reasoning: str) -> ReasoningState:
    """What became of the reasoning, as far as the message shows: a summary is no plain text, a cipher no absence."""
    parts = [part for part in message.content if isinstance(part, dict)] if isinstance(message.content, list) else []
    parts += [value for value in message.additional_kwargs.values() if isinstance(value, dict)]
    parts += [block.get("value") or block.get("extras") or {} for block in _blocks(message)]
    if reasoning:
        return ReasoningState.SUMMARY if any(part.get("summary") for part in parts) else ReasoningState.PLAIN
    if any(part.get("encrypted_content") for part in parts):
        return ReasoningState.ENCRYPTED
    if any(part.get("type") == "redacted_thinking" for part in parts):
        return ReasoningState.REDACTED
    return ReasoningState.ABSENT


def _blocks(message: BaseMessage) -> list[dict[str, Any]]:
    return [dict(block) for block in message.content_blocks]
