"""LangChain's requests and answers as records, and what is released of a record as LangChain's again."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import SecretStr

from monitor.adapters.raised import said_with, told_by
from monitor.canonical import canonical_text, escape_json, escape_text
from monitor.models import secrets
from monitor.models.base import ModelReply, ReportedUsage, ToolSpec
from monitor.models.langchain_format import content_text, from_langchain, reply_of, said_besides
from monitor.models.pricing import price_of
from monitor.models.translate import translate
from monitor.orchestrate.foreign import Asked
from monitor.orchestrate.replies import observe_reply
from monitor.records import ErrorInfo, Observation, Outcome, Usage, now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.models.base import Price
    from monitor.records import Call, Trust

ADAPTER = "langchain"
LIMIT_FIELDS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "num_predict", "max_new_tokens")
"""What the classes of chat models call the limit of output tokens."""


def limit_field(model: Any) -> str:
    """The field by which the output of this chat model is bounded; empty where it has none."""
    fields = getattr(type(model), "model_fields", {})
    return next((field for field in LIMIT_FIELDS if field in fields), "")


def output_limit(model: Any, settings: dict[str, Any]) -> int | None:
    """The longest output that the caller asks for, in tokens; None where that is not said."""
    asked = [settings.get(field) for field in LIMIT_FIELDS]
    asked.append(getattr(model, limit_field(model) or "max_tokens", None))
    return min((limit for limit in asked if isinstance(limit, int)), default=None)


def keep_keys_out(model: Any) -> None:
    """Have the keys of a chat model cleaned out of every message of an error."""
    for value in getattr(model, "__dict__", {}).values():
        if isinstance(value, SecretStr):
            secrets.register(value.get_secret_value())


def model_name(model: Any) -> str:
    """What the chat model calls itself: the provider's name of the model, or else its class's."""
    for field in ("model_name", "model", "model_id", "deployment_name"):
        if isinstance(name := getattr(model, field, None), str) and name:
            return escape_text(name)
    return escape_text(str(getattr(model, "_llm_type", "") or type(model).__name__))


def price(model: Any, name: str) -> Price | None:
    """The price of the model, where its provider and its name are on the list."""
    try:
        provider = model._get_ls_params().get("ls_provider", "")
    except Exception:  # noqa: BLE001 - a class of anybody's; without a provider there is no price
        return None
    return _price(str(provider), name)


class told_model:  # noqa: N801 - a function in all but its form
    """What callbacks tell of a model, as far as the record asks a model for it."""

    def __init__(self, serialized: dict[str, Any] | None, told: dict[str, Any]) -> None:
        given = told.get("invocation_params") or {}
        metadata = told.get("metadata") or {}
        names = (
            metadata.get("ls_model_name"),
            given.get("model"),
            given.get("model_name"),
            (serialized or {}).get("name"),
        )
        self.model_name = str(next((name for name in names if name), ""))
        self._provider = metadata.get("ls_provider", "")
        self.temperature = given.get("temperature", metadata.get("ls_temperature"))
        self.seed = given.get("seed")
        limits = [given.get(field) for field in LIMIT_FIELDS] + [metadata.get("ls_max_tokens")]
        self.max_tokens = min((limit for limit in limits if isinstance(limit, int)), default=None)

    def _get_ls_params(self) -> dict[str, Any]:
        return {"ls_provider": self._provider}


@lru_cache(maxsize=256)
def _price(provider: str, name: str) -> Price | None:
    return price_of(provider, name)


def tool_specs(tools: Sequence[Any]) -> tuple[ToolSpec, ...]:
    """Tools as the model is told of them; of a provider's own tools the type is the name."""
    return tuple(_tool_spec(tool) for tool in tools)


def _tool_spec(tool: Any) -> ToolSpec:
    try:
        told = convert_to_openai_tool(tool)
    except (ValueError, TypeError):
        told = tool if isinstance(tool, dict) else {"name": getattr(tool, "name", repr(tool))}
    function = told.get("function", told)
    name = str(function.get("name") or told.get("type") or "")
    parameters = function.get("parameters")
    return ToolSpec(
        escape_text(name),
        escape_text(str(function.get("description") or "")),
        cast("dict[str, Any]", escape_json(parameters)) if isinstance(parameters, dict) else {},
    )


def asked_of_model(
    model: Any,
    messages: Sequence[BaseMessage],
    *,
    role: str,
    trust: Trust,
    tools: Sequence[Any] = (),
    settings: dict[str, Any] | None = None,
) -> Asked:
    """A call of a chat model, for the record and the budget."""
    settings = settings or {}
    keep_keys_out(model)
    ours = from_langchain(messages)
    name = model_name(model)
    temperature = settings.get("temperature", getattr(model, "temperature", None))
    seed = settings.get("seed", getattr(model, "seed", None))
    return Asked(
        role=escape_text(role),
        adapter=ADAPTER,
        model=name,
        task=next((message.content for message in reversed(ours) if message.role == "user"), ""),
        messages=ours,
        tools=tool_specs(tools),
        trust=trust,
        temperature=float(temperature) if isinstance(temperature, int | float) else None,
        seed=seed if isinstance(seed, int) else None,
        max_output_tokens=output_limit(model, settings),
        price=price(model, name),
    )


def asked_of_tool(name: str, arguments: Any, *, trust: Trust) -> Asked:
    """A call of a tool, for the record and the budget."""
    return Asked(role=escape_text(name), adapter=ADAPTER, kind="tool", task=as_json(arguments), trust=trust)


def as_json(value: Any) -> str:
    """A value as the record has it: text as it is, else canonical JSON; what is no JSON by its ``repr``."""
    if isinstance(value, str):
        return escape_text(value)
    try:
        return canonical_text(escape_json(value))
    except (TypeError, ValueError, RecursionError):
        return escape_text(repr(value))


def observed(message: BaseMessage, call: Call, asked: Asked, *, is_bounded: bool = True) -> Observation:
    """An answer as the record has it. What the caller's own limit cut short is an answer; what the budget did is none.

    ``is_bounded`` says whether the budget's limit was the model's, too.
    """
    reply = reply_of(message)
    if besides := said_besides(message):
        reply = replace(reply, text="\n\n".join([reply.text, *besides] if reply.text else besides))
    usage = _usage(reply, call, asked.price)
    limit, theirs = call.max_output_tokens, asked.max_output_tokens
    is_ours = is_bounded and limit is not None and (theirs is None or limit < theirs)
    seen = observe_reply(call, reply, None, usage)
    if seen.outcome is Outcome.FAILED or (seen.outcome is Outcome.BUDGET_EXCEEDED and not is_ours):
        return seen.model_copy(update={"outcome": Outcome.OK, "error": None, "exceeded": ()})
    return seen


def _usage(reply: ModelReply, call: Call, price: Price | None) -> Usage:
    """What the provider says was used; where it says nothing the reservation, and of an output that was not bounded its
    bytes.
    """
    used = reply.usage
    if used is None and call.max_output_tokens is not None:
        return call.reserved
    if used is None:
        written = [reply.text, reply.reasoning, *(made.arguments for made in reply.tool_calls)]
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in written)
        used = ReportedUsage(call.reserved.input_tokens, size)
    counts = {
        "input_tokens": used.input_tokens,
        "cached_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
    }
    return Usage(calls=1, cost=price.cost(**counts) if price else None, **counts)


def model_failed(exc: Exception, call: Call) -> Observation:
    """A call that ended in the provider's error, cleaned of keys."""
    told = translate(exc, model=call.model, is_whole=True)
    usage = call.reserved if told.billed_unknown else Usage(calls=1, cost=0.0)
    info = ErrorInfo(kind=told.kind, message=escape_text(str(told)))
    output = escape_text(said_with(exc))
    return Observation(outcome=Outcome.FAILED, output=output, error=info, usage=usage, usage_reported=False, at=now())


def tool_observed(output: str) -> Observation:
    """What a tool returned; an error that it told its model is what it returned, too."""
    return Observation(outcome=Outcome.OK, output=output, usage=Usage(tool_calls=1, cost=0.0), at=now())


def tool_failed(exc: Exception, outcome: Outcome = Outcome.FAILED) -> Observation:
    """A tool that raised."""
    info = ErrorInfo(kind="tool", message=told_by(exc))
    return Observation(outcome=outcome, error=info, usage=Usage(tool_calls=1, cost=0.0), at=now())


def tool_text(result: Any) -> str:
    """What a tool's result says, for the record: a message's content, and of a command all of its update."""
    if isinstance(result, ToolMessage):
        return escape_text(content_text(result.content))
    if isinstance(result, BaseMessage):
        return escape_text(content_text(result.content))
    if isinstance(result, list):
        return "\n".join(tool_text(item) for item in result)
    if isinstance(update := getattr(result, "update", None), dict):
        return as_json(_told(update))
    return as_json(result)


def _told(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return content_text(value.content)
    if isinstance(value, dict):
        return {str(name): _told(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_told(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def message_of(seen: Observation, original: AIMessage | None = None) -> AIMessage:
    """What is released as a message: text and tool calls of the record, without what else the original carried."""
    calls, invalid = [], []
    for call in seen.tool_calls:
        try:
            arguments = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if isinstance(arguments, dict):
            calls.append({"name": call.name, "args": arguments, "id": call.id, "type": "tool_call"})
        else:
            text = {"name": call.name, "args": call.arguments, "id": call.id, "error": "not JSON"}
            invalid.append({**text, "type": "invalid_tool_call"})
    kept: dict[str, Any] = {}
    if original is not None:
        kept = {"id": original.id, "name": original.name, "usage_metadata": original.usage_metadata}
    return AIMessage(seen.output, tool_calls=calls, invalid_tool_calls=invalid, **kept)
