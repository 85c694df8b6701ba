"""Generation with a probe on it: the same scores as over the finished text, for every token, and a threshold that stops."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from monitor.errors import ProbeError
from monitor.probes.capture import capture_one
from monitor.probes.layers import decoder_blocks
from monitor.probes.live import Generated, LiveToken, generate
from monitor.probes.reading import read_chat, read_ids
from monitor.probes.words import Surface
from monitor.records import Message
from tests.probes.capture.tiny import ARCHITECTURES, tiny_local

if TYPE_CHECKING:
    from monitor.probes.live import Score
    from monitor.probes.local_model import LocalModel
    from monitor.probes.words import Array

pytestmark = pytest.mark.embedded

ASK = [Message(role="user", content="Write a sentence about a dog in the snow.")]


def probe(width: int = 576) -> Score:
    """A direction like any other; activations of SmolLM2 have a few very large entries, which are left out."""
    direction = np.random.default_rng(0).normal(size=width).astype(np.float32) / np.sqrt(width)

    def score(activations: Array) -> Array:
        scores: Array = np.clip(activations, -30, 30) @ direction
        return scores

    return score


@pytest.mark.parametrize(("layer", "temperature", "most"), [(18, 0.0, 40), (30, 0.0, 7), (0, 1.0, 5), (9, 1.0, 20)])
def test_live_scores_are_those_of_teacher_forcing(
    embedded: LocalModel, layer: int, temperature: float, most: int
) -> None:
    """For every token, the last included, whatever ended the answer: within 1e-3 (scores have a spread of about 1)."""
    live = generate(embedded, ASK, probe(), layer, max_new_tokens=most, temperature=temperature, seed=5)

    text = read_ids(embedded, live.prompt_ids, live.ids, output=live.text, messages=ASK)
    forced = capture_one(embedded, text, layers=[layer], logprobs=True)
    scores = probe()(forced.layers[layer])[len(live.prompt_ids) :]
    assert forced.logprobs is not None
    assert 1 <= len(live.tokens) <= most
    assert live.stopped == ("length" if len(live.tokens) == most else "end")
    np.testing.assert_allclose(live.scores, scores, rtol=0, atol=1e-3)
    np.testing.assert_allclose(live.logprobs, forced.logprobs[len(live.prompt_ids) :], rtol=0, atol=1e-3)
    assert text.mask(Surface.OUTPUT).sum() == len(live.tokens)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_live_scores_are_those_of_teacher_forcing_in_any_architecture(embedded: LocalModel, architecture: str) -> None:
    model = tiny_local(architecture, embedded.tokenizer)
    live = generate(model, [5, 7, 11], probe(32), 3, max_new_tokens=20, temperature=1.0, seed=1)

    text = read_ids(model, live.prompt_ids, live.ids, output=live.text)
    scores = probe(32)(capture_one(model, text, layers=[3]).layers[3])[3:]

    np.testing.assert_allclose(live.scores, scores, rtol=0, atol=1e-3)


def test_the_answer_is_the_one_that_transformers_gives(embedded: LocalModel) -> None:
    prompt = read_chat(embedded, ASK).ids
    with torch.inference_mode():
        row = torch.tensor([prompt])
        theirs = embedded.model.generate(row, attention_mask=torch.ones_like(row), max_new_tokens=12, do_sample=False)

    ours = generate(embedded, ASK, probe(), 18, max_new_tokens=12)

    assert list(prompt + ours.ids) == theirs[0].tolist()[: len(prompt) + len(ours.ids)]
    assert ours.text == embedded.tokenizer.decode(list(ours.ids))


def test_a_token_is_told_as_it_comes_and_the_threshold_stops(embedded: LocalModel) -> None:
    free = generate(embedded, ASK, probe(), 18, max_new_tokens=10)
    told: list[LiveToken] = []
    threshold = sorted(free.scores)[-3]
    first = next(number for number, value in enumerate(free.scores) if value >= threshold)

    stopped = generate(embedded, ASK, probe(), 18, max_new_tokens=10, stop_at=threshold, on_token=told.append)

    assert stopped.stopped == "probe"
    assert stopped.ids == free.ids[: first + 1]
    assert tuple(told) == stopped.tokens
    assert "".join(token.text for token in told) == stopped.text


def test_a_threshold_may_be_for_the_moving_average(embedded: LocalModel) -> None:
    def spike(activations: Array) -> Array:
        counted.append(1)
        return np.full(len(activations), 1.0 if len(counted) in {2, 5, 6, 7} else 0.0, dtype=np.float32)

    counted: list[int] = []
    at_once = generate(embedded, ASK, spike, 3, max_new_tokens=10, stop_at=0.8)
    counted.clear()
    smoothed = generate(embedded, ASK, spike, 3, max_new_tokens=10, stop_at=0.8, smoothing=0.5)

    assert (len(at_once.tokens), len(smoothed.tokens)) == (2, 7)
    assert [token.smoothed for token in smoothed.tokens] == [0, 0.5, 0.25, 0.125, 0.5625, 0.78125, 0.890625]


def test_the_same_seed_writes_the_same(embedded: LocalModel) -> None:
    def write(seed: int) -> Generated:
        return generate(embedded, ASK, probe(), 18, max_new_tokens=6, temperature=1.0, seed=seed)

    first = write(1)
    assert first == write(1)
    assert first.ids != write(2).ids


def test_the_last_pass_ends_at_the_probed_layer(embedded: LocalModel) -> None:
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, block in enumerate(decoder_blocks(embedded.model), 1)
    ]
    try:
        generate(embedded, ASK, probe(), 18, max_new_tokens=3)
    finally:
        for handle in handles:
            handle.remove()

    assert ran == [*range(1, 31)] * 3 + [*range(1, 19)]


@pytest.mark.parametrize("answer", [np.array([np.nan]), np.array([1.0, 2.0]), np.float32(1.0), np.array([np.inf])])
def test_a_probe_that_fails_stops_with_an_error_and_leaves_nothing(embedded: LocalModel, answer: Array) -> None:
    with pytest.raises(ProbeError, match="expected one finite number for each token"):
        generate(embedded, ASK, lambda _: answer, 18)

    assert not any(module._forward_hooks for module in embedded.model.modules())
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("prompt", "options", "expected"),
    [
        ([], {}, "has at least one"),
        ([1, ASK[0]], {}, "messages or of token ids"),
        ([1] * 8192, {}, "fills the context"),
        ([Message(role="user", content="word " * 9000)], {}, "more than the context"),
        ([1], {"layer": 31}, "expected 0 to 30"),
        ([1], {"smoothing": 0.0}, "smoothing 0"),
    ],
)
def test_what_cannot_be_generated_is_refused(
    embedded: LocalModel, prompt: list[int], options: dict[str, float], expected: str
) -> None:
    layer = int(options.pop("layer", 18))
    with pytest.raises(ProbeError, match=expected):
        generate(embedded, prompt, probe(), layer, **options)  # type: ignore[arg-type] # as the cases have them


def test_a_capture_in_another_thread_does_not_disturb(embedded: LocalModel) -> None:
    alone = generate(embedded, ASK, probe(), 18, max_new_tokens=10)
    text = read_chat(embedded, ASK)
    before = capture_one(embedded, text, layers=[18]).layers[18]
    found: list[Array] = []
    thread = threading.Thread(
        target=lambda: found.extend(capture_one(embedded, text, layers=[18]).layers[18] for _ in range(5))
    )

    thread.start()
    beside = generate(embedded, ASK, probe(), 18, max_new_tokens=10)
    thread.join()

    assert beside.ids == alone.ids
    np.testing.assert_allclose(beside.scores, alone.scores, rtol=0, atol=1e-4)
    for array in found:
        np.testing.assert_array_equal(array, before)
