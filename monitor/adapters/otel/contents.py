"""What a span says of messages, in whichever of the conventions, as messages of a chat. Where it says nothing, there is
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.adapters.ingest.messages import as_json
from monitor.adapters.otel.mapping import (
    CHOICE_EVENT,
    COMPLETION_EVENT,
    DETAILS_EVENT,
    INPUT_PREFIXES,
    MESSAGE_EVENTS,
    NAMES,
    OUTPUT_PREFIXES,
    PROMPT_EVENT,
    TOOL_PREFIXES,
)
from monitor.adapters.otel.spans import structured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from monitor.adapters.otel.spans import Span


def prompt_of(span: Span) -> list[dict[str, Any]]:
    """The messages that the model was handed."""
    found = _listed(span, "system", "input") or _events(span)
    return found or _flat(span, INPUT_PREFIXES) or _whole(span, "prompt", PROMPT_EVENT, "user")


def answers_of(span: Span) -> list[dict[str, Any]]:
    """The model's answers, one for each choice that was asked for; none where the trace does not have them."""
    found = _listed(span, "output") or _choices(span) or _flat(span, OUTPUT_PREFIXES)
    found = found or _whole(span, "completion", COMPLETION_EVENT, "assistant")
    return [{**answer, "role": "assistant"} for answer in found]


def tools_of(span: Span) -> list[Any]:
    """The tools that the model might call, as they are described."""
    given = structured(span.get("tool_definitions"))
    if isinstance(given, list):
        return given
    flat = _tree(span.attributes, TOOL_PREFIXES)
    found = []
    for tool in flat:
        if isinstance(tool, dict):
            inner = tool.get("tool")
            schema = structured(inner.get("json_schema")) if isinstance(inner, dict) else tool
            found.append(schema)
    return found


# ---------------------------------------------------------------------------------------- messages as one attribute


def _listed(span: Span, *names: str) -> list[dict[str, Any]]:
    """Messages of parts, as attributes of the span or of the event that has its details."""
    details = [happening.says for happening in span.happenings if happening.name == DETAILS_EVENT]
    found: list[dict[str, Any]] = []
    for name in names:
        says = next((one[key] for one in (span.attributes, *details) for key in NAMES[name] if one.get(key)), None)
        given = structured(says)
        if name == "system" and given:
            found.append({"role": "system", "content": _parts(given) if isinstance(given, list) else str(given)})
        elif isinstance(given, list):
            found += [message for item in given if isinstance(item, dict) for message in _messages(item)]
    return found


def _messages(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One message of the conventions; several where it holds several results of tools."""
    parts = item.get("parts")
    if not isinstance(parts, list):
        yield dict(item)
        return
    kinds = [part.get("type") if isinstance(part, dict) else None for part in parts]
    results = [part for part, kind in zip(parts, kinds, strict=True) if kind == "tool_call_response"]
    for part in results:
        result = part.get("response", part.get("result"))
        yield {
            "role": "tool",
            "tool_call_id": part.get("id"),
            "content": result if isinstance(result, str) else as_json(result),
        }
    rest = [part for part, kind in zip(parts, kinds, strict=True) if kind not in {"tool_call", "tool_call_response"}]
    calls = [part for part, kind in zip(parts, kinds, strict=True) if kind == "tool_call"]
    if rest or calls or not results:
        message = {"role": item.get("role"), "content": _parts(rest), "name": item.get("name")}
        yield {**message, "tool_calls": calls, "finish_reason": item.get("finish_reason")}


def _parts(parts: list[Any]) -> list[Any]:
    """Parts with their text where ``messages`` looks for it; a part of another kind stays what it is."""
    return [
        {**part, "text": part["content"]} if isinstance(part, dict) and isinstance(part.get("content"), str) else part
        for part in parts
        if isinstance(part, (dict, str))
    ]


# ------------------------------------------------------------------------------------------------ messages as events


def _events(span: Span) -> list[dict[str, Any]]:
    """One event for each message of the prompt, with what it says in its body or in its attributes."""
    found = []
    for happening in span.happenings:
        role = MESSAGE_EVENTS.get(happening.name)
        if role:
            body = happening.body if isinstance(happening.body, dict) else {**happening.says}
            message = {key: structured(value) if key == "tool_calls" else value for key, value in body.items()}
            found.append({**message, "role": role, "tool_call_id": body.get("id")})
    return found


def _choices(span: Span) -> list[dict[str, Any]]:
    found = []
    for happening in span.happenings:
        if happening.name == CHOICE_EVENT:
            body = happening.body if isinstance(happening.body, dict) else happening.says
            message = structured(body.get("message"))
            if isinstance(message, dict):
                found.append({**message, "finish_reason": body.get("finish_reason")})
    return found


def _whole(span: Span, name: str, event: str, role: str) -> list[dict[str, Any]]:
    """All messages, or only a text, in one attribute of the span or of an event."""
    events = [happening.says for happening in span.happenings if happening.name == event]
    says = next((one[key] for one in (span.attributes, *events) for key in NAMES[name] if one.get(key)), None)
    given = structured(says)
    if isinstance(given, list):
        return [item for item in given if isinstance(item, dict)]
    return [{"role": role, "content": says}] if isinstance(says, str) else []


# -------------------------------------------------------------------------------- messages in many flat attributes


def _flat(span: Span, prefixes: tuple[str, ...]) -> list[dict[str, Any]]:
    """``PREFIX.0.message.role`` (OpenInference) or ``PREFIX.0.role``."""
    found = []
    for item in _tree(span.attributes, prefixes):
        message = item.get("message", item) if isinstance(item, dict) else None
        if isinstance(message, dict):
            found.append(_message(message))
    return found


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = [call.get("tool_call", call) for call in _sequence(message.get("tool_calls")) if isinstance(call, dict)]
    contents = [
        {**part, "text": part.get("text")}
        for item in _sequence(message.get("contents"))
        if isinstance(item, dict) and isinstance(part := item.get("message_content", item), dict)
    ]
    return {**message, "content": contents or message.get("content"), "tool_calls": calls}


def _tree(attributes: Mapping[str, Any], prefixes: tuple[str, ...]) -> list[Any]:
    """What dotted names say, as a list: ``{"p.0.a": 1, "p.1.b.c": 2}`` is ``[{"a": 1}, {"b": {"c": 2}}]``."""
    for prefix in prefixes:
        root: dict[str, Any] = {}
        for name, value in attributes.items():
            if name.startswith(f"{prefix}."):
                *path, last = name.removeprefix(f"{prefix}.").split(".")
                inner = root
                for key in path:
                    below = inner.setdefault(key, {})
                    if not isinstance(below, dict):
                        break
                    inner = below
                else:
                    inner[last] = value
        if root:
            return _sequence(root)
    return []


def _sequence(value: Any) -> list[Any]:
    """A list, or an object whose keys are the numbers of one."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return []
    return [value[key] for key in sorted((key for key in value if key.isdecimal()), key=lambda key: (len(key), key))]
