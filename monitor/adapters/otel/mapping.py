"""The one table of names: what the record has, and under which attributes the conventions in use say it.

Each list goes from the present name to older ones and to OpenInference's; the first that is there counts. The conventions
are all "in development": when one changes, its new name goes in front, and ``VERSION`` says of which release the first
ones are.

    OpenTelemetry  https://opentelemetry.io/docs/specs/semconv/gen-ai/
    OpenInference  https://github.com/Arize-ai/openinference/tree/main/spec
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "1.41.1"
"""The release of OpenTelemetry's semantic conventions of which the first names are."""

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "operation": ("gen_ai.operation.name", "llm.request.type"),
    "kind": ("openinference.span.kind", "traceloop.span.kind"),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "model": ("gen_ai.request.model", "llm.request.model", "llm.model_name"),
    "model_reported": ("gen_ai.response.model", "llm.response.model", "llm.model_name"),
    "temperature": ("gen_ai.request.temperature",),
    "max_tokens": ("gen_ai.request.max_tokens",),
    "seed": ("gen_ai.request.seed", "gen_ai.openai.request.seed"),
    "finish_reasons": ("gen_ai.response.finish_reasons", "llm.finish_reason", "llm.response.finish_reason"),
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    "cached_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "agent": ("gen_ai.agent.name", "agent.name"),
    "tool": ("gen_ai.tool.name", "tool.name"),
    "tool_arguments": ("gen_ai.tool.call.arguments", "input.value", "traceloop.entity.input"),
    "tool_result": ("gen_ai.tool.call.result", "output.value", "traceloop.entity.output"),
    "tool_definitions": ("gen_ai.tool.definitions",),
    "system": ("gen_ai.system_instructions",),
    "input": ("gen_ai.input.messages",),
    "output": ("gen_ai.output.messages",),
    "prompt": ("gen_ai.prompt",),
    "completion": ("gen_ai.completion",),
    "error": ("error.type",),
}
"""What is read → the attributes that may say it."""

MODEL_KINDS: Final = frozenset({"chat", "generate_content", "text_completion", "completion", "llm"})
TOOL_KINDS: Final = frozenset({"execute_tool", "tool"})
"""Which operations and kinds of spans (in lower case) are a model's answer, and which are a tool's. All others are only
the structure around them: agents, chains, workflows."""

INPUT_PREFIXES: Final = ("llm.input_messages", "gen_ai.prompt")
OUTPUT_PREFIXES: Final = ("llm.output_messages", "gen_ai.completion")
TOOL_PREFIXES: Final = ("llm.tools", "llm.request.functions")
"""Before the number of a message (or a tool) where each of its parts is an attribute: ``PREFIX.0.role``."""

MESSAGE_EVENTS: Final[dict[str, str]] = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
"""Events (of a span, or in the log) that are one message of the prompt each → its role."""

CHOICE_EVENT: Final = "gen_ai.choice"
PROMPT_EVENT: Final = "gen_ai.content.prompt"
COMPLETION_EVENT: Final = "gen_ai.content.completion"
DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
EXCEPTION_EVENT: Final = "exception"
"""Events that are one answer; the whole prompt; the whole answer; what the attributes of a span would say; an error."""

EVENTS: Final = frozenset(
    {*MESSAGE_EVENTS, CHOICE_EVENT, PROMPT_EVENT, COMPLETION_EVENT, DETAILS_EVENT, EXCEPTION_EVENT}
)
"""All events that are read."""
