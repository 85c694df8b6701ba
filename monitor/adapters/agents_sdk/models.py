"""A model of the SDK whose every call is stored before it is made, and judged before the SDK has its answer."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from monitor.adapters import passage
from monitor.adapters.agents_sdk.late import watched
from monitor.adapters.agents_sdk.scopes import scope
from monitor.adapters.agents_sdk.sdk import load
from monitor.adapters.observing import Standing
from monitor.adapters.openai_sdk import responses_stream
from monitor.adapters.openai_sdk.observed import cut_off, observed, out_of_time, said_nothing
from monitor.adapters.openai_sdk.responses import Responses
from monitor.adapters.openai_sdk.wire import BETWEEN, Event, Heard
from monitor.adapters.places import current
from monitor.adapters.raised import said_with
from monitor.errors import SubcallError, SubcallFailed
from monitor.models.base import Price, ReportedUsage
from monitor.models.translate import translate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from monitor.adapters.options import Options
    from monitor.orchestrate.foreign import Asked
    from monitor.records import Call, Observation, StoredSubcall

ADAPTER = "openai-agents"
_FORMAT = Responses()
Model: Any = load().Model
ModelProvider: Any = load().ModelProvider


@dataclass(frozen=True)
class Told:
    """What agents are watched with. One that nobody asked to watch ``is_guest``: watched within observed runs alone."""

    name: str
    options: Options
    price: Price | None = None
    is_guest: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether what is called here is nobody's business."""
        return self.is_guest and current() is None


class NameOf(str):
    """A model's name as an agent has it, which says whose it is. ``asked`` is the name as it was, None for the default."""

    __slots__ = ("agent", "asked")
    agent: str
    asked: str | None

    @classmethod
    def of(cls, agent: str, asked: str | None, default: str) -> NameOf:
        """The name for an agent."""
        made = cls(asked if asked is not None else default)
        made.agent, made.asked = agent, asked
        return made


class WatchedProvider(ModelProvider):  # type: ignore[misc]  # the SDK may not be installed
    """A provider whose models are watched."""

    def __init__(self, inner: Any, told: Told) -> None:
        self.inner, self.told = inner, told

    def get_model(self, model_name: str | None) -> WatchedModel:
        """The model of the provider, watched."""
        is_ours = isinstance(model_name, NameOf)
        found = self.inner.get_model(model_name.asked if isinstance(model_name, NameOf) else model_name)
        role = model_name.agent if is_ours and isinstance(model_name, NameOf) else "agent"
        return WatchedModel(found, role, str(model_name or ""), self.told)

    async def aclose(self) -> None:
        """See the SDK."""
        await self.inner.aclose()


class WatchedModel(Model):  # type: ignore[misc]  # as above
    """A model, watched. ``role`` is the name of the agent that it answers for."""

    def __init__(self, inner: Any, role: str, name: str, told: Told) -> None:
        self.inner, self._role, self.told = inner, role, told
        self._name = name or str(getattr(inner, "model", "") or type(inner).__name__)

    async def get_response(self, *given: Any, **named: Any) -> Any:
        """See the SDK. Raises SubcallError where the answer is withheld or the budget has nothing left."""
        if self.told.is_idle:
            return await self.inner.get_response(*given, **named)
        asking = _Asking(given, named, self)

        async def make(call: Call) -> tuple[Any, dict[str, Any]]:
            response = await self.inner.get_response(*asking.bounded(call), **named)
            return response, _answer(response)

        kept = await asking.through(make)
        if kept.changed is None:
            return kept.value
        return dataclasses.replace(kept.value, output=_items(kept.changed["output"]))

    async def stream_response(self, *given: Any, **named: Any) -> AsyncIterator[Any]:
        """See the SDK: the stream is handed on once all of it is judged."""
        if self.told.is_idle:
            async for event in self.inner.stream_response(*given, **named):
                yield event
            return
        asking = _Asking(given, named, self)

        async def make(call: Call) -> tuple[Any, dict[str, Any]]:
            async for event in self.inner.stream_response(*asking.bounded(call), **named):
                asking.came.append(event)
            return asking.came, asking.merged()

        kept = await asking.through(make)
        for event in kept.value if kept.changed is None else _events(kept.changed):
            yield event

    def get_retry_advice(self, request: Any) -> Any:
        """See the SDK."""
        return self.inner.get_retry_advice(request)

    async def close(self) -> None:
        """See the SDK."""
        await self.inner.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        await self.inner._cleanup_on_run_end(owner)


@dataclass(slots=True)
class _Kept:
    value: Any = None
    answer: dict[str, Any] = dataclasses.field(default_factory=dict)
    seen: Observation | None = None
    error: Exception | None = None
    changed: dict[str, Any] | None = None


class _Asking:
    """One call: system prompt, input, settings, tools, output schema, handoffs, as the SDK hands them to a model."""

    def __init__(self, given: tuple[Any, ...], named: dict[str, Any], model: WatchedModel) -> None:
        names = ("system_instructions", "input", "model_settings", "tools", "output_schema", "handoffs", "tracing")
        self._given = dict(zip(names, given, strict=False)) | {key: named[key] for key in names if key in named}
        self._names = names[: len(given)]
        self._named = named
        self._model = model
        self.asked = self._asked()
        self.came: list[Any] = []

    def _asked(self) -> Asked:
        given, model = self._given, self._model
        tools = [_tool(tool) for tool in given["tools"]] + [_handoff(handoff) for handoff in given["handoffs"]]
        schema = given["output_schema"]
        form = {"schema": schema.json_schema()} if schema is not None and not schema.is_plain_text() else {}
        body = {
            "model": model._name,
            "instructions": given["system_instructions"],
            "input": given["input"],
            "tools": tools,
            "text": {"format": form},
            "temperature": given["model_settings"].temperature,
            "max_output_tokens": given["model_settings"].max_tokens,
        }
        asked = _FORMAT.asked(body, model._role)
        return replace(asked, adapter=ADAPTER, price=model.told.price or _listed(model.inner, model._name))

    def bounded(self, call: Call) -> tuple[Any, ...]:
        """What the model is handed: its settings with no longer output than the budget has left."""
        if call.max_output_tokens != self.asked.max_output_tokens:
            settings = dataclasses.replace(self._given["model_settings"], max_tokens=call.max_output_tokens)
            self._given["model_settings"] = settings
            if "model_settings" in self._named:
                self._named["model_settings"] = settings
        return tuple(self._given[name] for name in self._names)

    async def through(self, make: Callable[[Call], Awaitable[tuple[Any, dict[str, Any]]]]) -> _Kept:
        kept, told, here = _Kept(), self._model.told, scope()

        async def work(call: Call) -> Observation:
            budget = place.budget
            try:
                with watched():
                    async with asyncio.timeout(budget.seconds_left()):
                        kept.value, kept.answer = await make(call)
            except Exception as exc:  # noqa: BLE001 - raised again, once the record says so
                if isinstance(exc, TimeoutError) and (budget.seconds_left() or 1) <= 0:
                    return out_of_time(call, budget.out_of_time(), self._so_far())
                kept.error = exc
                failure = translate(exc, model=self._model._name, is_whole=True)
                return said_nothing(call, failure, self._so_far(said_with(exc)))
            kept.seen = observed(
                call, self._heard(kept, call), price=self.asked.price, asked=self.asked.max_output_tokens
            )
            return kept.seen

        async with Standing(self.asked.task, told.name, told.options) as place:
            try:
                asked = replace(self.asked, parent_id=here.below)
                subcall = await passage.through_async(asked, place, work, left=self._left)
            except SubcallError as exc:
                if isinstance(exc, SubcallFailed) and not exc.withheld:
                    if kept.error is not None:
                        raise kept.error from None
                    if kept.seen is not None:
                        return kept
                here.error = exc
                raise
        return self._released(kept, subcall)

    def merged(self) -> dict[str, Any]:
        """What came of a stream, as the answer in one piece."""
        return responses_stream.merged([Event(event.model_dump_json()) for event in self.came])

    def _so_far(self, said: str = "") -> Heard | None:
        """What had come of a stream when the call broke off, and what was ``said`` with the error; None if neither was."""
        if not self.came:
            return Heard(text=said) if said else None
        heard = _FORMAT.heard(self.merged())
        return replace(heard, text=BETWEEN.join(text for text in (heard.text, said) if text))

    def _left(self, call: Call) -> Observation | None:
        heard = self._so_far()
        return None if heard is None else cut_off(call, heard)

    def _heard(self, kept: _Kept, call: Call) -> Heard:
        heard = replace(_FORMAT.heard(kept.answer), model=self._model._name)
        longest, used = call.max_output_tokens, heard.usage
        if longest is not None and longest != self.asked.max_output_tokens and used and used.output_tokens >= longest:
            return replace(heard, finish_reason="length")  # the SDK does not say why an answer ended
        return heard

    @staticmethod
    def _released(kept: _Kept, subcall: StoredSubcall) -> _Kept:
        seen, released = kept.seen, subcall.observation
        assert seen is not None
        assert released is not None
        if (seen.output, seen.reasoning, seen.tool_calls) != (released.output, released.reasoning, released.tool_calls):
            kept.changed = _FORMAT.replaced(kept.answer, seen, released)
        return kept


def _answer(response: Any) -> dict[str, Any]:
    """A response of the SDK as Responses would have sent it."""
    usage = _usage(response.usage)
    counts = usage and {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
    }
    output = [item if isinstance(item, dict) else item.model_dump(mode="json") for item in response.output]
    return {"status": "completed", "output": output, "usage": counts}


def _usage(usage: Any) -> ReportedUsage | None:
    if usage is None or not usage.total_tokens:
        return None
    cached = getattr(usage.input_tokens_details, "cached_tokens", 0) or 0
    return ReportedUsage(usage.input_tokens, usage.output_tokens, min(cached, usage.input_tokens))


def _items(output: list[dict[str, Any]]) -> list[Any]:
    from openai.types.responses import ResponseOutputItem  # noqa: PLC0415 - only where something was replaced
    from pydantic import TypeAdapter  # noqa: PLC0415 - as above

    return TypeAdapter(list[ResponseOutputItem]).validate_python(output)


def _events(answer: dict[str, Any]) -> list[Any]:
    from openai.types.responses import ResponseStreamEvent  # noqa: PLC0415 - as above
    from pydantic import TypeAdapter  # noqa: PLC0415 - as above

    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    return [adapter.validate_json(event.data) for event in responses_stream.streamed(answer)]


def _tool(tool: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": getattr(tool, "description", ""),
        "parameters": getattr(tool, "params_json_schema", {}),
    }


def _handoff(handoff: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "name": handoff.tool_name,
        "description": handoff.tool_description,
        "parameters": handoff.input_json_schema,
    }


def _listed(inner: Any, name: str) -> Price | None:
    client = getattr(inner, "_client", None)
    base_url = getattr(client, "base_url", None)
    return _price(str(getattr(base_url, "host", "")), name)


@lru_cache(maxsize=256)
def _price(host: str, name: str) -> Price | None:
    from monitor.adapters.openai_sdk.wrapping import listed  # noqa: PLC0415 - a call from nowhere else needs it

    return listed(host, name)
