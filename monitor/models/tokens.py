"""An upper bound of a request's input tokens where the model's own tokenizer is not at hand.

A byte-level tokenizer, or one with byte fallback, makes at most one token of each UTF-8 byte; OpenAI's, Llama's, Qwen's,
Mistral's, Gemma's and SmolLM's are all of that kind. To the bytes of every text come allowances for what a chat template
adds around them. A tokenizer that normalises text first (NFKC) can break the bound on rare characters, and a provider
that adds a longer prompt of its own can break it too: a report above the bound is recorded as a finding, not hidden.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from monitor.models.base import InputBound

if TYPE_CHECKING:
    from monitor.models.base import ModelRequest
    from monitor.records import Message

PER_REQUEST = 128
"""Tokens for the template's beginning and end, and the default system prompts that some templates add (31 for SmolLM2)."""

PER_MESSAGE = 16
"""Tokens around one message: role, separators, and the same around each of its tool calls."""

STRUCTURE = 512
"""Tokens, once, for what a provider says to its model about tools or about answering in JSON (Anthropic: up to 346)."""


def byte_bound(request: ModelRequest) -> InputBound:
    """Bound the request's input tokens by its UTF-8 bytes and the allowances above, tools and output schema included."""
    tokens = PER_REQUEST + sum(_message_bound(message) for message in request.messages)
    for tool in request.tools:
        tokens += PER_MESSAGE + _utf8(tool.name) + _utf8(tool.description) + _json(tool.parameters)
    if request.output_schema is not None:
        tokens += _json(request.output_schema)
    if request.tools or request.output_schema is not None:
        tokens += STRUCTURE
    return InputBound(tokens=tokens, exact=False)


def _message_bound(message: Message) -> int:
    tokens = PER_MESSAGE + _utf8(message.content) + _utf8(message.tool_call_id or "")
    for call in message.tool_calls:
        tokens += PER_MESSAGE + _utf8(call.id) + _utf8(call.name) + _utf8(call.arguments)
    return tokens


def _utf8(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _json(value: Any) -> int:
    """Bytes of a schema as the widest of the usual templates prints it: indented by four, non-ASCII escaped."""
    return len(json.dumps(value, indent=4))
