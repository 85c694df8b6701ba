"""The bound by bytes counts everything that is sent."""

from __future__ import annotations

from monitor.models.base import ModelRequest, ToolSpec
from monitor.models.tokens import PER_MESSAGE, PER_REQUEST, STRUCTURE, byte_bound
from monitor.records import Message, ToolCall


def bound(*messages: Message, tools: tuple[ToolSpec, ...] = (), schema: dict[str, object] | None = None) -> int:
    return byte_bound(ModelRequest(messages=messages, max_output_tokens=1, tools=tools, output_schema=schema)).tokens


def test_text_counts_by_its_bytes_and_is_not_exact() -> None:
    message = Message(role="user", content="é😀")

    assert bound(message) == PER_REQUEST + PER_MESSAGE + 2 + 4
    assert not byte_bound(ModelRequest(messages=(message,), max_output_tokens=1)).exact


def test_tool_calls_and_their_results_count() -> None:
    call = ToolCall(id="c1", name="find", arguments='{"a": 1}')

    assert bound(Message(role="assistant", tool_calls=(call,))) == PER_REQUEST + 2 * PER_MESSAGE + 2 + 4 + 8
    assert bound(Message(role="tool", content="x", tool_call_id="c1")) == PER_REQUEST + PER_MESSAGE + 1 + 2


def test_tools_and_schemas_count_with_one_allowance_for_both() -> None:
    tool = ToolSpec("find", "Find.", {"type": "object"})
    schema: dict[str, object] = {"type": "string"}
    plain, with_tool, with_schema = bound(), bound(tools=(tool,)), bound(schema=schema)

    assert with_tool > plain + STRUCTURE + len('{"type": "object"}')
    assert with_schema > plain + STRUCTURE + len('{"type": "string"}')
    assert bound(tools=(tool,), schema=schema) == with_tool + with_schema - plain - STRUCTURE
