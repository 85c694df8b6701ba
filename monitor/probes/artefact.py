"""A probe on disk: ``probe.safetensors`` and ``probe.json`` in a folder; written whole, checked in full, or refused.

An artefact may come from anywhere. Nothing of it is run: tensors are safetensors, which hold numbers and their shapes and
nothing else, and a pickle is refused by its first bytes, whatever it is called. What the sidecar promises is checked
against the tensors (hash, names, shapes, finite values) and against the model that is to be probed. Links are not
followed, and no file is read that is larger than a probe can be.

The hash binds the two files to each other, so that they cannot be swapped or damaged unseen. It does not say who made them:
whoever can write both files can make any probe.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from monitor.errors import ArtefactError, ProbeError
from monitor.probes.attention import AttentionProbe
from monitor.probes.header import HeaderError, read_header
from monitor.probes.kinds import LINEAR, LinearProbe
from monitor.probes.novelty import MahalanobisProbe, NearestProbe
from monitor.probes.pooling import Pooling
from monitor.probes.sidecar import Sidecar, TensorsPin
from monitor.probes.sidecar_file import (
    SIDECAR,
    TENSORS,
    read_file,
    read_sidecar,
    refuse_alarms,
    save_sidecar,
    write_file,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from monitor.probes.kinds import Probe
    from monitor.probes.words import Array, ModelFacts

__all__ = [
    "SIDECAR",
    "TENSORS",
    "Artefact",
    "differences",
    "load",
    "read_sidecar",
    "refuse_alarms",
    "save",
    "save_sidecar",
]

MAX_TENSORS = 512_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Artefact:
    """A probe that was loaded, with what its sidecar says. ``differs`` are the differences that were allowed."""

    sidecar: Sidecar
    probe: Probe
    folder: Path
    differs: tuple[str, ...] = ()


def save(folder: Path, probe: Probe, sidecar: Sidecar) -> Sidecar:
    """Write the artefact into ``folder``, which is made; return the sidecar with the hash of the tensors in it.

    Each file is written under another name and renamed, the sidecar last. A crash between the two leaves an artefact that
    is refused, never one that is half of another.

    Raises:
        ArtefactError: a tensor is not what the kind has, or the folder cannot be written.
    """
    from safetensors.numpy import save as to_bytes  # noqa: PLC0415 - only writing needs it

    tensors = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in probe.tensors().items()}
    _check_tensors(sidecar, tensors, str(folder))
    content = to_bytes(tensors)
    shapes = {name: tuple(map(int, tensors[name].shape)) for name in sorted(tensors)}
    whole = sidecar.model_copy(
        update={"tensors": TensorsPin(sha256=hashlib.sha256(content).hexdigest(), shapes=shapes)}
    )
    write_file(Path(folder) / TENSORS, content)
    save_sidecar(folder, whole)
    return whole


def load(path: Path, facts: ModelFacts | None = None, *, allow: Collection[str] = ()) -> Artefact:
    """Load an artefact, for the model with ``facts``.

    Args:
        path: The folder, or the sidecar in it.
        facts: The model that is to be probed; None compares with none, and is only for looking at the numbers.
        allow: What may differ, such as ``{"dtype"}`` for the same weights on another device.

    Raises:
        ArtefactError: with everything that differs, or with what is wrong with the files.
    """
    path = Path(path)
    sidecar = read_sidecar(path)
    folder = path if path.is_dir() else path.parent
    where = str(folder / TENSORS)
    found = differences(sidecar, facts) if facts is not None else {}
    if refused := [said for name, said in found.items() if name not in allow]:
        raise ArtefactError(f"the probe {sidecar.name!r} is not of this model: {'; '.join(refused)}")
    if sidecar.tensors is None:
        raise ArtefactError(f"{folder / SIDECAR} has no hash of its tensors; train the probe again")
    content = read_file(folder / TENSORS, MAX_TENSORS)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != sidecar.tensors.sha256:
        raise ArtefactError(
            f"{where} is damaged, or belongs to another sidecar: expected SHA-256 {sidecar.tensors.sha256}, found {sha256}"
        )
    tensors = _tensors(content, where)
    _check_shapes(sidecar.tensors.shapes, tensors, where)
    _check_tensors(sidecar, tensors, where)
    return Artefact(sidecar, _probe(sidecar, tensors), folder, tuple(found.values()))


def differences(sidecar: Sidecar, facts: ModelFacts) -> dict[str, str]:
    """What differs between the model that the probe was made for and this one, by name; nothing where it is the same.

    The model's name is not compared (the weights' hash is), nor a revision that one of the two does not have, nor the chat
    template for a probe that reads texts alone.
    """
    pinned = sidecar.model
    compared = ["weights", "quantisation", "dtype", "width", "layers", "tokenizer"]
    compared += ["template"] if sidecar.format == "chat" else []
    compared += ["revision"] if pinned.revision and facts.revision else []
    found = {}
    for name in compared:
        expected, actual = getattr(pinned, name), getattr(facts, name)
        if expected != actual:
            found[name] = f"{name}: the probe is for {_short(expected)}, the model has {_short(actual)}"
    if sidecar.layer > facts.layers:
        found["layer"] = f"layer: the probe reads layer {sidecar.layer}, the model has {facts.layers}"
    return found


def _short(value: object) -> str:
    text = str(value)
    return (f"{text[:12]}…" if len(text) == 64 else text) or "nothing"


def _tensors(content: bytes, where: str) -> dict[str, Array]:
    try:
        entries = read_header(content)
    except HeaderError as exc:
        raise ArtefactError(f"{where} is not safetensors as a probe has them: {exc}") from None
    return {
        entry.name: cast("Array", np.frombuffer(content, "<f4", entry.count, entry.start).reshape(entry.shape).copy())
        for entry in entries
    }


def _check_shapes(promised: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Array], where: str) -> None:
    found = {name: tuple(array.shape) for name, array in tensors.items()}
    if found != dict(promised):
        raise ArtefactError(f"{where} has {_shapes(found)}; the sidecar promises {_shapes(promised)}")


def _check_tensors(sidecar: Sidecar, tensors: Mapping[str, Array], where: str) -> None:
    """Names and shapes as the kind has them for this model's width, and finite values. Raises ArtefactError."""
    width = sidecar.model.width
    found = {name: tuple(array.shape) for name, array in tensors.items()}
    first = tensors.get("queries", tensors.get("neighbours"))
    rows = first.shape[0] if first is not None and first.ndim else 0
    linear: dict[str, tuple[int, ...]] = {"weights": (width,), "bias": (1,)}
    expected: dict[str, dict[str, tuple[int, ...]]] = dict.fromkeys(LINEAR, linear) | {
        "attention": {"queries": (rows, width), "values": (rows, width), "offsets": (rows,), "bias": (1,)},
        "mahalanobis": {"mean": (width,), "precision": (width, width)},
        "nearest": {"neighbours": (rows, width), "deviation": (width,), "k": (1,)},
    }
    if found != expected[sidecar.kind]:
        needed = _shapes(expected[sidecar.kind])
        raise ArtefactError(f"{where}: a probe of the kind {sidecar.kind} has {needed}; found {_shapes(found)}")
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise ArtefactError(f"{where}: the tensor {name!r} has values that are not finite")
    if sidecar.kind == "nearest":
        k = float(tensors["k"][0])
        if k != math.floor(k) or not 1 <= k <= rows or not (tensors["deviation"] > 0).all():
            raise ArtefactError(f"{where}: expected 1 to {rows} neighbours and deviations above 0, found k = {k:g}")


def _shapes(shapes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())) or "no tensors"


def _probe(sidecar: Sidecar, tensors: dict[str, Array]) -> Probe:
    try:
        pooling = Pooling.parse(sidecar.pooling)
    except ProbeError as exc:
        raise ArtefactError(f"the sidecar of {sidecar.name!r}: {exc}") from None
    if (pooling.name == "attention") != (sidecar.kind == "attention"):
        raise ArtefactError(
            f"the sidecar of {sidecar.name!r}: a probe of the kind {sidecar.kind} does not pool by {pooling}"
        )
    if sidecar.kind == "attention":
        return AttentionProbe.from_tensors(tensors)
    if sidecar.kind == "mahalanobis":
        return MahalanobisProbe.from_tensors(pooling, tensors)
    if sidecar.kind == "nearest":
        return NearestProbe.from_tensors(pooling, tensors)
    return LinearProbe.from_tensors(sidecar.kind, pooling, tensors)
