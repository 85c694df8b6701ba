"""The embedded model: SmolLM2-135M-Instruct (or another GGUF) in our own process, through the client that production uses.

Its input bound is exact: the prompt is made by the model's own template and counted by its own tokenizer. Its cost is
exactly zero.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from monitor.models import chat_format, embedded_server
from monitor.models.base import InputBound
from monitor.models.openai_client import OpenAIModel
from monitor.models.pricing import FREE
from monitor.models.translate import invalid_response, translate
from monitor.settings import EmbeddedOptions

if TYPE_CHECKING:
    from monitor.errors import ProviderError
    from monitor.models.base import ModelReply, ModelRequest, Price, Progress

_REMEMBERED_PROMPTS = 64


class EmbeddedModel:
    """The model inside this process; its server starts on first use and is shared by all with the same options."""

    def __init__(self, options: EmbeddedOptions | None = None) -> None:
        self._options = options or EmbeddedOptions()
        self._chat: OpenAIModel | None = None
        self._prompts: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    @property
    def name(self) -> str:
        """Always ``embedded``."""
        return embedded_server.MODEL_ALIAS

    @property
    def context_tokens(self) -> int:
        """The context of one call in tokens, input and output together."""
        return self._options.context_tokens

    @property
    def price(self) -> Price:
        """Exactly zero."""
        return FREE

    async def bound_input(self, request: ModelRequest) -> InputBound:
        """Count the prompt exactly, as the model's template and tokenizer make it.

        Raises:
            ProviderError: the template refuses these messages (as some refuse two users' messages in a row).
            WeightsError: the weights are missing or damaged.
        """
        prompt_ids = await self._prompt_ids(request)
        return InputBound(tokens=len(prompt_ids), exact=True, prompt_ids=prompt_ids)

    async def complete(self, request: ModelRequest, progress: Progress) -> ModelReply:
        """Call the model once; the reply has the ids of prompt and answer, and the log probabilities, as evidence.

        Raises ProviderError, and WeightsError where the weights are missing or damaged.
        """
        prompt_ids = await self._prompt_ids(request)
        chat = await self._started()
        return await chat.complete(request, progress, prompt_ids=prompt_ids)

    async def aclose(self) -> None:
        """Close this client's connections. The server stays until the process ends (``embedded_server.stop_all``)."""
        if self._chat is not None:
            await self._chat.aclose()

    async def _started(self) -> OpenAIModel:
        if self._chat is None:
            address = await asyncio.to_thread(embedded_server.start, self._options)
            self._chat = OpenAIModel(
                embedded_server.MODEL_ALIAS,
                name=self.name,
                base_url=f"{address.url}/v1",
                api_key=address.api_key,
                context_tokens=self.context_tokens,
                price=FREE,
                token_evidence=True,
                grammar=True,
            )
        return self._chat

    async def _prompt_ids(self, request: ModelRequest) -> tuple[int, ...]:
        """The ids of the request's prompt; remembered, since a call is bounded before it is made."""
        chat = await self._started()
        prompt = await self._ask(chat, "/apply-template", chat_format.prompt_json(request), "prompt", str)
        if prompt in self._prompts:
            self._prompts.move_to_end(prompt)
            return self._prompts[prompt]
        body = {"content": prompt, "add_special": True, "parse_special": True}
        prompt_ids = tuple(await self._ask(chat, "/tokenize", body, "tokens", list))
        self._prompts[prompt] = prompt_ids
        if len(self._prompts) > _REMEMBERED_PROMPTS:
            self._prompts.popitem(last=False)
        return prompt_ids

    async def _ask(self, chat: OpenAIModel, path: str, body: dict[str, Any], field: str, kind: type[Any]) -> Any:
        failure: ProviderError
        try:
            answer = await chat.post_json(path, body)
            if isinstance(answer, dict) and isinstance(answer.get(field), kind):
                return answer[field]
            failure = invalid_response(f"{path} has no {field}", model=self.name)
        except Exception as exc:  # noqa: BLE001 - the boundary: the caller records the ProviderError that it becomes
            failure = translate(exc, model=self.name)
        raise failure  # outside of the except block: no __context__ may hold the request with its key
