"""What a callback handler is shown is what the caller gets afterwards: a message is changed where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, ToolMessage

from monitor.adapters.langchain.translate import message_of
from monitor.models.langchain_format import reasoning_text, said_besides

if TYPE_CHECKING:
    from langchain_core.outputs import LLMResult

    from monitor.records import Observation


def answer_in(result: LLMResult) -> AIMessage:
    """The model's answer; where several were asked for, all of them in one."""
    generations = [generation for candidates in result.generations for generation in candidates]
    messages = [getattr(generation, "message", None) or AIMessage(generation.text) for generation in generations]
    if len(messages) == 1 and isinstance(messages[0], AIMessage):
        if messages[0].usage_metadata is None:
            return messages[0].model_copy(update={"usage_metadata": _usage(result)})
        return messages[0]
    calls = [call for message in messages for call in getattr(message, "tool_calls", ())]
    broken = [call for message in messages for call in getattr(message, "invalid_tool_calls", ())]
    blocks: list[Any] = []
    for message in messages:
        blocks.append({"type": "reasoning", "reasoning": reasoning_text(message)})
        blocks += [{"type": "text", "text": text} for text in (str(message.text), *said_besides(message))]
    said = [block for block in blocks if block[block["type"]]]
    return AIMessage(said, tool_calls=calls, invalid_tool_calls=broken, usage_metadata=_usage(result))


def _usage(result: LLMResult) -> Any:
    """The usage that is told of the whole call, as LangChain's older models do."""
    told = (result.llm_output or {}).get("token_usage") or {}
    counts = [told.get("prompt_tokens"), told.get("completion_tokens")]
    if not all(isinstance(count, int) for count in counts):
        return None
    return {"input_tokens": counts[0], "output_tokens": counts[1], "total_tokens": sum(counts)}


def overwritten(result: LLMResult, seen: Observation) -> bool:
    """Put what is released in the place of the one answer in ``result``. False where that cannot be done."""
    generations = [generation for candidates in result.generations for generation in candidates]
    if len(generations) != 1:
        return False
    (generation,) = generations
    message = getattr(generation, "message", None)
    if isinstance(message, AIMessage):
        released = message_of(seen, message)
        message.content = released.content
        message.tool_calls, message.invalid_tool_calls = released.tool_calls, released.invalid_tool_calls
        message.additional_kwargs = {}
        message.response_metadata = {}
    elif message is not None:
        return False
    generation.text = seen.output
    return True


def overwritten_result(result: Any, seen: Observation) -> bool:
    """As ``overwritten``, for a tool's result."""
    if not isinstance(result, ToolMessage):
        return False
    result.content = seen.output
    result.artifact = None
    return True
