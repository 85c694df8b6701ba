"""Streams of the Responses format: their end as the answer in one piece, and an answer as a stream."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from monitor.adapters.openai_sdk.wire import Event, object_of, objects_in, text_of, whole_number, without_data

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAST = {"response.completed", "response.incomplete", "response.failed"}
_NOT_SAID = {
    "sequence_number",
    "item_id",
    "obfuscation",
    "delta",
    "logprobs",
    "response",
    "name",
    "error",
    "message",
    "code",
}
"""Fields of an event that are about it, or are read elsewhere."""
_PICTURE = "response.image_generation_call.partial_image"
_DELTAS = {
    "response.output_text.delta": ("message", "output_text", "text"),
    "response.refusal.delta": ("message", "refusal", "refusal"),
    "response.reasoning_text.delta": ("reasoning", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("reasoning", "summary_text", "text"),
}


def merged(events: list[Event]) -> dict[str, Any]:
    """The answer in one piece: what the last event says, and whatever came before and is not in it.

    A stream that breaks off has no last event; then it is what came.
    """
    said = [event.json() for event in events]
    pieces = _pieces(said)
    whole: dict[str, Any] = {}
    for event in said:
        kind = event.get("type")
        if kind in _LAST:
            whole = copy.deepcopy(object_of(event.get("response")))
        elif kind == "error":
            whole = {**whole, "status": "failed", "error": object_of(event.get("error")) or event}
    if not whole:
        whole = {"status": "in_progress"}
    output = objects_in(whole.get("output"))
    output += _besides(pieces, output)
    return {**whole, "output": [*output, *_on_the_way(said, output)]}


def _pieces(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items that a stream told of on its way: those that came whole, and what its deltas said besides."""
    items: dict[int, dict[str, Any]] = {}
    texts: dict[tuple[int, str, str, str], dict[int, list[str]]] = {}
    arguments: dict[int, list[str]] = {}
    for event in said:
        kind, index = text_of(event.get("type")), whole_number(event.get("output_index")) or 0
        if kind in _DELTAS:
            number = whole_number(event.get("content_index", event.get("summary_index"))) or 0
            places = texts.setdefault((index, *_DELTAS[kind]), {})
            places.setdefault(number, []).append(text_of(event.get("delta")))
        elif kind.endswith((".added", ".done")) and isinstance(item := event.get("item"), dict):
            items[index] = item
        elif kind.endswith(".delta") and isinstance(delta := event.get("delta"), str):
            arguments.setdefault(index, []).append(delta)
    made = [
        {
            "type": item,
            ("summary" if part == "summary_text" else "content"): [
                {"type": part, name: "".join(pieces)} for _, pieces in sorted(places.items())
            ],
        }
        for (_, item, part, name), places in texts.items()
    ]
    calls = []
    for index, parts in arguments.items():
        item = items.get(index, {})
        field = "input" if item.get("type") == "custom_tool_call" else "arguments"
        calls.append({**item, "type": item.get("type") or "function_call", field: "".join(parts)})
    finished = [item for item in items.values() if item.get("status") == "completed"]
    return [*_besides([*made, *calls], finished), *finished]


def _on_the_way(said: list[dict[str, Any]], output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What events said that is in no item, each as an item of its own: the SDK hands every event on."""
    told, items = list(_texts(output)), []
    for event in (event for event in said if event.get("type") != _PICTURE):
        item, others = event.get("item"), object_of(event.get("response")).get("output")
        besides = {name: value for name, value in event.items() if name not in _NOT_SAID}
        for one in [item] if item else objects_in(others) or [besides]:
            texts = [text for text in _texts(without_data(one)) if text and not any(text in other for other in told)]
            told += texts
            kind = text_of(object_of(one).get("type"))
            items += [_item(kind, text) for text in texts]
    return items


def _item(kind: str, text: str) -> dict[str, Any]:
    if "reasoning" in kind:
        return {"type": "reasoning", "content": [{"type": "reasoning_text", "text": text}]}
    if "call" in kind:
        return {"type": "function_call", "arguments": text}
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


def _besides(items: list[dict[str, Any]], known: Any) -> list[dict[str, Any]]:
    """Those of the items that say something which no known one of their type says."""
    told: dict[str, list[str]] = {}
    for one in objects_in(known):
        told.setdefault(text_of(one.get("type")), []).extend(_texts(one))
    return [item for item in items if not _is_told(item, told.get(text_of(item.get("type")), []))]


def _is_told(item: dict[str, Any], texts: list[str]) -> bool:
    return all(any(text in other for other in texts) for text in _texts(item) if text)


def _texts(value: Any) -> Iterator[str]:
    """Every text that the model wrote in an item: ids, types and the like are none."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in {"id", "type", "status", "call_id", "role", "phase", "encrypted_content"}:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def streamed(answer: dict[str, Any]) -> list[Event]:
    """An answer as a stream: each item with its texts in one delta each."""
    numbered = []
    for number, event in enumerate(_events(answer)):
        event["sequence_number"] = number
        numbered.append(Event(json.dumps(event), event["type"]))
    return numbered


def _events(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**answer, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": begun}
    for index, item in enumerate(objects_in(answer.get("output"))):
        where = {"output_index": index, "item_id": item.get("id", "")}
        empty = {name: [] if name in {"content", "summary"} else value for name, value in item.items()}
        kind = text_of(item.get("type"))
        field = {"function_call": "arguments", "custom_tool_call": "input"}.get(kind)
        if field:
            empty[field] = ""
        yield {"type": "response.output_item.added", "output_index": index, "item": empty}
        if kind == "message":
            yield from _message_events(item, where)
        elif kind == "reasoning":
            yield from _reasoning_events(item, where)
        elif field:
            name = "response.function_call_arguments" if kind == "function_call" else "response.custom_tool_call_input"
            yield {"type": f"{name}.delta", **where, "delta": item.get(field, "")}
            yield {"type": f"{name}.done", **where, field: item.get(field, ""), "name": item.get("name", "")}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    status = text_of(answer.get("status")) or "completed"
    yield {"type": f"response.{status}", "response": answer}


def _message_events(item: dict[str, Any], where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number, part in enumerate(objects_in(item.get("content"))):
        at = {**where, "content_index": number}
        is_text = part.get("type") == "output_text"
        field, name = ("text", "response.output_text") if is_text else ("refusal", "response.refusal")
        more: dict[str, Any] = {"logprobs": []} if is_text else {}
        yield {"type": "response.content_part.added", **at, "part": {**part, field: ""}}
        yield {"type": f"{name}.delta", **at, "delta": part.get(field, ""), **more}
        yield {"type": f"{name}.done", **at, field: part.get(field, ""), **more}
        yield {"type": "response.content_part.done", **at, "part": part}


def _reasoning_events(item: dict[str, Any], where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number, part in enumerate(objects_in(item.get("summary"))):
        at, name = {**where, "summary_index": number}, "response.reasoning_summary"
        yield {"type": f"{name}_part.added", **at, "part": {**part, "text": ""}}
        yield {"type": f"{name}_text.delta", **at, "delta": part.get("text", "")}
        yield {"type": f"{name}_text.done", **at, "text": part.get("text", "")}
        yield {"type": f"{name}_part.done", **at, "part": part}
    for number, part in enumerate(objects_in(item.get("content"))):
        at = {**where, "content_index": number}
        yield {"type": "response.reasoning_text.delta", **at, "delta": part.get("text", "")}
        yield {"type": "response.reasoning_text.done", **at, "text": part.get("text", "")}
