"""The kinds on data whose answer is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from monitor.errors import ProbeError
from monitor.probes import kinds
from monitor.probes.attention import AttentionProbe
from monitor.probes.kinds import LINEAR, LinearProbe, fit
from monitor.probes.metrics import auroc
from monitor.probes.novelty import MahalanobisProbe, NearestProbe, fit_novelty
from monitor.probes.pooling import Pooling

if TYPE_CHECKING:
    from monitor.probes.words import Array

torch.set_num_threads(1)
LAST = Pooling("last")


def planted(rows: int = 400, width: int = 12, seed: int = 0) -> tuple[Array, Any]:
    """Rows in which dimension 3 tells the labels apart, beside one dimension of a thousand times the size."""
    drawn = np.random.default_rng(seed)
    labels = drawn.random(rows) < 0.4
    x = drawn.normal(size=(rows, width))
    x[:, 3] += np.where(labels, 1.5, -1.5)
    x[:, 7] = x[:, 7] * 1_000 + 5_000
    return x.astype(np.float32), labels


@pytest.mark.parametrize("kind", LINEAR)
def test_a_linear_kind_finds_the_direction_and_scores_label_true_higher(kind: Any) -> None:
    x, y = planted()
    hyper = {"standardise": True} if kind == "difference_of_means" else {}
    probe = fit(kind, x, y, pooling=LAST, hyper=hyper)
    assert isinstance(probe, LinearProbe)
    fresh, labels = planted(seed=1)
    assert auroc(probe.score_pooled(fresh), labels) > 0.95
    assert np.abs(probe.direction).argmax() == 3
    assert probe.direction[3] > 0
    assert np.linalg.norm(probe.direction) == pytest.approx(1, abs=1e-6)
    assert [probe.score(row[None]) for row in fresh[:5]] == pytest.approx(probe.score_pooled(fresh[:5]).tolist())


def test_the_difference_of_means_is_just_that() -> None:
    x, y = planted()
    probe = fit("difference_of_means", x, y, pooling=LAST)
    difference = x[y].mean(axis=0, dtype=np.float64) - x[~y].mean(axis=0, dtype=np.float64)
    assert probe.tensors()["weights"] == pytest.approx(difference, rel=1e-5)
    middle = (x[y].mean(axis=0, dtype=np.float64) + x[~y].mean(axis=0, dtype=np.float64)) / 2
    assert probe.score(middle[None].astype(np.float32)) == pytest.approx(0, abs=1.0)  # weights of a thousand, float32


@pytest.mark.parametrize("kind", ["logistic_regression", "lda"])
def test_standardising_is_folded_into_the_weights(kind: Any) -> None:
    """Activations of another scale and origin give the same scores."""
    x, y = planted()
    scale, origin = np.linspace(0.1, 10, x.shape[1]), np.linspace(-5, 5, x.shape[1])
    moved = (x * scale + origin).astype(np.float32)
    plain, other = fit(kind, x, y, pooling=LAST), fit(kind, moved, y, pooling=LAST)
    for row in range(20):
        assert plain.score(x[row : row + 1]) == pytest.approx(other.score(moved[row : row + 1]), abs=0.02)


def test_a_dimension_that_never_changes_does_no_harm() -> None:
    x, y = planted()
    x[:, 0] = 3.0
    for kind in ("logistic_regression", "lda"):
        assert np.isfinite(fit(kind, x, y, pooling=LAST).tensors()["weights"]).all()


def needles(rows: int = 300, width: int = 6, seed: int = 0) -> tuple[list[Array], Any]:
    """Texts of which one token, marked in dimension 0, tells the label; all other tokens are noise in its dimension."""
    drawn = np.random.default_rng(seed)
    labels = drawn.random(rows) < 0.5
    texts = []
    for label in labels:
        text = drawn.normal(size=(drawn.integers(6, 30), width))
        text[:, 1] *= 3
        at = drawn.integers(len(text))
        text[at, :2] = [4.0, 2.0 if label else -2.0]
        texts.append(text.astype(np.float32))
    return texts, labels


def test_the_attention_probe_learns_where_to_look() -> None:
    texts, y = needles()
    probe = fit("attention", texts, y, pooling=Pooling("attention"), hyper={"learning_rate": 0.05})
    assert isinstance(probe, AttentionProbe)
    fresh, labels = needles(seed=1)
    scores = np.array([probe.score(text) for text in fresh])
    means = fit("lda", np.stack([text.mean(axis=0) for text in texts]), y, pooling=Pooling("mean"))
    assert auroc(scores, labels) > 0.95 > auroc(np.array([means.score(text) for text in fresh]), labels)
    looked = [int(probe.weights(text)[0].argmax()) == int(text[:, 0].argmax()) for text in fresh]
    assert np.mean(looked) > 0.9
    assert np.mean(probe.token_scores(fresh[0])) == pytest.approx(probe.score(fresh[0]), abs=1e-4)


def test_the_attention_probe_of_a_seed_is_the_same_each_time() -> None:
    texts, y = needles(rows=60)
    one, two, other = (
        fit("attention", texts, y, pooling=Pooling("attention"), seed=seed, hyper={"heads": 2, "epochs": 3})
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(one.tensors()[name], two.tensors()[name]) for name in one.tensors())
    assert not np.array_equal(one.tensors()["values"], other.tensors()["values"])


def test_novelty_is_how_far_a_text_is_from_the_harmless_ones() -> None:
    drawn = np.random.default_rng(0)
    mixing = drawn.normal(size=(8, 8))
    benign = (drawn.normal(size=(20_000, 8)) @ mixing).astype(np.float32)
    probe = fit_novelty("mahalanobis", benign, pooling=LAST)
    inverse = np.linalg.inv(np.cov(benign.T, bias=True))
    away = benign[:5].astype(np.float64) - benign.mean(axis=0)
    expected = np.sqrt([row @ inverse @ row for row in away])
    assert probe.score_pooled(benign[:5]) == pytest.approx(expected, rel=0.05)  # shrunk a little
    near = fit_novelty("nearest", benign[:2_000], pooling=LAST, hyper={"k": 3})
    deviation = benign[:2_000].std(axis=0, dtype=np.float64)
    scaled = benign[:2_000] / deviation
    distances = np.sort(np.linalg.norm(scaled - scaled[0] - 0.5, axis=1))[:3]
    moved = ((scaled[0] + 0.5) * deviation).astype(np.float32)
    assert near.score(moved[None]) == pytest.approx(distances.mean(), rel=1e-4)
    for one in (probe, near):
        fresh = (drawn.normal(size=(200, 8)) @ mixing).astype(np.float32)
        foreign = fresh + 4 * benign.std(axis=0)
        scores = np.concatenate([one.score_pooled(foreign), one.score_pooled(fresh)])
        assert auroc(scores, np.arange(400) < 200) > 0.9


def test_what_was_learned_survives_its_tensors() -> None:
    x, y = planted()
    texts, labels = needles(rows=40)
    linear = fit("lda", x, y, pooling=LAST)
    attention = fit("attention", texts, labels, pooling=Pooling("attention"), hyper={"epochs": 2})
    far, near = (fit_novelty(kind, x, pooling=LAST) for kind in ("mahalanobis", "nearest"))
    assert LinearProbe.from_tensors("lda", LAST, linear.tensors()).score(x[:1]) == linear.score(x[:1])
    assert AttentionProbe.from_tensors(attention.tensors()).score(texts[0]) == attention.score(texts[0])
    assert MahalanobisProbe.from_tensors(LAST, far.tensors()).score(x[:1]) == far.score(x[:1])
    assert NearestProbe.from_tensors(LAST, near.tensors()).score(x[:1]) == near.score(x[:1])
    assert {array.dtype for probe in (linear, attention, far, near) for array in probe.tensors().values()} == {
        np.dtype(np.float32)
    }


def test_faults_of_a_fit_are_told() -> None:
    x, y = planted(rows=20)
    with pytest.raises(ProbeError, match="one label only"):
        fit("lda", x, np.ones(20, dtype=bool), pooling=LAST)
    with pytest.raises(ProbeError, match="found 19 labels and 20 texts"):
        fit("lda", x, y[:19], pooling=LAST)
    with pytest.raises(ProbeError, match="no hyper-parameter 'c'; known: C"):
        fit("logistic_regression", x, y, pooling=LAST, hyper={"c": 1})
    with pytest.raises(ProbeError, match="expected finite activations"):
        fit("lda", np.full_like(x, np.nan), y, pooling=LAST)
    with pytest.raises(ProbeError, match="no linear kind 'svm'"):
        kinds.fit_linear("svm", x, y, pooling=LAST)
    with pytest.raises(ProbeError, match=r"expected activations of shape \(tokens, 12\), found \(2, 3\)"):
        fit("lda", x, y, pooling=LAST).score(np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(ProbeError, match="2 harmless texts at least"):
        fit_novelty("mahalanobis", x[:1], pooling=LAST)
    with pytest.raises(ProbeError, match="no direction"):
        _ = LinearProbe("lda", LAST, np.zeros(3, dtype=np.float32), 0.0).direction
