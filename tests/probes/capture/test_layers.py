"""Which layer is layer k, in many architectures: off by one, and the normed last state that is no layer at all."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from monitor.errors import ProbeError
from monitor.probes.capture import capture, capture_one
from monitor.probes.layers import decoder_blocks, resolve_layer, tapped
from monitor.probes.words import Surface, Token, TokenText
from tests.probes.capture.tiny import ARCHITECTURES, tiny, tiny_local


def ids(*numbers: int) -> TokenText:
    return TokenText(tuple(Token(number, Surface.TEXT) for number in numbers))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layer_k_is_what_transformers_has_at_k_but_for_the_last(architecture: str) -> None:
    """Its entry k is the output of block k, counted from 1, entry 0 the embedding; its last entry is normed, ours not."""
    model = tiny_local(architecture)
    text = ids(5, 7, 11, 13, 17, 250, 3)

    ours = capture_one(model, text, layers=range(5)).layers
    with torch.inference_mode():
        theirs = model.model(torch.tensor([text.ids]), output_hidden_states=True).hidden_states

    assert len(theirs) == 5
    for k in range(4):
        np.testing.assert_allclose(ours[k], theirs[k][0].numpy(), rtol=0, atol=1e-5)
    for low in range(5):
        for high in range(low + 1, 5):
            assert np.abs(ours[low] - ours[high]).max() > 1e-2, "each layer changes something"
    assert np.abs(ours[4] - theirs[4][0].numpy()).max() > 1e-2
    names = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
    norms = [(name.count("."), m) for name, m in model.model.named_modules() if name.rpartition(".")[2] in names]
    with torch.inference_mode():
        normed = min(norms, key=lambda entry: entry[0])[1](torch.tensor(ours[4]))
    np.testing.assert_allclose(normed.numpy(), theirs[4][0].numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_texts_of_a_batch_do_not_see_one_another_in_any_architecture(architecture: str) -> None:
    model = tiny_local(architecture)
    texts = [ids(*range(2, 2 + length)) for length in (3, 20, 1, 9)]

    together = capture(model, texts, layers=[0, 2, 4], reduce=lambda a: a, logprobs=True)
    alone = [capture_one(model, text, layers=[0, 2, 4], logprobs=True) for text in texts]

    for one, many in zip(alone, together, strict=True):
        assert many.logprobs is not None
        assert one.logprobs is not None
        np.testing.assert_allclose(many.logprobs, one.logprobs, rtol=0, atol=1e-4)
        for k in (0, 2, 4):
            np.testing.assert_allclose(many.layers[k], one.layers[k], rtol=0, atol=1e-4 * np.abs(one.layers[k]).max())


def test_a_number_is_a_block_and_a_share_is_of_the_depth() -> None:
    assert [resolve_layer(k, 30) for k in (0, 1, 18, 30)] == [0, 1, 18, 30]
    assert [resolve_layer(share, 30) for share in (0.0, 0.5, 0.6, 1.0)] == [0, 15, 18, 30]
    assert [resolve_layer(share, 5) for share in (0.1, 0.5, 0.49)] == [1, 3, 2]


@pytest.mark.parametrize("wrong", [31, -1, 1.01, -0.1, float("nan"), True, "18"])
def test_a_layer_outside_of_the_model_is_refused(wrong: float) -> None:
    with pytest.raises(ProbeError, match="layer"):
        resolve_layer(wrong, 30)


def test_a_model_with_an_encoder_is_refused() -> None:
    import transformers

    config = transformers.T5Config(vocab_size=50, d_model=16, num_layers=2, num_heads=2, d_ff=16, d_kv=8)

    with pytest.raises(ProbeError, match="decoder-only"):
        decoder_blocks(transformers.T5ForConditionalGeneration(config))


def test_hooks_are_gone_whatever_happens() -> None:
    model = tiny("Llama")
    blocks = decoder_blocks(model)

    with pytest.raises(ZeroDivisionError), tapped(blocks, [0, 2], lambda k, stream: 1 // 0):
        model(torch.tensor([[1, 2]]))

    assert not any(block._forward_hooks or block._forward_pre_hooks for block in blocks)
