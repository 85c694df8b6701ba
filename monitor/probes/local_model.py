"""A model on this machine whose activations can be had: loaded from files only, never from the network."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from monitor.errors import ProbeError
from monitor.models import weights
from monitor.probes import files
from monitor.probes.converted import converted
from monitor.probes.quiet import quiet
from monitor.probes.words import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Callable

Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]
Device: TypeAlias = Literal["cpu", "cuda", "auto"]

EMBEDDED = "embedded"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, eq=False)
class LocalModel:
    """A decoder-only model with its tokenizer and what an artefact pins of them.

    ``lock`` is held around every forward pass and every use of the tokenizer: hooks belong to the whole model, and so one
    thread at a time may use it.
    """

    model: Any
    tokenizer: Any
    facts: ModelFacts
    device: torch.device
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def context_tokens(self) -> int:
        """The most tokens that the model was made for; 0 where its configuration does not say."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", 0) or 0)

    @classmethod
    def load(
        cls,
        source: str | Path = EMBEDDED,
        *,
        dtype: Dtype = "float32",
        device: Device = "auto",
        on_step: Callable[[str], None] | None = None,
    ) -> LocalModel:
        """Load the embedded model, a folder of a Hugging Face model (safetensors), or a GGUF file.

        A GGUF file is dequantised on first use and kept in the cache as safetensors; ``on_step`` is told what takes long.
        ``auto`` is the first CUDA device where there is one.

        Raises:
            ProbeError: it is not there, is not what it should be, or cannot be loaded.
            WeightsError: the embedded model's weights are missing or damaged.
        """
        report = on_step or _ignore
        if dtype not in _DTYPES:
            raise ProbeError(f"dtype {dtype!r} is not known: expected one of {', '.join(_DTYPES)}")
        where = _device(device)
        folder, facts = _find(source, report)
        report(f"loading {facts['name']}")
        return cls._load(folder, facts, dtype, where)

    @classmethod
    def _load(cls, folder: Path, facts: dict[str, str], dtype: Dtype, device: torch.device) -> LocalModel:
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            with quiet():
                tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
                model = AutoModelForCausalLM.from_pretrained(
                    str(folder), dtype=_DTYPES[dtype], use_safetensors=True, **options
                )
        except Exception as exc:
            raise ProbeError(
                f"{folder} cannot be loaded: {type(exc).__name__}: {exc}; expected a decoder-only model that transformers "
                f"{transformers.__version__} knows, with its tokenizer and its weights as safetensors"
            ) from exc
        if not tokenizer.is_fast:
            raise ProbeError(
                f"the tokenizer of {folder} has no tokenizer.json; without one it cannot be told what a token stands for"
            )
        return cls.of(model, tokenizer, device=device, **facts)

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        weights: str = "",
        revision: str = "",
        quantisation: str = "",
        device: torch.device | None = None,
    ) -> LocalModel:
        """A transformers model and tokenizer that are loaded already. ``weights`` is their SHA-256.

        Raises:
            ProbeError: it is no model of transformers.
        """
        if not isinstance(model, PreTrainedModel):
            raise ProbeError(f"{type(model).__name__} is no model of transformers; probes read only those")
        where = device or torch.device("cpu")
        placed: Any = model
        placed = placed.to(where).eval().requires_grad_(False)
        config = placed.config.get_text_config()
        template = getattr(tokenizer, "chat_template", None)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        facts = ModelFacts(
            name=name,
            weights=weights,
            revision=revision,
            quantisation=quantisation,
            dtype=str(placed.dtype).removeprefix("torch."),
            width=int(config.hidden_size),
            layers=int(config.num_hidden_layers),
            template=_sha256(template if isinstance(template, str) else repr(template)) if template else "",
            tokenizer=_sha256(backend.to_str()) if backend is not None else "",
        )
        return cls(model=placed, tokenizer=tokenizer, facts=facts, device=where)


def _ignore(step: str) -> None:
    """Nobody watches."""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _device(device: Device) -> torch.device:
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ProbeError(
            f"device 'cuda' was asked for, and torch {torch.__version__} finds no CUDA device; use device 'cpu' or 'auto'"
        )
    if device not in {"cpu", "cuda", "auto"}:
        raise ProbeError(f"device {device!r} is not known: expected cpu, cuda or auto")
    return torch.device("cuda", 0) if there and device != "cpu" else torch.device("cpu")


def _find(source: str | Path, report: Callable[[str], None]) -> tuple[Path, dict[str, str]]:
    """The folder to load, and what is known of it: name, hash of its weights, revision, quantisation."""
    if source == EMBEDDED:
        pin = weights.SMOLLM2
        folder, quantisation = converted(weights.locate(pin), pin.sha256, report)
        facts = {"name": EMBEDDED, "weights": pin.sha256, "revision": pin.requirement, "quantisation": quantisation}
        return folder, facts
    path = Path(source).expanduser()
    if path.is_dir():
        return path, _facts_of_folder(path, report)
    if not path.is_file():
        raise ProbeError(
            f"no such model: {source}; expected 'embedded', a folder of a Hugging Face model, or a GGUF file "
            "(nothing is ever fetched from the network)"
        )
    if path.suffix != ".gguf":
        raise ProbeError(f"{path} is no GGUF file; expected a name that ends in .gguf, or a folder")
    report(f"hashing {path.name}")
    sha256 = files.remembered_sha256([path])
    folder, quantisation = converted(path, sha256, report)
    return folder, {"name": path.stem, "weights": sha256, "revision": "", "quantisation": quantisation}


def _facts_of_folder(path: Path, report: Callable[[str], None]) -> dict[str, str]:
    tensors = sorted(path.glob("*.safetensors"))
    if not tensors:
        raise ProbeError(
            f"{path} has no weights as safetensors (pickled ones are never read); save the model with "
            "save_pretrained(folder), or name another folder"
        )
    report(f"hashing the weights in {path}")
    snapshot = (
        path.resolve().parent.name == "snapshots"
    )  # the layout of Hugging Face's cache: models--…/snapshots/COMMIT
    name = (
        path.resolve().parents[1].name.removeprefix("models--").replace("--", "/") if snapshot else path.resolve().name
    )
    revision = path.resolve().name if snapshot else ""
    return {"name": name, "weights": files.remembered_sha256(tensors), "revision": revision, "quantisation": ""}
