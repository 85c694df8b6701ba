"""A client for whatever LangChain's ``init_chat_model`` takes: Anthropic, Ollama, Google, Mistral, Bedrock, ….

Free answers and tool calls are streamed into ``Progress``. Answers to an output schema come in one piece, by the way
that the provider's class prefers (its own JSON mode, or a tool call); with tools besides, the schema is one more tool,
``answer``.

All calls run in one event loop of this module's own, in a thread. LangChain's classes share connections between all of
their instances in a process, and a connection dies with the loop it was made in: two ``asyncio.run`` in a row would
meet on a dead one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from monitor.errors import ConfigError
from monitor.models import secrets
from monitor.models.langchain_format import (
    SCHEMA_TOOL,
    reasoning_text,
    reply_of,
    titled,
    to_langchain,
    tool_json,
    tools_json,
)
from monitor.models.tokens import byte_bound
from monitor.models.translate import invalid_response, translate

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from monitor.errors import ProviderError
    from monitor.models.base import InputBound, ModelReply, ModelRequest, Price, Progress

DEFAULT_TIMEOUT = 600.0
_LIMIT_FIELDS = ("max_tokens", "max_output_tokens", "max_completion_tokens", "num_predict", "max_new_tokens")
"""What the providers' classes call the limit of output tokens."""

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


class LangChainModel:
    """One LangChain chat model. ``timeout`` is in seconds and bounds a whole call where the request has none.

    Raises:
        ConfigError: the class has no field for the limit of output tokens: its calls could not be bounded.
    """

    def __init__(
        self,
        chat: BaseChatModel,
        *,
        name: str,
        context_tokens: int | None = None,
        price: Price | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        fields = type(chat).model_fields
        self._limit_field = next((field for field in _LIMIT_FIELDS if field in fields), "")
        if not self._limit_field:
            raise ConfigError(
                f"{name}: {type(chat).__name__} has none of the fields {', '.join(_LIMIT_FIELDS)}, so its answers cannot "
                "be bounded; use another provider, or an alias with a base_url"
            )
        for value in vars(chat).values():
            if isinstance(value, SecretStr):
                secrets.register(value.get_secret_value())
        secrets.guard_logs()
        self._chat = chat
        self.name = name
        self.context_tokens = context_tokens
        self.price = price
        self._timeout = timeout

    async def bound_input(self, request: ModelRequest) -> InputBound:
        """Bound the input by its UTF-8 bytes and the allowances of ``tokens``."""
        return byte_bound(request)

    async def complete(self, request: ModelRequest, progress: Progress) -> ModelReply:
        """Call the model once, filling ``progress`` as the answer arrives.

        Raises:
            ProviderError: whatever went wrong; cleaned of keys, with no foreign exception chained to it.
        """
        failure: ProviderError | None = None
        try:
            call = asyncio.run_coroutine_threadsafe(self._call(request, progress), _loop())
            return await asyncio.wrap_future(call)
        except Exception as exc:  # noqa: BLE001 - the boundary: the caller records the ProviderError that it becomes
            failure = translate(exc, model=self.name)
        raise failure  # outside of the except block: no __context__ may hold the request with its key

    async def aclose(self) -> None:
        """Nothing to close: LangChain's classes keep and close their own connections."""

    async def _call(self, request: ModelRequest, progress: Progress) -> ModelReply:
        async with asyncio.timeout(request.timeout or self._timeout):
            if request.output_schema is not None and not request.tools:
                return await self._structured(request, progress)
            return await self._streamed(request, progress)

    async def _streamed(self, request: ModelRequest, progress: Progress) -> ModelReply:
        tools, names = tools_json(request.tools), frozenset[str]()
        if request.output_schema is not None:
            tools.append(tool_json(SCHEMA_TOOL, "Give the final answer.", request.output_schema))
            names = frozenset({SCHEMA_TOOL})
        chat = self._configured(request)
        model = chat.bind_tools(tools) if tools else chat
        message: Any = None
        async for chunk in model.astream(to_langchain(request.messages)):
            message = chunk if message is None else message + chunk
            if text := str(chunk.text):
                progress.text.append(text)
            if reasoning := reasoning_text(chunk):
                progress.reasoning.append(reasoning)
        if message is None:
            raise invalid_response("it is empty", model=self.name)
        return reply_of(message, schema_names=names)

    async def _structured(self, request: ModelRequest, progress: Progress) -> ModelReply:
        schema = titled(request.output_schema or {})
        chain = self._configured(request).with_structured_output(schema, include_raw=True)
        answer: Any = await chain.ainvoke(to_langchain(request.messages))
        message: BaseMessage = answer["raw"]
        reply = reply_of(message, schema_names=frozenset({schema["title"]}))
        progress.text.append(reply.text)
        progress.reasoning.append(reply.reasoning)
        return reply

    def _configured(self, request: ModelRequest) -> BaseChatModel:
        """The chat model with this request's limit, temperature and seed, as far as its class has them."""
        fields = type(self._chat).model_fields
        wanted = {"temperature": request.temperature, "seed": request.seed, "stream_usage": True}
        known = {field: value for field, value in wanted.items() if value is not None and field in fields}
        return self._chat.model_copy(update={self._limit_field: request.max_output_tokens, **known})


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop in which LangChain's calls run: one for each process, forked ones included."""
    with _lock:
        if os.getpid() not in _loops:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="monitor-langchain", daemon=True).start()
        return _loops[os.getpid()]
