"""Prices, computed by hand."""

from __future__ import annotations

import pytest

from monitor.models.pricing import FREE, FlatPrice, context_of, price_of


def test_a_listed_price_charges_cached_tokens_at_their_own_rate() -> None:
    """gpt-4o-mini: $0.15 in, $0.075 cached, $0.60 out for a million each."""
    price = price_of("openai", "gpt-4o-mini")

    assert price is not None
    cost = price.cost(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=500_000)
    assert cost == pytest.approx(0.6 * 0.15 + 0.4 * 0.075 + 0.5 * 0.60)


def test_langchains_names_of_providers_are_found() -> None:
    assert price_of("google_genai", "gemini-2.5-pro") is not None


@pytest.mark.parametrize(("provider", "model"), [("openai", "no-such-model"), ("no-such-provider", "gpt-4o")])
def test_unknown_is_none_and_not_zero(provider: str, model: str) -> None:
    assert price_of(provider, model) is None
    assert context_of(provider, model) is None


def test_a_context_window_is_known() -> None:
    assert context_of("openai", "gpt-4o-mini") == 128_000


def test_a_flat_price_without_one_for_cached_tokens_charges_them_in_full() -> None:
    price = FlatPrice(2.0, 10.0)

    assert price.cost(input_tokens=1000, cached_tokens=600, output_tokens=100) == pytest.approx(0.003)


def test_free_is_exactly_zero() -> None:
    assert FREE.cost(input_tokens=10**12, cached_tokens=10**6, output_tokens=10**12) == 0.0
