"""The Chat Completions format: a request as its JSON body, and an answer put together from chunks or from one piece.

What comes back is the world's: every field may be absent, null or of a wrong type. A field of a wrong type reads as
absent; only an answer without any choice is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from monitor.models.base import ModelReply, ReportedUsage, tool_call_of
from monitor.models.translate import invalid_response
from monitor.records import ReasoningState, TokenEvidence

if TYPE_CHECKING:
    from monitor.models.base import ModelRequest, Progress, ToolSpec
    from monitor.records import Message

SCHEMA_NAME = "answer"


def messages_json(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Messages as the Chat Completions API takes them."""
    return [_message_json(message) for message in messages]


def _message_json(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


def tool_json(tool: ToolSpec) -> dict[str, Any]:
    """A tool as the Chat Completions API takes it."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def prompt_json(request: ModelRequest) -> dict[str, Any]:
    """The part of a request's body that decides its prompt: messages, tools and output schema."""
    body: dict[str, Any] = {"messages": messages_json(request.messages)}
    if request.tools:
        body["tools"] = [tool_json(tool) for tool in request.tools]
    if request.output_schema is not None:
        schema = {"name": SCHEMA_NAME, "strict": True, "schema": request.output_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def grammar_of(schema: dict[str, Any]) -> str:
    """A schema as a grammar for llama.cpp's llguidance, with one way only to set spaces.

    Left to choose, as it is under ``response_format``, a small model spends half of its tokens on line breaks and
    code fences, loses its thread over them, and the server hides some of the tokens. Keywords that llguidance does not
    know are ignored (``lenient``); without that one such keyword would lift the whole constraint, silently.
    """
    spaces = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}
    return "%llguidance {}\nstart: %json " + json.dumps({**schema, "x-guidance": spaces})


def request_json(
    request: ModelRequest, *, model: str, limit_field: str, token_evidence: bool, grammar: bool = False
) -> dict[str, Any]:
    """The whole body, streaming and its usage report asked for.

    ``limit_field`` is what the server calls the limit of output tokens, which is always sent. ``grammar`` says to send
    an output schema as llama.cpp's ``grammar`` (which it refuses beside tools). Nothing that a strict server might
    refuse is in the body unless it was asked for.
    """
    body = {"model": model, **prompt_json(request), limit_field: request.max_output_tokens}
    if grammar and request.output_schema is not None and not request.tools:
        del body["response_format"]
        body["grammar"] = grammar_of(request.decoding_schema or request.output_schema)
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.seed is not None:
        body["seed"] = request.seed
    if token_evidence:
        # llama.cpp puts ids into the log probabilities; vLLM returns them when asked to. Each ignores the other's field.
        body |= {"logprobs": True, "top_logprobs": 1, "return_token_ids": True}
    return body | {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(slots=True)
class _CallParts:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """An answer under way. ``add`` takes a chunk or a whole completion (both as parsed JSON) and fills ``progress``."""

    model: str
    progress: Progress
    finish_reason: str = ""
    model_reported: str = ""
    usage: ReportedUsage | None = None
    has_choice: bool = False
    _streamed: bool = False
    _calls: dict[int, _CallParts] = field(default_factory=dict)
    _prompt_ids: list[int] = field(default_factory=list)
    _output_ids: list[int] = field(default_factory=list)
    _logprobs: list[float] = field(default_factory=list)
    _logprob_ids: list[int] = field(default_factory=list)

    def add(self, chunk: Any) -> None:
        """Take in one chunk, or a whole completion."""
        chunk = _object(chunk)
        self.model_reported = _text(chunk.get("model")) or self.model_reported
        self._prompt_ids += _numbers(chunk.get("prompt_token_ids"), int)
        if chunk.get("usage"):
            self.usage = _usage(_object(chunk["usage"])) or self.usage
        for choice in map(_object, _items(chunk.get("choices"))[:1]):
            self.has_choice = True
            self._streamed = self._streamed or "delta" in choice
            self.finish_reason = _text(choice.get("finish_reason")) or self.finish_reason
            self._output_ids += _numbers(choice.get("token_ids"), int)
            self._add_delta(_object(choice.get("delta") or choice.get("message")))
            for entry in map(_object, _items(_object(choice.get("logprobs")).get("content"))):
                self._logprobs += _numbers([entry.get("logprob")], float)
                self._logprob_ids += _numbers([entry.get("id")], int)

    def _add_delta(self, delta: dict[str, Any]) -> None:
        for name in ("content", "refusal"):
            if text := _text(delta.get(name)):
                self.progress.text.append(text)
        # The same thought under the two names in use; OpenRouter and vLLM send both, with one content.
        if text := _text(delta.get("reasoning_content")) or _text(delta.get("reasoning")):
            self.progress.reasoning.append(text)
        if _text(delta.get("refusal")):
            self.finish_reason = self.finish_reason or "refusal"
        for position, call in enumerate(map(_object, _items(delta.get("tool_calls")))):
            index = call.get("index")
            parts = self._calls.setdefault(index if isinstance(index, int) else position, _CallParts())
            function = _object(call.get("function"))
            parts.id = parts.id or _text(call.get("id"))
            parts.name = parts.name or _text(function.get("name"))
            parts.arguments.append(_text(function.get("arguments")) or _as_json(function.get("arguments")))

    def reply(self, prompt_ids: tuple[int, ...] = ()) -> ModelReply:
        """The finished answer. Raises ProviderError where there is none, or where it never came to its end."""
        if not self.has_choice:
            raise invalid_response("it has no choices", model=self.model)
        reasoning = "".join(self.progress.reasoning)
        return ModelReply(
            text="".join(self.progress.text),
            reasoning=reasoning,
            reasoning_state=ReasoningState.PLAIN if reasoning else ReasoningState.ABSENT,
            tool_calls=tuple(
                tool_call_of(call.id, call.name, "".join(call.arguments), index)
                for index, call in sorted(self._calls.items())
            ),
            finish_reason=self.finish_reason,
            model=self.model_reported,
            usage=self.usage,
            tokens=self._evidence(prompt_ids or tuple(self._prompt_ids)),
        )

    def _evidence(self, prompt_ids: tuple[int, ...]) -> TokenEvidence | None:
        """Token ids, exact or not at all.

        llama.cpp gives no log probability for the end token of a stream, nor for any token but the last of a character
        that takes several. The first is known to be missing and is left out; where more is missing than that, nobody
        knows which, and ids and log probabilities are dropped.
        """
        output_ids = tuple(self._output_ids or self._logprob_ids)
        logprobs = tuple(self._logprobs)
        if self.usage is not None and len(prompt_ids) != self.usage.input_tokens:
            prompt_ids = ()
        if self.usage is not None:
            missing = self.usage.output_tokens - len(output_ids)
            whole = missing == 0 or (missing == 1 and self._streamed and self.finish_reason == "stop")
            output_ids = output_ids if whole else ()
        if len(logprobs) != len(output_ids):
            output_ids, logprobs = (), ()
        if not prompt_ids and not output_ids:
            return None
        return TokenEvidence(prompt_ids=prompt_ids, output_ids=output_ids, logprobs=logprobs)


def _usage(usage: dict[str, Any]) -> ReportedUsage | None:
    prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens")
    cached = _object(usage.get("prompt_tokens_details")).get("cached_tokens")
    if not (_is_count(prompt) and _is_count(output)):
        return None
    return ReportedUsage(prompt, output, min(cached, prompt) if _is_count(cached) else 0)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _as_json(value: Any) -> str:
    """Arguments that a server sent as an object instead of its text (Ollama did), as text."""
    return json.dumps(value) if isinstance(value, (dict, list)) else ""


def _numbers(values: Any, kind: type[int] | type[float]) -> list[Any]:
    numbers = [value for value in _items(values) if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return [kind(value) for value in numbers if isinstance(value, int) or kind is float]
