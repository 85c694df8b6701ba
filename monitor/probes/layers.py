"""The decoder blocks of a model, and what "layer k" is.

Layer k is the residual stream after block k, counted from 1, before any final norm; layer 0 is what enters block 1. The
last entry of transformers' ``output_hidden_states`` is something else: it has been through the final norm.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from monitor.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


def resolve_layer(spec: float, blocks: int) -> int:
    """Return k for a layer's number (an int, 0 to ``blocks``) or its share of the depth (a float, 0.0 to 1.0).

    A share is rounded to the nearest layer, half to the deeper one: 0.6 of 30 blocks is 18, and 1.0 the last. Which of the
    two is meant goes by type: 1 is the first block's output, 1.0 the last one's.

    Raises:
        ProbeError: it is outside of the model.
    """
    if isinstance(spec, bool) or not isinstance(spec, (int, float)):
        raise ProbeError(f"layer {spec!r} is neither a number of a block nor a share of the depth")
    if isinstance(spec, int):
        if not 0 <= spec <= blocks:
            raise ProbeError(
                f"layer {spec} is not in a model of {blocks} blocks: expected 0 (the embedding) to {blocks}"
            )
        return spec
    if not 0 <= spec <= 1:
        raise ProbeError(
            f"layer {spec} as a share of the depth: expected 0.0 to 1.0 (or a whole number, 0 to {blocks})"
        )
    return int(spec * blocks + 0.5)


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks of a transformers model, in order, wherever its architecture keeps them.

    Raises:
        ProbeError: the model has an encoder too, or no list of as many modules as its configuration says it has blocks.
    """
    config: Any = getattr(model, "config", None)
    if config is None or getattr(config, "is_encoder_decoder", False):
        raise ProbeError(f"{type(model).__name__} is not decoder-only; probes read decoder-only models")
    wanted = int(config.get_text_config().num_hidden_layers)
    found = [
        (name.count("."), name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == wanted
    ]
    if not found:
        raise ProbeError(f"{type(model).__name__}: no list of {wanted} decoder blocks found in it")
    return min(found, key=lambda entry: entry[:2])[2]


@contextmanager
def tapped(blocks: nn.ModuleList, layers: Iterable[int], take: Callable[[int, Tensor], object]) -> Iterator[None]:
    """Call ``take(k, tensor)`` in each forward pass, with the residual stream of shape (batch, tokens, width).

    The hooks are gone when the block ends, however it ends. What ``take`` raises leaves the forward pass.
    """
    handles = []
    try:
        for k in sorted(set(layers)):
            if k == 0:
                handles.append(blocks[0].register_forward_pre_hook(_before(take), with_kwargs=True))
            else:
                handles.append(blocks[k - 1].register_forward_hook(_after(k, take)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before(take: Callable[[int, Tensor], object]) -> Callable[[nn.Module, Sequence[Any], dict[str, Any]], None]:
    def hook(_module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        take(0, args[0] if args else kwargs["hidden_states"])

    return hook


def _after(k: int, take: Callable[[int, Tensor], object]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        take(k, output[0] if isinstance(output, (tuple, list)) else output)

    return hook
