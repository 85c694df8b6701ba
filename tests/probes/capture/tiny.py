"""Models of many architectures with random weights, small enough to be built in a test; tokens are bytes."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from monitor.probes.local_model import LocalModel

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
GATED = SIZES | {"intermediate_size": 64, "num_key_value_heads": 2, "pad_token_id": 0}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Llama": GATED,
    "Mistral": GATED | {"sliding_window": 8},
    "Qwen2": GATED,
    "Gemma2": GATED | {"head_dim": 8, "sliding_window": 8},
    "Phi": GATED,
    "GPTNeoX": SIZES | {"intermediate_size": 64},
    "GPT2": {
        "vocab_size": 300,
        "n_embd": 32,
        "n_layer": 4,
        "n_head": 4,
        "n_positions": 128,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "OPT": SIZES | {"ffn_dim": 64, "word_embed_proj_dim": 32, "pad_token_id": 1},
}


def tiny(architecture: str, **changes: Any) -> Any:
    """A causal model of ``architecture`` in evaluation mode; the same weights each time."""
    config = getattr(transformers, f"{architecture}Config")(**ARCHITECTURES[architecture] | changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call] # of theirs
        for parameter in model.parameters():  # norms and biases too, lest any of them be the identity
            torch.nn.init.normal_(parameter, std=0.1 if parameter.dim() > 1 else 0.5)
    return model.eval()


def tiny_local(architecture: str, tokenizer: Any = None) -> LocalModel:
    """The same as a LocalModel; without a tokenizer, for tests that give ids."""
    return LocalModel.of(tiny(architecture), tokenizer, name=architecture, weights="random")
