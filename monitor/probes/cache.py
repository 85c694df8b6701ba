"""Arrays on disk by what they were made from: read again where they are there and whole, made again where not.

The folder has a limit; what was not used for longest goes first. Everything in it can be made again, so that nothing here
ever fails for what is, or is not, on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from monitor.probes import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from monitor.probes.words import Array

Part: TypeAlias = "str | int | float | bool | Sequence[Part] | None"

MOST_BYTES = 2_000_000_000
_LAYOUT = 1  # of the files: part of each key, raised where what is stored changes
_CHECKSUM = "sha256"


def activations_dir() -> Path:
    """Where the arrays are."""
    return files.probes_dir() / "activations"


def remembered(
    key_parts: Mapping[str, Part], make: Callable[[], dict[str, Array]], *, most_bytes: int = MOST_BYTES
) -> dict[str, Array]:
    """Return the arrays that ``make`` makes, from disk where it was called before with the same ``key_parts``.

    ``key_parts`` must say everything that the arrays depend on: the model's hash and dtype, the ids of the texts, layers,
    pooling. Arrays keep their shape and dtype. A file that is damaged is made again. ``most_bytes`` bounds the folder; what
    is larger than that by itself is not kept.
    """
    path = activations_dir() / f"{_key(key_parts)}.safetensors"
    if (known := _read(path)) is not None:
        return known
    arrays = make()
    with suppress(OSError):
        _write(path, arrays, most_bytes)
    return arrays


def _key(parts: Mapping[str, Part]) -> str:
    text = json.dumps({"layout": _LAYOUT, **parts}, sort_keys=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> dict[str, Array] | None:
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it has no other iterator
            checksum = (file.metadata() or {}).get(_CHECKSUM)
        if checksum != _checksum(arrays):
            return None
        os.utime(path)  # used now
    except (OSError, SafetensorError, ValueError, TypeError, KeyError):
        return None
    return arrays


def _write(path: Path, arrays: dict[str, Array], most_bytes: int) -> None:
    content = save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, {_CHECKSUM: _checksum(arrays)}
    )
    if len(content) > most_bytes:
        return
    with files.locked(path.parent / ".lock"):
        _make_room(path.parent, most_bytes - len(content))
        with files.written(path) as scratch:
            scratch.write_bytes(content)


def _make_room(folder: Path, most_bytes: int) -> None:
    """Remove what was not used for longest until the rest has at most ``most_bytes``."""
    known = []
    for path in folder.glob("*.safetensors"):
        with suppress(OSError):
            status = path.stat()
            known.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in known)
    for _, size, path in sorted(known):
        if total <= most_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size


def _checksum(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
