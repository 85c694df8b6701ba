"""Messages of a chat as the formats in use write them, read into what the record has. Here foreign text is escaped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from monitor.adapters.ingest.traces import Broken
from monitor.canonical import escape_text
from monitor.orchestrate.replies import THINK_CLOSE, THINK_OPEN, split_think
from monitor.records import Message, Reasoning, ReasoningState, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BETWEEN = "\n\n"
"""Between the texts of several answers to one question."""
_ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_REASONING_TEXTS = ("reasoning_content", "reasoning")
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})
_DATA_PARTS = frozenset(
    {"image", "image_url", "input_image", "audio", "input_audio", "video", "file", "input_file", "data", "blob", "uri"}
)
_CALL_PART = "tool_use"  # Anthropic's, and Inspect's of tools that the provider runs
_REASONING_LISTS = ("thinking_blocks", "reasoning_details")
"""Where a message has its thought in parts: as LiteLLM (and SWE-agent) writes it, and OpenRouter."""
_REASONING_PARTS = frozenset({"reasoning", "thinking", "redacted_thinking"})


class Said(NamedTuple):
    """One message. ``message.content`` is its text as it stands; of an assistant's, ``output`` is that without reasoning.

    ``name`` is what the message says of who speaks (of a tool: its name).
    """

    message: Message
    reasoning: Reasoning
    output: str
    name: str = ""

    @property
    def raw(self) -> str:
        """The text word for word, where that is not the output."""
        return "" if self.message.content == self.output else self.message.content


def read_messages(items: Any, where: str = "messages") -> tuple[Said, ...]:
    """Read a list of messages. Raises Broken."""
    if not isinstance(items, list):
        raise Broken(f"{where}: expected a list of messages, found {kind_of(items)}")
    return tuple(read_message(item, f"{where}[{index}]") for index, item in enumerate(items))


def read_message(item: Any, where: str) -> Said:
    """Read one message. Raises Broken."""
    if not isinstance(item, dict):
        raise Broken(f"{where}: expected a message, found {kind_of(item)}")
    given = item.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        found = repr(given[:40]) if isinstance(given, str) else kind_of(given)
        raise Broken(f"{where}.role: expected one of {', '.join(_ROLES)}, found {found}")
    text, thoughts = _texts(item.get("content"), f"{where}.content")
    refusal = item["refusal"] if isinstance(item.get("refusal"), str) else ""
    text = text if refusal in text else "\n".join(filter(None, [text, refusal]))
    calls = tuple(_tool_calls(item, where))
    reasoning, output = Reasoning(), escape_text(text)
    if role == "assistant":
        reasoning, output = _reasoning(item, text, thoughts)
    answers = item.get("tool_call_id") or next(iter(_items(item.get("tool_call_ids"))), None)
    message = Message(
        role=role,
        content=escape_text(text),
        tool_calls=calls,
        tool_call_id=escape_text(answers) if isinstance(answers, str) else None,
    )
    named = item.get("function") if isinstance(item.get("function"), str) else item.get("name")
    return Said(message, reasoning, output, escape_text(named) if isinstance(named, str) else "")


def together(choices: Sequence[Said]) -> Said:
    """Several answers to one question as one: all of them were given, and rules look at each."""
    first, *more = choices
    if not more:
        return first
    readable = [one.reasoning for one in choices if one.reasoning.text] or [first.reasoning]
    reasoning = readable[0].model_copy(update={"text": BETWEEN.join(one.text for one in readable)})
    content, output = (
        BETWEEN.join(texts) for texts in zip(*((one.message.content, one.output) for one in choices), strict=True)
    )
    calls = tuple(call for one in choices for call in one.message.tool_calls)
    message = first.message.model_copy(update={"content": content, "tool_calls": calls})
    return Said(message, reasoning, output, first.name)


def _reasoning(item: Mapping[str, Any], text: str, thoughts: list[Reasoning]) -> tuple[Reasoning, str]:
    """The reasoning of an assistant's message, where there is any, and its text without it."""
    named = [item[name] for name in _REASONING_TEXTS if isinstance(item.get(name), str) and item[name].strip()]
    if not thoughts and not named:
        parts = [part for name in _REASONING_LISTS for part in _items(item.get(name)) if isinstance(part, dict)]
        thoughts = [_thought(part) for part in parts]
    if thoughts:
        besides = [
            escape_text(one) for one in named if not any(escape_text(one) in thought.text for thought in thoughts)
        ]
        thoughts += [Reasoning(state=ReasoningState.PLAIN, text=one, source="provider") for one in besides]
        states = {thought.state for thought in thoughts}
        readable = [thought for thought in thoughts if thought.text]
        state = readable[0].state if readable else next(iter(states))
        joined = "\n".join(thought.text for thought in readable)
        return Reasoning(state=state, text=joined, source="provider"), escape_text(text)
    for name in (*_REASONING_TEXTS, "thought"):
        thought = item.get(name)
        if isinstance(thought, str) and thought.strip():
            source: Literal["schema", "provider"] = "schema" if name == "thought" else "provider"
            rest = text.replace(thought, "", 1) if text.startswith(thought) else text
            whole = "\n".join([thought, *(one for one in named if one not in thought)])
            found = Reasoning(state=ReasoningState.PLAIN, text=escape_text(whole), source=source)
            return found, escape_text(rest.strip("\n") if rest != text else text)
    if THINK_OPEN in text or THINK_CLOSE in text:
        thought, rest = split_think(text)
        if thought:
            found = Reasoning(state=ReasoningState.PLAIN, text=escape_text(thought), source="think_tag")
            return found, escape_text(rest)
    return Reasoning(), escape_text(text)


def _texts(content: Any, where: str) -> tuple[str, list[Reasoning]]:
    """The text of a content, and its reasoning parts. Data (an image, a file) is there as its kind."""
    if content is None:
        return "", []
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        raise Broken(f"{where}: expected text or a list of parts, found {kind_of(content)}")
    parts: list[str] = []
    thoughts: list[Reasoning] = []
    for index, part in enumerate(content):
        if isinstance(part, str):
            parts.append(part)
            continue
        if not isinstance(part, dict):
            raise Broken(f"{where}[{index}]: expected a part, found {kind_of(part)}")
        kind = part.get("type")
        if kind in _REASONING_PARTS:
            thoughts.append(_thought(part))
        elif kind in _TEXT_PARTS or (kind is None and isinstance(part.get("text"), str)):
            text = next((part[name] for name in ("text", "content", "refusal") if isinstance(part.get(name), str)), "")
            parts.append(text)
        elif kind in _DATA_PARTS:
            parts.append(f"[{kind}]")
        elif kind != _CALL_PART or "result" in part:
            parts.append(as_json(part))  # of a kind that is not known: whatever it says, rules look at it
    return "\n".join(parts), thoughts


def _thought(part: Mapping[str, Any]) -> Reasoning:
    """One part of reasoning: readable, a summary, or there and not to be read."""
    summary = part.get("summary")
    text = next(
        (part[key] for key in ("reasoning", "thinking", "content", "text") if isinstance(part.get(key), str)), ""
    )
    if part.get("redacted"):
        shown = summary if isinstance(summary, str) else ""
        state = ReasoningState.SUMMARY if shown else ReasoningState.REDACTED
        return Reasoning(state=state, text=escape_text(shown), source="provider")
    if text:
        return Reasoning(state=ReasoningState.PLAIN, text=escape_text(text), source="provider")
    if isinstance(summary, str) and summary:
        return Reasoning(state=ReasoningState.SUMMARY, text=escape_text(summary), source="provider")
    is_sealed = part.get("type") == "reasoning.encrypted"
    return Reasoning(state=ReasoningState.ENCRYPTED if is_sealed else ReasoningState.REDACTED, source="provider")


def _tool_calls(item: Mapping[str, Any], where: str) -> Iterator[ToolCall]:
    """The tool calls of a message: OpenAI's form, its older one (``function_call``), Inspect's, or parts of the content."""
    asked = item.get("tool_calls")
    if asked is not None and not isinstance(asked, list):
        raise Broken(f"{where}.tool_calls: expected a list, found {kind_of(asked)}")
    calls = list(asked or ())
    if isinstance(item.get("function_call"), dict):
        calls.append({"function": item["function_call"]})
    parts = [part for part in _items(item.get("content")) if isinstance(part, dict) and part.get("type") == _CALL_PART]
    calls += [{**part, "arguments": part.get("arguments", part.get("input"))} for part in parts]
    for index, call in enumerate(calls):
        place = f"{where}.tool_calls[{index}]"
        if not isinstance(call, dict):
            raise Broken(f"{place}: expected a tool call, found {kind_of(call)}")
        function = call["function"] if isinstance(call.get("function"), dict) else call
        name = function.get("name") or (call.get("function") if isinstance(call.get("function"), str) else None)
        if not isinstance(name, str):
            raise Broken(f"{place}: expected the name of a function, found {kind_of(name)}")
        ident = call.get("id")
        yield ToolCall(
            id=escape_text(ident) if isinstance(ident, str) else str(index),
            name=escape_text(name),
            arguments=escape_text(as_json(function.get("arguments"))),
        )


def tool_names(tools: Any) -> tuple[str, ...]:
    """The names in a list of tools, as OpenAI and Inspect write them; what has none is left out."""
    names = []
    for tool in _items(tools):
        if isinstance(tool, dict):
            function = tool["function"] if isinstance(tool.get("function"), dict) else tool
            if isinstance(function.get("name"), str):
                names.append(escape_text(function["name"]))
    return tuple(names)


def last_task(said: tuple[Said, ...]) -> str:
    """What was asked: the first message of a user."""
    return next((one.message.content for one in said if one.message.role == "user"), "")


def as_json(value: Any) -> str:
    """Arguments as JSON text; what is text already is left as it is."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
