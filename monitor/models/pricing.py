"""Prices and context windows from the list that ``genai-prices`` bundles: no network, and unknown stays unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.models.base import Price

MILLION = 1_000_000

_PROVIDER_NAMES = {
    "azure_openai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "google_genai": "google",
    "google_vertexai": "google",
    "mistralai": "mistral",
    "xai": "x-ai",
}
"""LangChain's names of providers where genai-prices has another."""


@dataclass(frozen=True, slots=True)
class FlatPrice:
    """US dollars per million tokens, the same for every call. ``cached`` is None where cached tokens cost the same."""

    input: float
    output: float
    cached: float | None = None

    def cost(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """US dollars for these tokens; ``input_tokens`` includes ``cached_tokens``."""
        cached = self.input if self.cached is None else self.cached
        fresh = input_tokens - cached_tokens
        return (fresh * self.input + cached_tokens * cached + output_tokens * self.output) / MILLION


FREE = FlatPrice(0.0, 0.0, 0.0)
"""The price of what runs on the user's own machine."""


@dataclass(frozen=True, slots=True)
class ListPrice:
    """The price of one model in genai-prices' list, with its tiers by length of prompt and time of day."""

    provider: str
    model: str

    def cost(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """US dollars for these tokens; ``input_tokens`` includes ``cached_tokens``."""
        from genai_prices import Usage, calc_price  # noqa: PLC0415 - takes a quarter of a second: only when needed

        usage = Usage(input_tokens=input_tokens, cache_read_tokens=cached_tokens, output_tokens=output_tokens)
        return float(calc_price(usage, self.model, provider_id=self.provider).total_price)


def price_of(provider: str, model: str) -> Price | None:
    """The price of a provider's model, or None where the list does not have it: unknown is not zero."""
    price = ListPrice(_PROVIDER_NAMES.get(provider, provider), model)
    try:
        price.cost(input_tokens=1, cached_tokens=0, output_tokens=1)
    except LookupError:
        return None
    return price


def context_of(provider: str, model: str) -> int | None:
    """The model's context window in tokens as the list has it, or None where it does not."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - as above

    try:
        _, found = get_snapshot().find_provider_model(model, None, _PROVIDER_NAMES.get(provider, provider), None)
    except LookupError:
        return None
    return found.context_window
