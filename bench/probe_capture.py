"""What capturing costs: hooks, the reader that stops early, and live scores, beside peers, on the embedded model.

    python bench/probe_capture.py [--rounds 40] [--rounds-of-8 10] [--rounds-live 30] [--threads 1] [--json]

Everything takes turns inside one process, in an order that changes with every round. Times are processor time of the whole
process, all of its threads, so that what else the machine does counts for little. A ratio is taken within a round, against
the bare pass or the bare generation of that round; shown is the median over rounds with a 95 % interval by bootstrap over
rounds (percentiles of 4,000 resamples).

forward     256 tokens, batches of 1 and of 8, layer 18 of 30 in float32
  bare              model(ids): no hook, to the logits
  hook              the same with our hook on layer 18, which keeps the tensor
  reader            monitor.probes.capture at layer 18, everything counted: batching, hook, copy, reduction to a mean
  hidden states     model(ids, output_hidden_states=True)
  nnsight           a trace that saves the output of block 18; and one that stops there
  TransformerLens   run_with_cache of block 18's output; and with stop_at_layer=18. It has eager attention only

generation  64 tokens after a prompt of about 40, batch 1, the likeliest token each time, the same ids from all
  bare loop         our own loop of passes without hooks and without a probe
  live              monitor.probes.live.generate: a linear probe's score for every token
  transformers      model.generate without hooks
  nnsight           its generation, saving block 18's output at every step
  TransformerLens   its generation with a hook on block 18; its bare floor is its own generation without one

A peer that is not installed is left out, and that is said: pip install nnsight transformer_lens
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import statistics
import sys
import time
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from monitor.probes.capture import capture, padded
from monitor.probes.layers import decoder_blocks, tapped
from monitor.probes.live import generate
from monitor.probes.local_model import LocalModel
from monitor.probes.reading import read_chat, read_plain
from monitor.probes.words import Token, TokenText
from monitor.records import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from monitor.probes.words import Activations, Array

LAYER, TOKENS, NEW_TOKENS = 18, 256, 64
TEXT = "The committee met on Tuesday to look at the figures for the third quarter and found them in good order. "
ASK = Message(role="user", content="Tell me a long story about an old sailor who finds a map in a bottle.")
PEERS = ("nnsight", "transformer_lens")

Contenders: TypeAlias = "dict[str, Callable[[], object]]"
Seconds: TypeAlias = "dict[str, list[float]]"


def main() -> None:
    """Run all, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of forward passes of one text")
    parser.add_argument("--rounds-of-8", type=int, default=10, help="rounds of forward passes of eight texts")
    parser.add_argument("--rounds-live", type=int, default=30, help="rounds of generation")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="LanguageModel is deprecated")
    peers = [name for name in PEERS if importlib.util.find_spec(name)]
    for name in set(PEERS) - set(peers):
        print(f"{name} is not installed and is left out", file=sys.stderr)
    model = LocalModel.load(device="cpu")
    bench = Bench(model, peers)
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": options.threads,
        "peers": {name: version(name) for name in peers},
    }
    for batch, rounds in ((1, options.rounds), (8, options.rounds_of_8)):
        result[f"forward, batch {batch}"] = table(turns(bench.forward(batch), rounds), {}, "bare")
    floors = {"TransformerLens, hook": "TransformerLens, bare", "live": "bare loop"}
    result["generation"] = table(turns(bench.generation(), options.rounds_live), floors, "transformers")
    print(json.dumps(result, indent=1) if options.json else shown(result))


class Bench:
    """The embedded model, and whatever peers are there, each with a model of its own (they change what they wrap)."""

    def __init__(self, model: LocalModel, peers: Sequence[str]) -> None:
        self.model = model
        self.nnsight: Any = None
        self.lens: Any = None
        if "nnsight" in peers:
            self.nnsight = importlib.import_module("nnsight").LanguageModel(
                LocalModel.load(device="cpu").model, tokenizer=model.tokenizer
            )
        if "transformer_lens" in peers:
            bridge = importlib.import_module("transformer_lens.model_bridge").TransformerBridge
            self.lens = bridge.boot_transformers(
                "embedded", hf_model=LocalModel.load(device="cpu").model, tokenizer=model.tokenizer, device="cpu"
            )

    def forward(self, batch: int) -> Contenders:
        """One pass over ``batch`` texts of 256 tokens."""
        ids = read_plain(self.model, TEXT * 40).ids
        texts = [TokenText(tuple(Token(token) for token in ids[row : row + TOKENS])) for row in range(batch)]
        rows, mask = padded([text.ids for text in texts], self.model.device)
        blocks = decoder_blocks(self.model.model)
        kept: dict[int, Tensor] = {}

        def bare(**options: Any) -> object:
            with torch.inference_mode():
                return self.model.model(input_ids=rows, attention_mask=mask, use_cache=False, **options)

        def hook() -> object:
            with tapped(blocks, [LAYER], kept.__setitem__):
                return bare()

        def reader() -> object:
            return capture(self.model, texts, layers=[LAYER], reduce=mean)

        found: Contenders = {
            "bare": bare,
            "hook": hook,
            "reader": reader,
            "hidden states": lambda: bare(output_hidden_states=True),
        }
        if self.nnsight is not None:
            found["nnsight"] = lambda: self.trace(rows, mask, stop=False)
            found["nnsight, stopped"] = lambda: self.trace(rows, mask, stop=True)
        if self.lens is not None:
            found["TransformerLens"] = lambda: self.cached(rows, None)
            found["TransformerLens, stopped"] = lambda: self.cached(rows, LAYER)
        hook()
        same = np.stack([activation.mean(0) for activation in kept[LAYER].numpy()])
        np.testing.assert_allclose(np.stack(capture(self.model, texts, layers=[LAYER], reduce=mean)), same, atol=1e-2)
        for name in found.keys() & {"nnsight", "nnsight, stopped", "TransformerLens", "TransformerLens, stopped"}:
            theirs: Any = found[name]()
            np.testing.assert_allclose(theirs.mean(1).numpy(), same, atol=0.1, err_msg=name)
        return found

    def trace(self, rows: Tensor, mask: Tensor, *, stop: bool) -> Tensor:
        """The output of block 18 as nnsight gives it."""
        with torch.inference_mode(), self.nnsight.trace({"input_ids": rows, "attention_mask": mask}) as tracer:
            found: Tensor = self.nnsight.model.layers[LAYER - 1].output.save()
            if stop:
                tracer.stop()
        return found

    def cached(self, rows: Tensor, stop: int | None) -> Tensor:
        """The output of block 18 as TransformerLens gives it."""
        name = f"blocks.{LAYER - 1}.hook_out"
        options = {} if stop is None else {"stop_at_layer": stop}
        with torch.inference_mode():
            cache = self.lens.run_with_cache(rows, names_filter=[name], **options)[1]
        found: Tensor = cache[name]
        return found

    def generation(self) -> Contenders:
        """64 tokens after a prompt; that all write the same is checked once."""
        prompt = read_chat(self.model, [ASK]).ids
        row = torch.tensor([prompt])
        direction = np.random.default_rng(0).normal(size=self.model.facts.width).astype(np.float32)
        greedy: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "do_sample": False}

        def live() -> Sequence[int]:
            return generate(self.model, prompt, lambda a: a @ direction, LAYER, max_new_tokens=NEW_TOKENS).ids

        def theirs() -> Sequence[int]:
            with torch.inference_mode():
                ids = self.model.model.generate(row, attention_mask=torch.ones_like(row), **greedy)
            return [int(token) for token in ids[0, len(prompt) :]]

        found: Contenders = {"transformers": theirs, "bare loop": lambda: self.loop(prompt), "live": live}
        if self.nnsight is not None:
            found["nnsight"] = lambda: self.steps(row, greedy)
        if self.lens is not None:
            seen: list[Tensor] = []

            def keep(stream: Tensor, hook: object) -> None:
                seen.append(stream)

            def hooked() -> object:
                seen.clear()
                with self.lens.hooks(fwd_hooks=[(f"blocks.{LAYER - 1}.hook_out", keep)]):
                    return self.lens_writes(row)

            found |= {"TransformerLens, bare": lambda: self.lens_writes(row), "TransformerLens, hook": hooked}
        expected = theirs()
        assert len(expected) == NEW_TOKENS, "the prompt is to be one that is answered at length"
        for name, write in found.items():
            ids: Any = write()
            assert list(ids) == expected, f"{name} writes something else"
        return found

    def loop(self, prompt: Sequence[int]) -> list[int]:
        """A bare loop of passes: as ``live``, without hook, probe and log probabilities' bookkeeping."""
        past: Any = None
        ids: list[int] = []
        row = torch.tensor([list(prompt)])
        with torch.inference_mode():
            for _ in range(NEW_TOKENS):
                output = self.model.model(input_ids=row, past_key_values=past, use_cache=True, logits_to_keep=1)
                past = output.past_key_values
                ids.append(int(output.logits[0, -1].float().log_softmax(0).argmax()))
                row = torch.tensor([[ids[-1]]])
        return ids

    def steps(self, row: Tensor, greedy: Mapping[str, Any]) -> list[int]:
        """A generation of nnsight, keeping the output of block 18 at every step."""
        inputs = {"input_ids": row, "attention_mask": torch.ones_like(row)}
        with torch.inference_mode(), self.nnsight.generate(inputs, **greedy) as tracer:
            streams = [].save()  # type: ignore[attr-defined] # nnsight gives every object this method within a trace
            for _ in tracer.iter[:NEW_TOKENS]:
                streams.append(self.nnsight.model.layers[LAYER - 1].output)
            ids = tracer.result.save()
        assert len(streams) == NEW_TOKENS
        return [int(token) for token in ids[0, row.shape[1] :]]

    def lens_writes(self, row: Tensor) -> list[int]:
        """TransformerLens' generation."""
        with torch.inference_mode():
            ids = self.lens.generate(
                row,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                return_type="tokens",
                use_past_kv_cache=True,
                verbose=False,
                stop_at_eos=False,
            )
        return [int(token) for token in ids[0, row.shape[1] :]]


def mean(activations: Activations) -> Array:
    """The mean over the tokens. Shape (width,)."""
    vector: Array = activations.layers[LAYER].mean(axis=0)
    return vector


def turns(contenders: Contenders, rounds: int) -> Seconds:
    """Processor seconds of each contender in each round, after one round that is not counted."""
    names = list(contenders)
    seconds: Seconds = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.process_time()
            contenders[name]()
            if number:
                seconds[name].append(time.process_time() - started)
        print(f"\r{number} of {rounds} rounds", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return seconds


def table(seconds: Seconds, floors: Mapping[str, str], floor: str) -> dict[str, Any]:
    """For each contender its milliseconds and its ratio to its floor, with the interval."""
    random = np.random.default_rng(0)
    rows: dict[str, Any] = {}
    for name, taken in seconds.items():
        against = [floors[name], floor] if name in floors else [floor]
        rows[name] = {"milliseconds": round(1000 * statistics.median(taken), 1)}
        for other in against:
            ratios = np.array(taken) / np.array(seconds[other])
            draws = np.median(random.choice(ratios, size=(4000, len(ratios))), axis=1)
            low, high = np.percentile(draws, [2.5, 97.5])
            rows[name][f"x {other}"] = [round(float(value), 3) for value in (np.median(ratios), low, high)]
    return rows


def shown(result: Mapping[str, Any]) -> str:
    """As a table in Markdown."""
    lines = [f"torch {result['torch']}, {result['threads']} thread(s), {result['peers']}"]
    for title, rows in result.items():
        if not isinstance(rows, dict) or title == "peers":
            continue
        lines += ["", f"| {title} | milliseconds | ratio (95 % interval) |", "|---|---|---|"]
        for name, row in rows.items():
            ratios = [
                f"{value:.3f} ({low:.3f} to {high:.3f}) {key}" for key, (value, low, high) in list(row.items())[1:]
            ]
            lines.append(f"| {name} | {row['milliseconds']} | {'; '.join(ratios)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
