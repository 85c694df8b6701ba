"""Pooling against slow, obvious definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ProbeError
from monitor.probes.kinds import LinearProbe
from monitor.probes.pooling import Pooling, pool_activations, pool_scores, probed, probed_positions
from monitor.probes.words import Activations, Surface, Token, TokenText

SCORES = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30)


def slowly(scores: list[float], pooling: Pooling) -> float:
    """As the module's docstring says it, word by word."""
    n = len(scores)
    match pooling.name:
        case "last":
            return scores[n - 1]
        case "mean":
            return sum(scores) / n
        case "max":
            return max(scores)
        case "rolling_mean_max":
            w = min(pooling.window, n)
            return max(sum(scores[start : start + w]) / w for start in range(n - w + 1))
        case _:
            alpha = 1 - 2 ** (-1 / pooling.halflife)
            averages = [scores[0]]
            for score in scores[1:]:
                averages.append(alpha * score + (1 - alpha) * averages[-1])
            return max(averages)


@pytest.mark.parametrize(
    "written", ["last", "mean", "max", "rolling_mean_max(1)", "rolling_mean_max(4)", "ema(1)", "ema(0.5)", "ema(8)"]
)
@given(scores=SCORES)
def test_scores_are_pooled_as_defined(written: str, scores: list[float]) -> None:
    pooling = Pooling.parse(written)
    assert pool_scores(np.array(scores), pooling) == pytest.approx(slowly(scores, pooling), rel=1e-6, abs=1e-6)


def test_a_halflife_halves() -> None:
    """A token's weight is half of what it was, h tokens later."""
    assert pool_scores(np.array([0.0, 0, 0, 0, 8]), Pooling("ema", halflife=1)) == pytest.approx(4)
    after = [pool_scores(np.array([-8.0, *[0.0] * count]), Pooling("ema", halflife=3)) for count in (3, 6)]
    assert after == pytest.approx([-4, -2])


@given(st.integers(1, 12), st.integers(0, 1_000), st.sampled_from(["last", "mean"]))
def test_for_a_linear_probe_pooling_activations_is_pooling_scores(tokens: int, seed: int, name: str) -> None:
    drawn = np.random.default_rng(seed)
    acts = drawn.normal(size=(tokens, 7)).astype(np.float32)
    pooling = Pooling.parse(name)
    probe = LinearProbe("lda", pooling, drawn.normal(size=7).astype(np.float32), 0.5)
    assert probe.score(acts) == pytest.approx(pool_scores(probe.token_scores(acts), pooling), abs=1e-4)


@pytest.mark.parametrize("written", ["last", "mean", "max", "rolling_mean_max(8)", "ema(2.5)", "attention"])
def test_a_pooling_is_written_as_it_is_read(written: str) -> None:
    assert str(Pooling.parse(written)) == written


@pytest.mark.parametrize(
    "written", ["median", "ema", "ema(0)", "rolling_mean_max(0)", "rolling_mean_max(1.5)", "max(3)", ""]
)
def test_what_is_no_pooling_is_refused(written: str) -> None:
    with pytest.raises(ProbeError):
        Pooling.parse(written)


def test_no_tokens_and_poolings_of_the_other_kind_are_refused() -> None:
    with pytest.raises(ProbeError, match="without tokens"):
        pool_scores(np.array([]), Pooling("max"))
    with pytest.raises(ProbeError, match="without tokens"):
        pool_activations(np.zeros((0, 3), dtype=np.float32), Pooling("mean"))
    with pytest.raises(ProbeError, match="pools scores of tokens"):
        pool_activations(np.zeros((2, 3), dtype=np.float32), Pooling("max"))
    with pytest.raises(ProbeError, match="weights of its own"):
        pool_scores(np.zeros(2), Pooling("attention"))


def activations(*surfaces: Surface | None) -> Activations:
    text = TokenText(tuple(Token(number, surface) for number, surface in enumerate(surfaces)))
    return Activations(text, {3: np.arange(len(surfaces) * 2, dtype=np.float32).reshape(-1, 2)})


def test_the_tokens_of_a_surface_are_probed_without_the_first_that_the_model_reads() -> None:
    out = Surface.OUTPUT
    assert probed_positions(activations(out, out, out), out).tolist() == [1, 2]
    assert probed_positions(activations(None, out, out), out).tolist() == [1, 2]
    assert probed_positions(activations(out), out).tolist() == [0]
    mixed = activations(None, Surface.PROMPT, out, None, out)
    assert probed(mixed, 3, out).tolist() == [[4, 5], [8, 9]]


def test_a_text_without_the_surface_and_a_layer_that_is_not_there_are_errors() -> None:
    with pytest.raises(ProbeError, match="no token of the surface `tool`"):
        probed(activations(None, Surface.OUTPUT), 3, Surface.TOOL)
    with pytest.raises(ProbeError, match=r"layer 4 was not captured; there are: \[3\]"):
        probed(activations(Surface.OUTPUT), 4, Surface.OUTPUT)
