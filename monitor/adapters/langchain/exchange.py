"""One call of an agent's model, or of one of its tools: what is asked, what came, and what of it is handed on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain.agents.factory import _supports_provider_strategy
from langchain.agents.middleware import ModelResponse
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.errors import GraphBubbleUp

from monitor.adapters.langchain.translate import (
    LIMIT_FIELDS,
    asked_of_model,
    asked_of_tool,
    limit_field,
    message_of,
    model_failed,
    observed,
    tool_failed,
    tool_observed,
    tool_text,
)
from monitor.canonical import escape_text
from monitor.errors import Blocked, Halted, Rejected, SubcallCancelled, SubcallError, SubcallFailed, Terminated
from monitor.models.secrets import clean
from monitor.records import MALFORMED, ErrorInfo, Outcome

if TYPE_CHECKING:
    from langchain.agents.middleware import ModelRequest
    from langgraph.prebuilt.tool_node import ToolCallRequest

    from monitor.orchestrate.foreign import Asked
    from monitor.records import Call, Observation, StoredSubcall, Trust

OnBlock = Literal["raise", "message"]
WITHHELD = "The monitor withheld this answer."
WITHHELD_RESULT = "The monitor withheld the result of this tool call."


class Exchange(ABC):
    """What a call and its record have to do with each other.

    ``value`` is what LangChain's handler returned. ``call_id`` tells calls of one node apart.
    """

    asked: Asked

    def __init__(self, on_block: OnBlock) -> None:
        self._on_block = on_block
        self.value: Any = None
        self.call_id = ""
        self._error: Exception | None = None
        self._seen: Observation | None = None

    def came(self, value: Any, call: Call) -> Observation:
        """What the handler returned, as the record has it."""
        self.value = value
        self._seen = self._observed(value, call)
        return self._seen

    def failed(self, error: Exception, call: Call) -> Observation:
        """What the handler raised, as the record has it."""
        self._error = error
        return self._failed(error, call)

    def released(self, subcall: StoredSubcall) -> Any:
        """What LangChain gets: the value itself, unless a rule redacted it or a person changed it."""
        assert subcall.observation is not None
        if self._seen is not None and subcall.observation.model_copy(update={"seconds": 0.0}) == self._seen:
            return self.value
        return self._changed(subcall)

    def refused(self, error: SubcallError) -> Any:
        """Raise what the call ended in, as it was raised where nothing withholds that; or say that it was withheld."""
        if isinstance(error, SubcallFailed) and self._error is not None and not error.withheld:
            raise self._error
        if isinstance(error, SubcallCancelled) and isinstance(self._error, GraphBubbleUp | SubcallError):
            raise self._error
        is_final = isinstance(error, Halted | Terminated)
        if self._on_block == "message" and isinstance(error, Blocked | Rejected) and not is_final:
            return self._withheld()
        raise error

    @abstractmethod
    def _observed(self, value: Any, call: Call) -> Observation: ...

    @abstractmethod
    def _failed(self, error: Exception, call: Call) -> Observation: ...

    @abstractmethod
    def _changed(self, subcall: StoredSubcall) -> Any: ...

    @abstractmethod
    def _withheld(self) -> Any: ...


class ModelExchange(Exchange):
    """A call of an agent's model."""

    def __init__(self, request: ModelRequest[Any], role: str, trust: Trust, on_block: OnBlock) -> None:
        super().__init__(on_block)
        self._request = request
        system = [request.system_message] if request.system_message else []
        self.asked = asked_of_model(
            request.model,
            [*system, *request.messages],
            role=role,
            trust=trust,
            tools=[*request.tools, *_answer_tools(request.response_format, request.model, request.tools)],
            settings=request.model_settings,
        )

    def bounded(self, call: Call) -> ModelRequest[Any]:
        """The request with an output no longer than its budgets have left, where the model takes a limit."""
        limit, request = call.max_output_tokens, self._request
        if limit is None or limit == self.asked.max_output_tokens:
            return request
        given = [name for name in LIMIT_FIELDS if name in request.model_settings]
        if given:
            settings = {**request.model_settings, **dict.fromkeys(given, limit)}
            return request.override(model_settings=settings)
        if name := limit_field(request.model):
            return request.override(model=request.model.model_copy(update={name: limit}))
        return request

    def _observed(self, value: Any, call: Call) -> Observation:
        return observed(_answer(value), call, self.asked)

    def _failed(self, error: Exception, call: Call) -> Observation:
        answer = getattr(
            error, "ai_message", None
        )  # one that came whole, and is not of the structure that was asked for
        if not isinstance(answer, AIMessage):
            return model_failed(error, call)
        info = ErrorInfo(kind=MALFORMED, message=clean(escape_text(f"{type(error).__name__}: {error}")))
        seen = observed(answer, call, self.asked)
        return seen.model_copy(update={"outcome": Outcome.FAILED, "error": info, "exceeded": ()})

    def _changed(self, subcall: StoredSubcall) -> Any:
        seen = subcall.observation
        assert seen is not None
        if self.value is not None and _is_structured(self.value):
            assert subcall.judgement is not None
            return self.refused(
                Blocked(
                    f"a structured answer of {subcall.call.role} cannot be handed on with parts of it covered",
                    subcall.judgement,
                    run_id=subcall.call.run_id,
                    span_id=subcall.call.span_id,
                )
            )
        original = _answer(self.value) if self.value is not None else None
        return ModelResponse(result=[message_of(seen, original)])

    def _withheld(self) -> Any:
        return ModelResponse(result=[AIMessage(WITHHELD, response_metadata={"monitor": "withheld"})])


def _answer_tools(response_format: Any, model: Any, tools: list[Any]) -> list[dict[str, Any]]:
    """The tools by which a model gives a structured answer."""
    if response_format is None or isinstance(response_format, ProviderStrategy):
        return []
    if not isinstance(response_format, ToolStrategy):  # LangChain chooses
        if _supports_provider_strategy(model, tools=tools):
            return []
        schema = response_format.schema if isinstance(response_format, AutoStrategy) else response_format
        response_format = ToolStrategy(schema=schema)
    return [
        {"name": spec.name, "description": spec.description, "parameters": spec.json_schema}
        for spec in response_format.schema_specs
    ]


def _answer(value: Any) -> AIMessage:
    """The model's own message in what a handler returned."""
    response = getattr(value, "model_response", value)
    messages = [response] if isinstance(response, AIMessage) else response.result
    return next(message for message in messages if isinstance(message, AIMessage))


def _is_structured(value: Any) -> bool:
    response = getattr(value, "model_response", value)
    return not isinstance(response, AIMessage) and (
        response.structured_response is not None or len(response.result) > 1
    )


class ToolExchange(Exchange):
    """A call of an agent's tool."""

    def __init__(self, request: ToolCallRequest, trust: Trust, on_block: OnBlock) -> None:
        super().__init__(on_block)
        self._call = request.tool_call
        self.call_id = str(self._call["id"])
        self.asked = asked_of_tool(self._call["name"], self._call["args"], trust=trust)

    def _observed(self, value: Any, call: Call) -> Observation:
        return tool_observed(tool_text(value))

    def _failed(self, error: Exception, call: Call) -> Observation:
        is_paused = isinstance(error, GraphBubbleUp)  # it waits for a person, or hands over to another graph
        return tool_failed(error, Outcome.CANCELLED if is_paused else Outcome.FAILED)

    def _changed(self, subcall: StoredSubcall) -> Any:
        assert subcall.observation is not None
        return self._message(subcall.observation.output)

    def _withheld(self) -> Any:
        return self._message(WITHHELD_RESULT, status="error")

    def _message(self, text: str, status: Literal["success", "error"] = "success") -> ToolMessage:
        return ToolMessage(text, tool_call_id=cast("str", self._call["id"]), name=self._call["name"], status=status)
