"""``MonitorMiddleware``: the door between an agent of ``create_agent`` and its model and tools."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware

from monitor.adapters import passage
from monitor.adapters.langchain import human, reaching
from monitor.adapters.langchain.callbacks import MonitorCallbackHandler
from monitor.adapters.langchain.exchange import Exchange, ModelExchange, OnBlock, ToolExchange
from monitor.adapters.langchain.quiet import quietly
from monitor.adapters.langchain.runs import (
    TREE,
    agent_name,
    install,
    lies_in,
    place_here,
    seen_model,
    seen_tool,
    stands,
)
from monitor.adapters.observing import Standing
from monitor.adapters.options import Options
from monitor.adapters.places import Place
from monitor.cancellation import in_thread, outlasting
from monitor.errors import ConfigError, SubcallError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from langchain.agents.middleware import ModelRequest
    from langgraph.prebuilt.tool_node import ToolCallRequest

    from monitor.adapters.places import Place
    from monitor.records import Call, Limits, Observation, Trust


class MonitorMiddleware(AgentMiddleware[Any, Any, Any]):
    """Takes every model call and every tool call of an agent through the door: stored, checked, and only then used.

    Inside an ``observed_run``, or inside a tool of an agent that is observed already, the calls belong to that run, with
    its checks and its budget. Else each invocation of the outermost agent or graph is a run of its own, by the options
    given here.

    Give it last: then it sees each call as it is made, and each retry as one.

    Args:
        policy: Policy packs by name or path; default: the settings'. An empty list is no policy, and nothing can pass.
        budget: Limits of the run; those that are not given are the settings'.
        probes: Activation probes by name or path.
        db: Where the run is stored.
        name: What the program is called in the record.
        role: What the record calls the agent's model calls; default: the agent's own name, or ``name``.
        trust: ``trusted`` or ``untrusted``.
        on_block: ``raise`` raises ``Blocked`` out of the agent; ``message`` puts a message in the place of what is
            withheld, which ends the agent where it is an answer, and where it is a tool's result tells the model so.
        options: As ``observed_run`` takes them: ``settings``, ``listener``, ``decider``, ``patience``, ``force_probes``.

    A call raises, besides what the model or the tool raises:
        SubcallError: the answer is withheld, or the budget has no room for the call.
        StoreError: the record could not be written.
    """

    def __init__(
        self,
        *,
        policy: Sequence[str] | None = None,
        budget: Limits | None = None,
        probes: Sequence[str] | None = None,
        db: str | None = None,
        name: str = "langchain",
        role: str = "",
        trust: Trust = "untrusted",
        on_block: OnBlock = "raise",
        **options: Any,
    ) -> None:
        super().__init__()
        if on_block not in {"raise", "message"}:
            raise ConfigError(f"on_block is raise or message; found {on_block!r}")
        self._options = Options(policy=policy, budget=budget, probes=probes, db=db, **options)
        self._program, self._role, self._trust, self._on_block = name, role, trust, on_block
        install()
        reaching.install()
        TREE.find_suspended = human.suspended

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        """Take one call of the model through the door."""
        exchange = self._model(request)

        def work(call: Call) -> Observation:
            try:
                with quietly(), seen_model():
                    value = handler(exchange.bounded(call))
            except Exception as exc:  # noqa: BLE001 - raised again, once the record says so
                return exchange.failed(exc, call)
            return exchange.came(value, call)

        return self._through(exchange, work)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> Any:
        """As ``wrap_model_call``."""
        exchange = self._model(request)

        async def work(call: Call) -> Observation:
            try:
                with quietly(), seen_model():
                    value = await handler(exchange.bounded(call))
            except Exception as exc:  # noqa: BLE001 - as above
                return exchange.failed(exc, call)
            return exchange.came(value, call)

        return await self._through_async(exchange, work)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Take one call of a tool through the door; what it calls in its turn hangs below it."""
        exchange = ToolExchange(request, self._trust, self._on_block)

        def work(call: Call) -> Observation:
            try:
                with quietly(_config(request)), seen_tool(_nested()):
                    value = handler(request)
            except Exception as exc:  # noqa: BLE001 - as above
                return exchange.failed(exc, call)
            return exchange.came(value, call)

        return self._through(exchange, work)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """As ``wrap_tool_call``."""
        exchange = ToolExchange(request, self._trust, self._on_block)

        async def work(call: Call) -> Observation:
            try:
                with quietly(_config(request)), seen_tool(_nested()):
                    value = await handler(request)
            except Exception as exc:  # noqa: BLE001 - as above
                return exchange.failed(exc, call)
            return exchange.came(value, call)

        return await self._through_async(exchange, work)

    def _model(self, request: ModelRequest[Any]) -> ModelExchange:
        return ModelExchange(request, self._role or agent_name() or self._program, self._trust, self._on_block)

    def _through(self, exchange: Exchange, work: Callable[[Call], Observation]) -> Any:
        human.resumable(exchange, self._options)
        with self._standing(exchange) as place:
            earlier = human.waiting(exchange, place)
            said = human.kept(exchange)
            try:
                subcall = earlier or passage.through(exchange.asked, place, work)
                if earlier or subcall.awaits_human:
                    subcall = human.settled(said, subcall, place)
            except SubcallError as exc:
                return said.refused(exc)
            return said.released(subcall)

    async def _through_async(self, exchange: Exchange, work: Callable[[Call], Awaitable[Observation]]) -> Any:
        human.resumable(exchange, self._options)
        async with self._standing_async(exchange) as place:
            earlier = human.waiting(exchange, place)
            said = human.kept(exchange)
            try:
                subcall = earlier or await passage.through_async(exchange.asked, place, work)
                if earlier or subcall.awaits_human:
                    subcall = await human.settled_async(said, subcall, place)
            except SubcallError as exc:
                return said.refused(exc)
            return said.released(subcall)

    @contextmanager
    def _standing(self, exchange: Exchange) -> Iterator[Place]:
        TREE.reach(lies_in(), self._program, self._options)
        place = place_here(self._program, self._options, lambda: exchange.asked.task)
        if place is not None:
            yield place
            return
        with Standing(exchange.asked.task, self._program, self._options) as place:
            yield place

    @asynccontextmanager
    async def _standing_async(self, exchange: Exchange) -> AsyncIterator[Place]:
        TREE.reach(lies_in(), self._program, self._options)
        place = stands() or await outlasting(  # a run that it opens is closed with what LangChain's user invoked
            in_thread(lambda: place_here(self._program, self._options, lambda: exchange.asked.task))
        )
        if place is not None:
            yield place
            return
        async with Standing(exchange.asked.task, self._program, self._options) as place:
            yield place


@cache
def _nested() -> MonitorCallbackHandler:
    """Told of what tools call in their turn: models and agents that nobody wrapped. What they stream stays in the tool."""
    return MonitorCallbackHandler(streams="observe")


def _config(request: ToolCallRequest) -> dict[str, Any] | None:
    config: dict[str, Any] | None = getattr(request.runtime, "config", None)
    return config
