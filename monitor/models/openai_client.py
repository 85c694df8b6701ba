"""A client for every OpenAI-compatible Chat Completions endpoint: OpenAI, vLLM, llama.cpp, Ollama's ``/v1``, our own.

It always streams, so that what has arrived of a call that is cut off, cancelled or too slow is kept in ``Progress``, and
reads an answer in one piece where the server will not stream. Chunks are taken as plain JSON, not as the SDK's types:
nothing that a model writes can fail their validation.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from monitor.models import chat_format, secrets
from monitor.models.tokens import byte_bound
from monitor.models.translate import invalid_response, translate

if TYPE_CHECKING:
    from httpx2 import Limits
    from openai import AsyncOpenAI, AsyncStream

    from monitor.errors import ProviderError
    from monitor.models.base import InputBound, ModelReply, ModelRequest, Price, Progress

OFFICIAL_HOST = "api.openai.com"
DEFAULT_TIMEOUT = 600.0
CONNECT_TIMEOUT = 10.0
MAX_CONNECTIONS = 1000
IDLE_SECONDS = 2.0
"""How long an idle TLS connection is kept: less than the five seconds after which uvicorn, and so vLLM, closes it."""

_PATH = "/chat/completions"


class OpenAIModel:
    """One model at one Chat Completions endpoint.

    OpenAI's own endpoint is sent ``max_completion_tokens`` (its reasoning models refuse ``max_tokens``), every other
    one ``max_tokens``. ``token_evidence`` asks for token ids and log probabilities, in fields that only llama.cpp and
    vLLM know; ``grammar`` sends output schemas as llama.cpp's grammars. ``timeout`` is in seconds and bounds a whole
    call where the request has none of its own.
    """

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        base_url: str = f"https://{OFFICIAL_HOST}/v1",
        api_key: str = "",
        context_tokens: int | None = None,
        price: Price | None = None,
        token_evidence: bool = False,
        grammar: bool = False,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._model = model
        self.name = name or f"openai:{model}"
        self._base_url = base_url
        self._api_key = api_key
        self.context_tokens = context_tokens
        self.price = price
        self._token_evidence = token_evidence
        self._grammar = grammar
        self._timeout = timeout
        host = urlsplit(base_url).hostname
        self._is_local = host in {"127.0.0.1", "localhost", "::1"}
        self._limit_field = "max_completion_tokens" if host == OFFICIAL_HOST else "max_tokens"
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._no_stream: set[bool] = set()  # with or without tools: llama.cpp streams no log probabilities with tools
        secrets.register(api_key)
        secrets.guard_logs()

    async def bound_input(self, request: ModelRequest) -> InputBound:
        """Bound the input by its UTF-8 bytes and the allowances of ``tokens``: the tokenizer is not at hand."""
        return byte_bound(request)

    async def complete(
        self, request: ModelRequest, progress: Progress, *, prompt_ids: tuple[int, ...] = ()
    ) -> ModelReply:
        """Call the model once, filling ``progress`` as the answer arrives.

        ``prompt_ids`` are the exact ids of the prompt where the caller knows them; they go into the reply's evidence.

        Raises:
            ProviderError: whatever went wrong; cleaned of keys, with no foreign exception chained to it.
        """
        answer = chat_format.Answer(self.name, progress)
        failure: ProviderError | None = None
        try:
            async with asyncio.timeout(request.timeout or self._timeout):
                await self._fetch(request, answer)
            return answer.reply(prompt_ids)
        except Exception as exc:  # noqa: BLE001 - the boundary: the caller records the ProviderError that it becomes
            failure = translate(exc, model=self.name)
        raise failure  # outside of the except block: no __context__ may hold the request with its key

    async def aclose(self) -> None:
        """Close connections; the client may be used again afterwards."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    async def post_json(self, path: str, body: dict[str, Any]) -> Any:
        """Ask another path of the same server, from its root: for what llama.cpp offers beside the standard.

        Raises whatever the SDK raises; the caller translates it.
        """
        return await self._sdk().post(urljoin(self._base_url, path), cast_to=object, body=body)

    async def _fetch(self, request: ModelRequest, answer: chat_format.Answer) -> None:
        body = chat_format.request_json(
            request,
            model=self._model,
            limit_field=self._limit_field,
            token_evidence=self._token_evidence,
            grammar=self._grammar,
        )
        has_tools = bool(request.tools)
        if has_tools in self._no_stream:
            body = _unstreamed(body)
        try:
            stream = await self._post(body)
        except Exception as exc:  # a refused stream was not answered, so asking again is no hidden retry
            if not (body.get("stream") and _refuses_streaming(exc)):
                raise
            self._no_stream.add(has_tools)
            stream = await self._post(_unstreamed(body))
        try:
            if "event-stream" in stream.response.headers.get("content-type", ""):
                await self._read_stream(stream, answer)
            else:
                answer.add(_parse(await stream.response.aread(), self.name))
        finally:
            await stream.close()

    async def _read_stream(self, stream: AsyncStream[object], answer: chat_format.Answer) -> None:
        async for chunk in stream:
            answer.add(chunk)
        if answer.has_choice and not answer.finish_reason:
            raise invalid_response("the stream ended before the answer did", model=self.name)

    async def _post(self, body: dict[str, Any]) -> AsyncStream[object]:
        from openai import AsyncStream  # noqa: PLC0415 - the SDK takes most of a second: only when a model is called

        return await self._sdk().post(_PATH, cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object])

    def _sdk(self) -> AsyncOpenAI:
        """The SDK's client for the running event loop: connections do not outlive theirs."""
        from openai import AsyncOpenAI, DefaultAsyncHttpx2Client, Timeout  # noqa: PLC0415 - as above

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop = loop
            self._client = AsyncOpenAI(
                base_url=self._base_url,
                api_key=self._api_key or "none",  # the SDK insists on one; servers without keys ignore it
                max_retries=0,  # an unseen retry is an uncounted call
                timeout=Timeout(None, connect=CONNECT_TIMEOUT),  # the whole call is under asyncio.timeout
                # No proxy stands before loopback.
                http_client=DefaultAsyncHttpx2Client(trust_env=not self._is_local, limits=self._limits()),
            )
        return self._client

    def _limits(self) -> Limits:
        """Connections over plain HTTP are used once, those over TLS again.

        A server may close an idle connection in the moment in which the next request is on its way, which then fails
        although nothing is wrong (llama.cpp's server did so in 23 of 500 calls). A request that may have been paid for
        is not to be repeated unseen, and where there is no TLS a new connection costs next to nothing.
        """
        from httpx2 import Limits  # noqa: PLC0415 - as above

        kept = 0 if self._base_url.startswith("http://") else MAX_CONNECTIONS
        return Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=kept, keepalive_expiry=IDLE_SECONDS)


def _unstreamed(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in {"stream", "stream_options"}}


def _refuses_streaming(exc: Exception) -> bool:
    """Whether this is a 400 or 422 that names streaming as its reason."""
    return getattr(exc, "status_code", None) in {400, 422} and "stream" in str(exc).lower()


def _parse(data: bytes, model: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        problem = f"{len(data)} bytes that are not JSON ({type(exc).__name__})"
    raise invalid_response(problem, model=model)
