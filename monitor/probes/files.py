"""Files under the cache directory: whole or not there, one writer at a time, and hashes that are taken once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.models import weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BLOCK = 1 << 20


def probes_dir() -> Path:
    """Where what probes keep is kept; not made yet, maybe."""
    return weights.cache_dir() / "probes"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes (a file at ``path``); the system lets go of it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write to that becomes ``path`` when the block ends, and vanishes when it fails: never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def sha256(paths: Sequence[Path]) -> str:
    """SHA-256 of the files' content, one after the other. Raises OSError."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def remembered_sha256(paths: Sequence[Path]) -> str:
    """As ``sha256``, remembered in the cache for as long as names, sizes and modification times stay what they are."""
    seen: list[list[Any]] = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    name = hashlib.sha256(json.dumps(seen).encode()).hexdigest()
    note = probes_dir() / "hashes" / name
    with suppress(OSError):
        known = note.read_text("ascii")
        if len(known) == 64:
            return known
    found = sha256(paths)
    with suppress(OSError), written(note) as scratch:  # a cache that cannot be written only costs the next load a hash
        scratch.write_text(found, "ascii")
    return found
