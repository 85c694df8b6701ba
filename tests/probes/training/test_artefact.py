"""Artefacts: what is written is read, and everything else is refused. Nothing in one is ever run."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as safetensors_bytes

from monitor.errors import ArtefactError, ProbeError
from monitor.probes import artefact, sidecar, sidecar_file
from monitor.probes.artefact import SIDECAR, TENSORS, differences, load, read_sidecar, refuse_alarms, save
from monitor.probes.kinds import LinearProbe
from monitor.probes.pooling import Pooling
from monitor.probes.sidecar import Alarm, ModelPin, Sidecar, SplitPin
from monitor.probes.words import ModelFacts

torch.set_num_threads(1)
FACTS = ModelFacts(
    name="small", weights="a" * 64, quantisation="Q4_K_M", width=4, layers=6, template="c" * 64, tokenizer="d" * 64
)
WEIGHTS = np.array([1.0, -2.0, 0.5, 0.0], dtype=np.float32)


def described(**changes: Any) -> Sidecar:
    values: dict[str, Any] = {
        "name": "mine",
        "finds": "what it finds",
        "kind": "lda",
        "pooling": "last",
        "layer": 3,
        "surface": "output",
        "format": "chat",
        "max_tokens": 256,
        "model": ModelPin(**{name: getattr(FACTS, name) for name in ModelPin.model_fields}),
        "data": (),
        "split": SplitPin(
            by="share", share=0.25, seed=0, folds=5, train_texts=8, train_groups=4, test_texts=4, test_groups=2
        ),
        "seed": 0,
    }
    return Sidecar(**{**values, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "mine", LinearProbe("lda", Pooling("last"), WEIGHTS, 0.25), described())
    return tmp_path / "mine"


def test_what_is_written_is_read(folder: Path) -> None:
    found = load(folder, FACTS)
    assert isinstance(found.probe, LinearProbe)
    assert np.array_equal(found.probe.weights, WEIGHTS)
    assert (found.probe.bias, found.probe.pooling, found.sidecar.tensors is not None) == (0.25, Pooling("last"), True)
    assert found.sidecar == read_sidecar(folder) == read_sidecar(folder / SIDECAR)
    assert load(folder / SIDECAR, FACTS).sidecar == found.sidecar


def test_the_same_probe_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "again", LinearProbe("lda", Pooling("last"), WEIGHTS.copy(), 0.25), described())
    for name in (TENSORS, SIDECAR):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_another_model_is_refused_with_all_that_differs(folder: Path) -> None:
    other = replace(
        FACTS, name="other", weights="b" * 64, dtype="bfloat16", width=8, layers=2, template="", tokenizer=""
    )
    with pytest.raises(ArtefactError) as error:
        load(folder, other)
    said = str(error.value)
    assert said.startswith(
        "the probe 'mine' is not of this model: weights: the probe is for aaaaaaaaaaaa…, the model has b"
    )
    for name in ("weights", "dtype", "width", "layers", "template", "tokenizer", "layer: the probe reads layer 3"):
        assert name in said
    assert "quantisation" not in said


def test_what_may_differ_is_said(folder: Path) -> None:
    found = load(folder, replace(FACTS, dtype="bfloat16"), allow={"dtype"})
    assert found.differs == ("dtype: the probe is for float32, the model has bfloat16",)
    with pytest.raises(ArtefactError, match="tokenizer"):
        load(folder, replace(FACTS, dtype="bfloat16", tokenizer=""), allow={"dtype"})


def test_a_name_a_revision_that_one_lacks_and_a_template_that_is_not_used_do_not_differ() -> None:
    assert differences(described(), replace(FACTS, name="x", revision="main")) == {}
    assert differences(described(format="plain"), replace(FACTS, template="")) == {}
    pinned = described(model=described().model.model_copy(update={"revision": "v1"}))
    assert set(differences(pinned, replace(FACTS, revision="v2"))) == {"revision"}


class Bomb:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "it ran"))


@pytest.mark.parametrize("name", [TENSORS, SIDECAR])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5, "torch", "torch-old", "npy"])
def test_a_pickle_under_any_name_is_refused_and_not_run(folder: Path, name: str, protocol: Any, tmp_path: Path) -> None:
    """It would run: the last lines show that the very same bytes do, when they are unpickled."""
    proof, content = tmp_path / "proof", io.BytesIO()
    if protocol == "torch":
        torch.save(Bomb(proof), content)
    elif protocol == "torch-old":
        torch.save(Bomb(proof), content, _use_new_zipfile_serialization=False)
    elif protocol == "npy":
        np.save(content, np.array([Bomb(proof)], dtype=object), allow_pickle=True)
    else:
        content.write(pickle.dumps(Bomb(proof), protocol=protocol))
    (folder / name).write_bytes(content.getvalue())
    with pytest.raises(ArtefactError):
        load(folder, FACTS)
    assert not proof.exists()
    if isinstance(protocol, int):
        pickle.loads(content.getvalue())
        assert proof.exists()


def test_a_pickle_whose_hash_the_sidecar_promises_is_refused_too(folder: Path, tmp_path: Path) -> None:
    """Whoever writes both files can make the hash fit."""
    proof = tmp_path / "proof"
    for content in (pickle.dumps(Bomb(proof), protocol=0), pickle.dumps(Bomb(proof), protocol=4)):
        plant(folder, content)
        with pytest.raises(ArtefactError, match=r"pickle|not safetensors"):
            load(folder, FACTS)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Bomb(proof)))
    plant(folder, archive.getvalue())
    with pytest.raises(ArtefactError, match=r"a zip archive, as torch\.save writes"):
        load(folder, FACTS)
    assert not proof.exists()


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_header_whose_length_looks_like_a_pickle_is_no_pickle(folder: Path, length: int) -> None:
    """As a pickle begins with 0x80 and its protocol, so does a header of that length."""
    header = {"weights": ENTRY, "bias": BIAS}
    written = json.dumps(header).encode().ljust(length)
    plant(folder, length.to_bytes(8, "little") + written + np.arange(5, dtype="<f4").tobytes())
    assert load(folder, FACTS).probe.tensors()["weights"].tolist() == [0, 1, 2, 3]


def plant(folder: Path, content: bytes, **shapes: Any) -> None:
    """Other tensors, with a sidecar that promises them."""
    (folder / TENSORS).write_bytes(content)
    value = json.loads((folder / SIDECAR).read_text())
    value["tensors"]["sha256"] = hashlib.sha256(content).hexdigest()
    value["tensors"]["shapes"] = shapes or value["tensors"]["shapes"]
    (folder / SIDECAR).write_text(json.dumps(value))


@pytest.mark.parametrize("name", ["probe.pt", "probe.bin", "probe.pkl", "probe.safetensors"])
def test_a_file_that_is_no_sidecar_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{}")
    with pytest.raises(ArtefactError, match="is no probe: name its folder"):
        load(folder / name, FACTS)


def test_swapped_tensors_are_refused(folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "other", LinearProbe("lda", Pooling("last"), -WEIGHTS, 0.0), described(name="other"))
    (folder / TENSORS).write_bytes((tmp_path / "other" / TENSORS).read_bytes())
    with pytest.raises(ArtefactError, match="is damaged, or belongs to another sidecar"):
        load(folder, FACTS)


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_single_changed_byte_of_the_tensors_goes_unseen(folder: Path, data: st.DataObject) -> None:
    whole = (folder / TENSORS).read_bytes()
    at, new = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
    try:
        (folder / TENSORS).write_bytes(whole[:at] + bytes([new]) + whole[at + 1 :])
        if new != whole[at]:
            with pytest.raises(ArtefactError):
                load(folder, FACTS)
    finally:
        (folder / TENSORS).write_bytes(whole)


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_of_any_bytes_under_a_fitting_hash_loads_or_is_refused(folder: Path, data: st.DataObject) -> None:
    """Never another error: cut, grown, changed and random files, with a sidecar that promises each."""
    kept = {name: (folder / name).read_bytes() for name in (TENSORS, SIDECAR)}
    whole = kept[TENSORS]
    how = data.draw(st.sampled_from(["cut", "grown", "changed", "random", "header"]))
    if how == "cut":
        content = whole[: data.draw(st.integers(0, len(whole)))]
    elif how == "grown":
        content = whole + data.draw(st.binary(min_size=1, max_size=20))
    elif how == "random":
        content = data.draw(st.binary(max_size=200))
    elif how == "changed":
        at = data.draw(st.integers(0, len(whole) - 1))
        content = whole[:at] + data.draw(st.binary(min_size=1, max_size=4)) + whole[at + 1 :]
    else:
        header = data.draw(
            st.recursive(
                st.none() | st.integers() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(["weights", "dtype", "shape", "data_offsets", "bias"]), inner, max_size=4
                    )
                ),
            )
        )
        written = json.dumps(header).encode()
        content = len(written).to_bytes(8, "little") + written + whole[-20:]
    try:
        plant(folder, content)
        with contextlib.suppress(ArtefactError):
            assert np.isfinite(load(folder, FACTS).probe.tensors()["weights"]).all()
    finally:
        for name, old in kept.items():
            (folder / name).write_bytes(old)


def with_header(header: object, body: bytes = b"\0" * 20) -> bytes:
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + body


ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
BIAS = {"dtype": "F32", "shape": [1], "data_offsets": [16, 20]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has 0 bytes"),
        ((2**63).to_bytes(8, "little") + b"{}", "its header says that it has 9,223,372,036,854,775,808 bytes, of 2"),
        ((90_000).to_bytes(8, "little") + b"{}", "its header says that it has 90,000 bytes, of 2"),
        (with_header(b"[" * 50_000), "its header is no JSON"),
        (with_header([ENTRY]), "its header is no JSON object"),
        (with_header(b'{"a": 1, "a": 2}'), "a name is there twice"),
        (with_header({"weights": {**ENTRY, "shape": [2**50]}}), "are not whole numbers"),
        (with_header({"weights": {**ENTRY, "shape": [-4]}}), "are not whole numbers"),
        (with_header({"weights": {**ENTRY, "shape": [True]}}), "are not whole numbers"),
        (with_header({"weights": {**ENTRY, "shape": [2**30, 2**30]}}), "16 bytes for 1152921504606846976 values"),
        (with_header({"weights": {**ENTRY, "shape": [1, 2, 2]}}), "are not whole numbers"),
        (with_header({"weights": {**ENTRY, "dtype": "I64"}}), "is I64; expected F32"),
        (with_header({"weights": {**ENTRY, "more": 1}}), "is not described by"),
        (with_header({"weights": ENTRY, "bias": {**BIAS, "data_offsets": [12, 16]}}), "begins at byte"),
        (with_header({"weights": ENTRY, "bias": {**BIAS, "data_offsets": [17, 21]}}, b"\0" * 21), "begins at byte"),
        (with_header({"weights": ENTRY, "bias": BIAS}, b"\0" * 24), "its tensors end at byte"),
        (with_header({"weights": ENTRY, "bias": BIAS}, b"\0" * 16), "its tensors end at byte"),
    ],
)
def test_a_header_that_lies_is_refused(folder: Path, content: bytes, said: str) -> None:
    plant(folder, content)
    with pytest.raises(ArtefactError, match="is not safetensors as a probe has them") as error:
        load(folder, FACTS)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"weights": np.full(4, np.nan, dtype=np.float32), "bias": np.zeros(1, dtype=np.float32)}, "not finite"),
        ({"weights": np.full(4, np.inf, dtype=np.float32), "bias": np.zeros(1, dtype=np.float32)}, "not finite"),
        (
            {"weights": np.zeros(5, dtype=np.float32), "bias": np.zeros(1, dtype=np.float32)},
            "kind lda has bias [1], weig",
        ),
        ({"weights": np.zeros(4, dtype=np.float32)}, "a probe of the kind lda has bias [1], weights [4]"),
        ({"queries": np.zeros((1, 4), dtype=np.float32)}, "a probe of the kind lda has bias [1], weights [4]"),
    ],
)
def test_tensors_that_are_not_of_the_kind_are_refused(folder: Path, tensors: Any, said: str) -> None:
    plant(folder, safetensors_bytes(tensors), **{name: list(array.shape) for name, array in tensors.items()})
    with pytest.raises(ArtefactError) as error:
        load(folder, FACTS)
    assert said in str(error.value)


def test_tensors_that_the_sidecar_does_not_promise_are_refused(folder: Path) -> None:
    content = safetensors_bytes({"weights": WEIGHTS, "bias": np.zeros(1, dtype=np.float32)})
    plant(folder, content, weights=[4], bias=[2])
    with pytest.raises(ArtefactError, match=r"has bias \[1\], weights \[4\]; the sidecar promises bias \[2\]"):
        load(folder, FACTS)


def changed(folder: Path, **changes: Any) -> None:
    value = json.loads((folder / SIDECAR).read_text())
    (folder / SIDECAR).write_text(json.dumps({**value, **changes}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"layer": "3"}, "layer: Input should be a valid integer"),
        ({"layer": -1}, "layer: Input should be greater"),
        ({"layer_convention": "hidden_states[k]"}, "layer_convention: Input should be"),
        ({"kind": "svm"}, "kind: Input should be"),
        ({"name": "../../etc"}, "name: String should match"),
        ({"artefact": "monitor.probe/2"}, "artefact: Input should be"),
        ({"pooling": "median"}, "no pooling 'median'"),
        ({"pooling": "attention"}, "the kind lda does not pool by attention"),
        ({"tensors": None}, "has no hash of its tensors"),
    ],
)
def test_a_sidecar_that_says_something_else_is_refused(folder: Path, changes: Any, said: str) -> None:
    changed(folder, **changes)
    with pytest.raises(ArtefactError) as error:
        load(folder, FACTS)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b'{"artefact": NaN}', b"[" * 100_000, b'{"artefact": 1, "artefact": 2}', b"nul"],
)
def test_a_sidecar_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / SIDECAR).write_bytes(content)
    with pytest.raises(ArtefactError, match="is no sidecar of a probe"):
        load(folder, FACTS)


@pytest.mark.parametrize("name", [TENSORS, SIDECAR])
def test_links_folders_pipes_and_files_that_are_not_there_are_refused(folder: Path, name: str, tmp_path: Path) -> None:
    path, real = folder / name, tmp_path / "real"
    real.write_bytes(path.read_bytes())
    path.unlink()
    with pytest.raises(ArtefactError, match="cannot be read: No such file"):
        load(folder, FACTS)
    path.symlink_to(real)
    with pytest.raises(ArtefactError, match="it is a symbolic link, and none is followed"):
        load(folder, FACTS)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ArtefactError, match="is not a file"):
        load(folder, FACTS)
    path.unlink()
    path.mkdir()
    with pytest.raises(ArtefactError, match=r"is not a file|probe\.json/probe\.json cannot be read"):
        load(folder, FACTS)


@pytest.mark.parametrize(("name", "most"), [(TENSORS, artefact.MAX_TENSORS), (SIDECAR, sidecar_file.MAX_SIDECAR)])
def test_a_file_that_is_larger_than_a_probe_is_not_read(folder: Path, name: str, most: int) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(most + 1)  # sparse: no disk is filled
    with pytest.raises(ArtefactError, match=r"a probe has .* at most"):
        load(folder, FACTS)


def test_alarms_that_block_keep_a_probe_from_being_attached_unless_forced() -> None:
    alarmed = described(alarms=(Alarm(kind="inversion", message="AUROC 0.12 under negation"),))
    with pytest.raises(ProbeError, match=r"not attached, .*inversion: AUROC 0\.12 under negation\. .*--force-probes"):
        refuse_alarms(alarmed)
    assert refuse_alarms(alarmed, force=True) == ("inversion: AUROC 0.12 under negation",)
    assert refuse_alarms(described(alarms=(Alarm(kind="note", message="weak", blocks=False),))) == ()


def test_a_sidecar_survives_its_own_text() -> None:
    whole = described(alarms=(Alarm(kind="inversion", message="é"),), hyper={"C": 0.1, "shrinkage": "auto", "k": 3})
    assert sidecar.parse(sidecar.written(whole), "here") == whole
