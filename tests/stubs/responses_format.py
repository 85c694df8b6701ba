"""The stub's answers in the format of OpenAI's Responses API; the modes are those of ``openai_stub``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stubs.openai_stub import Answer

PIECE = 5


def as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """A Responses request with what the stub reads of a Chat Completions request added to it."""
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    tools = [{"type": "function", "function": tool} for tool in body.get("tools") or [] if tool["type"] == "function"]
    chat = {**body, "messages": [_message(item) for item in items], "tools": tools}
    if "max_output_tokens" in body:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        chat["response_format"] = {"type": "json_schema", "json_schema": form}
    return chat


def _message(item: dict[str, Any]) -> dict[str, Any]:
    content = item.get("content", item.get("output", ""))
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    return {"role": item.get("role", "tool"), "content": content}


def payload(reply: Answer, body: dict[str, Any]) -> dict[str, Any]:
    """An answer as one response object."""
    output: list[dict[str, Any]] = []
    if reply.reasoning:
        summary = [{"type": "summary_text", "text": reply.reasoning}]
        output.append({"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": "c2VhbGVk"})
    if reply.content or reply.refusal:
        part: dict[str, Any] = {"type": "output_text", "text": reply.content, "annotations": [], "logprobs": []}
        if reply.refusal:
            part = {"type": "refusal", "refusal": reply.refusal}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        output.append(message)
    for index, call in enumerate(reply.tool_calls):
        item = {"id": f"fc_{index}", "type": "function_call", "call_id": call["id"], "status": "completed"}
        output.append(item | call["function"])
    is_cut = reply.finish_reason == "length"
    usage = reply.usage and {
        "input_tokens": reply.usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": reply.usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": reply.usage["total_tokens"],
    }
    return {
        "id": "resp_stub",
        "object": "response",
        "created_at": 0,
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "error": None,
        "model": f"stub:{body.get('model')}",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }


def events(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A response object as the events of a stream."""
    for number, event in enumerate(_events(response)):
        yield {**event, "sequence_number": number}


def _events(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": {**response, "status": "in_progress", "output": [], "usage": None}}
    for index, item in enumerate(response["output"]):
        where = {"output_index": index, "item_id": item["id"]}
        empty: dict[str, Any] = {"content": []} if item["type"] == "message" else {"summary": []}
        empty = {"arguments": ""} if item["type"] == "function_call" else empty
        yield {"type": "response.output_item.added", "output_index": index, "item": {**item, **empty}}
        parts = [("content", part) for part in item.get("content", [])]
        for name, part in [*parts, *(("summary", part) for part in item.get("summary", []))]:
            at = {**where, "content_index" if name == "content" else "summary_index": 0}
            kind = {"output_text": "output_text", "refusal": "refusal", "summary_text": "reasoning_summary_text"}
            field = "refusal" if part["type"] == "refusal" else "text"
            begun = "response.content_part.added" if name == "content" else "response.reasoning_summary_part.added"
            yield {"type": begun, **at, "part": {**part, field: ""}}
            for delta in _pieces(part[field]):
                yield {"type": f"response.{kind[part['type']]}.delta", **at, "delta": delta, "logprobs": []}
            yield {"type": f"response.{kind[part['type']]}.done", **at, field: part[field], "logprobs": []}
            yield {"type": begun.replace("added", "done"), **at, "part": part}
        if item["type"] == "function_call":
            for delta in _pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **where, "delta": delta}
            done = {"arguments": item["arguments"], "name": item["name"]}
            yield {"type": "response.function_call_arguments.done", **where, **done}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{response['status']}", "response": response}


def _pieces(text: str) -> list[str]:
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
