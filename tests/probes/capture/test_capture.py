"""Capturing on the embedded model: in order, in batches, no further than need be, and leaving nothing behind."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from monitor.errors import ProbeError
from monitor.probes.capture import capture, capture_one
from monitor.probes.layers import decoder_blocks
from monitor.probes.local_model import LocalModel
from monitor.probes.reading import read_plain
from monitor.probes.words import TokenText
from tests.probes.capture.tiny import tiny_local

if TYPE_CHECKING:
    from monitor.probes.words import Activations, Array

pytestmark = pytest.mark.embedded

TEXTS = ["The city of Paris is in France.", "No.", "", "Two and two are four, and " * 12, "日本 is Japan 😀", "x"]


def last(activations: Activations) -> Array:
    vector: Array = activations.layers[18][-1]
    return vector


def test_results_come_in_the_order_of_the_texts(embedded: LocalModel) -> None:
    read = [read_plain(embedded, text) for text in TEXTS]

    got = capture(embedded, read, layers=[3], reduce=lambda a: (a.text, a.layers[3].shape))

    assert got == [(text, (len(text.tokens), 576)) for text in read]


def test_results_do_not_depend_on_batches(embedded: LocalModel) -> None:
    """One by one, all at once, and in any order: within 1e-4 of the layer's largest activation."""
    read = [read_plain(embedded, text) for text in TEXTS if text]
    alone = capture(embedded, read, layers=[0, 18, 30], reduce=lambda a: a, batch_tokens=1, logprobs=True)

    for batch_tokens, order in ((10_000, 1), (40, -1)):
        again = capture(
            embedded, read[::order], layers=[0, 18, 30], reduce=lambda a: a, batch_tokens=batch_tokens, logprobs=True
        )
        for one, other in zip(alone, again[::order], strict=True):
            for k in (0, 18, 30):
                largest = np.abs(one.layers[k]).max()
                np.testing.assert_allclose(other.layers[k], one.layers[k], rtol=0, atol=1e-4 * largest)
            assert one.logprobs is not None
            assert other.logprobs is not None
            np.testing.assert_allclose(other.logprobs, one.logprobs, rtol=0, atol=1e-3)


def test_log_probabilities_are_of_each_token_after_those_before_it(embedded: LocalModel) -> None:
    text = read_plain(embedded, TEXTS[0])

    found = capture_one(embedded, text, layers=[], logprobs=True).logprobs

    with torch.inference_mode():
        logits = embedded.model(torch.tensor([text.ids])).logits[0]
    expected = [float(logits[i].log_softmax(0)[text.ids[i + 1]]) for i in range(len(text.ids) - 1)]
    assert found is not None
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], expected, atol=1e-4)


def test_no_block_after_the_deepest_layer_is_run(embedded: LocalModel) -> None:
    ran: list[int] = []
    blocks = decoder_blocks(embedded.model)
    handles = [b.register_forward_hook(lambda *_, n=n: ran.append(n)) for n, b in enumerate(blocks, 1)]
    try:
        capture_one(embedded, read_plain(embedded, "One two three."), layers=[4, 18])
    finally:
        for handle in handles:
            handle.remove()

    assert ran == list(range(1, 19))


@pytest.mark.parametrize("logprobs", [False, True])
def test_nothing_is_left_on_the_model(embedded: LocalModel, logprobs: bool) -> None:
    def fail(_: Activations) -> None:
        raise ZeroDivisionError

    text = read_plain(embedded, "One two three.")
    with torch.inference_mode():
        before = embedded.model(torch.tensor([text.ids])).logits

    with pytest.raises(ZeroDivisionError):
        capture(embedded, [text], layers=[0, 5, 30], reduce=fail, logprobs=logprobs)
    with pytest.raises(IndexError):  # an id that no embedding has, found out in the middle of the pass
        capture_one(embedded, TokenText((*text.tokens, type(text.tokens[0])(10**6))), layers=[0, 5], logprobs=logprobs)

    for module in embedded.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    with torch.inference_mode():
        assert torch.equal(before, embedded.model(torch.tensor([text.ids])).logits)


def test_memory_does_not_grow_with_the_number_of_texts() -> None:
    """Eight times the texts, the same peak but for what is returned: one float for each."""
    model = tiny_local("Llama")
    text = TokenText(tuple(type_token(number) for number in range(2, 120)))

    def peak(count: int) -> int:
        gc.collect()
        tracemalloc.start()
        sums = capture(
            model, [text] * count, layers=[0, 2, 4], reduce=lambda a: float(a.layers[4].sum()), batch_tokens=500
        )
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(set(sums)) <= 2
        return found

    peak(8)
    assert peak(640) < peak(80) + 640 * 400


def type_token(number: int) -> Any:
    from monitor.probes.words import Token

    return Token(number)


def test_a_view_that_is_returned_does_not_keep_the_text_alive(embedded: LocalModel) -> None:
    (vector,) = capture(embedded, [read_plain(embedded, TEXTS[3])], layers=[18], reduce=last)
    (pair,) = capture(embedded, [read_plain(embedded, TEXTS[3])], layers=[18], reduce=lambda a: {"x": [last(a)]})

    assert vector.base is None
    assert pair["x"][0].base is None


def test_two_threads_may_capture_at_once(embedded: LocalModel) -> None:
    texts = [read_plain(embedded, text) for text in TEXTS[:2]]
    alone = [capture(embedded, [text], layers=[18], reduce=last)[0] for text in texts]
    found: dict[int, list[Array]] = {}

    def work(number: int) -> None:
        found[number] = [capture(embedded, [texts[number]], layers=[18], reduce=last)[0] for _ in range(4)]

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in (0, 1):
        for vector in found[number]:
            np.testing.assert_array_equal(vector, alone[number])


def test_progress_is_told_in_texts(embedded: LocalModel) -> None:
    seen: list[tuple[int, int]] = []
    read = [read_plain(embedded, text) for text in TEXTS]

    capture(
        embedded, read, layers=[1], reduce=lambda a: None, batch_tokens=64, on_progress=lambda *now: seen.append(now)
    )

    assert [total for _, total in seen] == [len(TEXTS)] * len(seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(TEXTS), len(TEXTS))


def test_what_cannot_be_captured_is_refused_with_a_reason(embedded: LocalModel) -> None:
    long = TokenText(tuple(type_token(5) for _ in range(8193)))

    with pytest.raises(ProbeError, match=r"expected 0 .* to 30"):
        capture(embedded, [], layers=[31], reduce=last)
    with pytest.raises(ProbeError, match=r"longer than the context .* 8192; read it with a lower max_tokens"):
        capture(embedded, [long], layers=[1], reduce=last)


def test_no_texts_and_empty_texts_are_no_trouble(embedded: LocalModel) -> None:
    empty = capture_one(embedded, TokenText(()), layers=[0, 30], logprobs=True)

    assert capture(embedded, [], layers=[3], reduce=last) == []
    assert {k: array.shape for k, array in empty.layers.items()} == {0: (0, 576), 30: (0, 576)}
    assert empty.logprobs is not None
    assert empty.logprobs.shape == (0,)


def test_batches_are_halved_until_they_fit() -> None:
    """A device with room for 64 tokens, which says so as CUDA does. What fits is done once, and in the end all of it."""
    model = tiny_local("Llama")
    sizes: list[int] = []

    def refuse(_module: Any, _args: Any, given: dict[str, Any]) -> None:
        if given["input_ids"].numel() > 64:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        sizes.append(given["input_ids"].numel())

    texts = [TokenText(tuple(type_token(number) for number in range(2, 2 + length))) for length in (1, 5, 9, 16) * 8]
    expected = capture(model, texts, layers=[4], reduce=lambda a: a.layers[4])
    handle = model.model.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        found = capture(model, texts, layers=[4], reduce=lambda a: a.layers[4], batch_tokens=1000)
        with pytest.raises(ProbeError, match="a text of 65 tokens does not fit into the memory of cpu"):
            capture(
                model, [*texts, TokenText(tuple(type_token(5) for _ in range(65)))], layers=[4], reduce=lambda a: None
            )
    finally:
        handle.remove()

    assert max(sizes) == 64
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_on_a_gpu_in_bfloat16_the_activations_are_the_same_to_a_tolerance(embedded: LocalModel) -> None:
    """The direction of every token's activation, and the sizes of batches, which are cut until they fit."""
    there = LocalModel.load(dtype="bfloat16", device="cuda")
    read = [read_plain(embedded, text) for text in TEXTS if text]
    here = capture(embedded, read, layers=[18], reduce=lambda a: a.layers[18])
    room = torch.cuda.memory_allocated() + 2**30  # a gibibyte for activations, so that batches have to be halved
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        many = capture(there, read * 2000, layers=[18], reduce=lambda a: a.layers[18], batch_tokens=10**7)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    for one, other in zip(here, many[: len(read)], strict=True):
        cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        assert cosines.min() > 0.99
