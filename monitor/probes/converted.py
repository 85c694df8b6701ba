"""A GGUF file as a folder that transformers loads in a moment: dequantised once, kept in the cache as safetensors.

Beside the files lies ``stamp.json``: hash, size and modification time of each. As long as size and time are the stamp's a
file is taken as whole (as ``monitor.models.weights`` does); one whose time differs is hashed, and a folder in which
anything is missing or differs is made anew.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import SafetensorError
from tokenizers import pre_tokenizers

from monitor.errors import ProbeError
from monitor.probes import files
from monitor.probes.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STAMP = "stamp.json"
_LAYOUT = 1  # of the folder: raised where what is written changes
_DIGIT_BY_DIGIT = {"smollm", "starcoder", "refact", "command-r"}


def converted(gguf: Path, sha256: str, report: Callable[[str], None]) -> tuple[Path, str]:
    """Return the folder for the GGUF file with this hash, made now if need be, and the name of its quantisation.

    Safe when several processes do it at once: one converts, the others wait for it.

    Raises:
        ProbeError: transformers cannot read the file, or the cache cannot be written.
    """
    target = files.probes_dir() / sha256
    try:
        with files.locked(target.with_suffix(".lock")):
            stamp = _whole(target, sha256)
            if stamp is None:
                stamp = _convert(gguf, sha256, target, report)
    except OSError as exc:
        raise ProbeError(
            f"{gguf.name} cannot be kept as safetensors in {target.parent}: {exc.strerror or exc}; make room (four bytes "
            "for each parameter) or set MONITOR_CACHE to a folder that can be written"
        ) from exc
    return target, str(stamp["quantisation"])


def _whole(folder: Path, sha256: str) -> dict[str, Any] | None:
    """The stamp of a folder that is as it was written; None where it is not."""
    try:
        stamp = json.loads((folder / _STAMP).read_text("utf-8"))
        if stamp["gguf"] != sha256 or stamp["layout"] != _LAYOUT:
            return None
        changed = False
        for name, known in stamp["files"].items():
            status = (folder / name).stat()
            if status.st_size != known["size"]:
                return None
            if status.st_mtime_ns != known["mtime_ns"]:
                if files.sha256([folder / name]) != known["sha256"]:
                    return None
                known["mtime_ns"], changed = status.st_mtime_ns, True
        if changed:
            _write_stamp(folder, stamp)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return dict(stamp)


def _convert(gguf: Path, sha256: str, target: Path, report: Callable[[str], None]) -> dict[str, Any]:
    report(f"reading {gguf.name} and dequantising it (once; about half a minute for 135 million parameters)")
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=".convert-"))
    try:
        quantisation = _write(gguf, folder)
        report("hashing what was written")
        stamp = {"gguf": sha256, "layout": _LAYOUT, "quantisation": quantisation, "files": _facts(folder)}
        _write_stamp(folder, stamp)
        if target.exists():  # damaged; who has it open keeps what is open
            shutil.rmtree(target)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return stamp


def _write(gguf: Path, folder: Path) -> str:
    """Write model, tokenizer and template; returns the name of the quantisation."""
    with quiet():
        model, tokenizer, quantisation = _read(gguf)
        try:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        except SafetensorError as exc:  # which is no OSError even where the disk is full
            raise OSError(str(exc)) from exc
    return quantisation


def _read(gguf: Path) -> tuple[Any, Any, str]:
    source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        pre, quantisation = _described(gguf)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(gguf.parent), **source)
        with _no_bar():
            model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                str(gguf.parent), **source, dtype=torch.float32
            )
    except Exception as exc:
        raise ProbeError(
            f"transformers {transformers.__version__} cannot read {gguf.name}: {type(exc).__name__}: {exc}; "
            "give a GGUF file of a decoder-only model that it knows, or a folder of a Hugging Face model"
        ) from exc
    _split_digits(tokenizer, pre)
    model.hf_quantizer = None  # the weights are plain float32 by now, and it refuses to save
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model, tokenizer, quantisation


@contextmanager
def _no_bar() -> Iterator[None]:
    """Without the bar that transformers draws on stderr while it dequantises, whatever it was told about bars."""
    from transformers import modeling_gguf_pytorch_utils as reader  # noqa: PLC0415 - needed for a conversion only

    bar = vars(reader)["tqdm"]
    vars(reader)["tqdm"] = partial(bar, disable=True)
    try:
        yield
    finally:
        vars(reader)["tqdm"] = bar


def _described(gguf: Path) -> tuple[str, str]:
    """The names of pre-tokenizer and quantisation, as the file's header has them; empty where it has none."""
    from gguf import GGUFReader, LlamaFileType  # noqa: PLC0415 - needed for a conversion only

    reader = GGUFReader(str(gguf))
    pre, kind = reader.get_field("tokenizer.ggml.pre"), reader.get_field("general.file_type")
    name = LlamaFileType(kind.contents()).name if kind else ""
    return str(pre.contents()) if pre else "", name.removeprefix("MOSTLY_").removeprefix("ALL_")


def _split_digits(tokenizer: Any, pre: str) -> None:
    """Give the tokenizer the rule that transformers drops for some GGUF files: every digit is a piece by itself.

    Without it a blank before a number of another script joins the number's first byte, as the model never saw it.
    """
    if pre in _DIGIT_BY_DIGIT:
        backend = tokenizer.backend_tokenizer
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])


def _facts(folder: Path) -> dict[str, dict[str, Any]]:
    facts = {}
    for path in sorted(folder.iterdir()):
        status = path.stat()
        facts[path.name] = {
            "sha256": files.sha256([path]),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }
    return facts


def _write_stamp(folder: Path, stamp: dict[str, Any]) -> None:
    with files.written(folder / _STAMP) as scratch:
        scratch.write_text(json.dumps(stamp, indent=1), "utf-8")
