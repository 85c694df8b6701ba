"""The files of an artefact, read and written with care; and the sidecar, for which neither torch nor numpy is needed."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import ArtefactError, ProbeError
from monitor.probes import sidecar as sidecars

if TYPE_CHECKING:
    from monitor.probes.sidecar import Sidecar

__all__ = ["SIDECAR", "TENSORS", "read_file", "read_sidecar", "refuse_alarms", "save_sidecar", "write_file"]

TENSORS, SIDECAR = "probe.safetensors", "probe.json"
MAX_SIDECAR = 8_000_000  # bytes

_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive, as torch.save writes, with a pickle in it"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"GGUF", "a GGUF file of a whole model"),
    (b"\x93NUMPY", "a NumPy file, which may hold a pickle"),
    (b"\x89HDF", "an HDF5 file"),
)
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
"""How pickles of protocols 2 to 5 begin. So does a safetensors file whose header has 640, 896, 1,152 or 1,408 bytes, but
with six bytes of 0 after it, where a pickle has its first opcode. Older protocols are text, and no header's length."""


def save_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Write the sidecar alone, as after a calibration. Raises ArtefactError."""
    write_file(Path(folder) / SIDECAR, sidecars.written(sidecar))


def read_sidecar(path: Path) -> Sidecar:
    """Read the sidecar of an artefact: its folder, or the JSON file itself. The tensors are not looked at.

    Raises:
        ArtefactError: it is not there, or not what it should be.
    """
    file = Path(path) / SIDECAR if Path(path).is_dir() else Path(path)
    if file.suffix != ".json":
        raise ArtefactError(f"{file} is no probe: name its folder, with {SIDECAR} and {TENSORS} in it")
    return sidecars.parse(read_file(file, MAX_SIDECAR), str(file))


def refuse_alarms(sidecar: Sidecar, *, force: bool = False) -> tuple[str, ...]:
    """The alarms of an evaluation in spite of which a probe is attached. Raises ProbeError where nobody forces it."""
    blocking = tuple(f"{alarm.kind}: {alarm.message}" for alarm in sidecar.alarms if alarm.blocks)
    if blocking and not force:
        raise ProbeError(
            f"the probe {sidecar.name!r} is not attached, for its evaluation raised an alarm: {'; '.join(blocking)}. "
            "To attach it all the same, and have the record say so: --force-probes"
        )
    return blocking


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a regular file that is not larger than ``most``; no link is followed to it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        link = " (it is a symbolic link, and none is followed)" if path.is_symlink() else ""
        raise ArtefactError(f"{path} cannot be read: {exc.strerror}{link}") from None
    try:
        content = _content(path, descriptor, most)
    except OSError as exc:
        raise ArtefactError(f"{path} cannot be read: {exc.strerror}") from None
    finally:
        os.close(descriptor)
    expected = "JSON" if path.suffix == ".json" else "safetensors"
    for magic, what in _FOREIGN:
        if content.startswith(magic):
            raise ArtefactError(f"{path} is {what}; expected {expected}")
    if content.startswith(_PICKLES) and content[2:8] != bytes(6):
        raise ArtefactError(f"{path} is a pickle, which runs code when it is loaded; expected {expected}")
    return content


def _content(path: Path, descriptor: int, most: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ArtefactError(f"{path} is not a file")
    if status.st_size > most:
        raise ArtefactError(f"{path} has {status.st_size:,} bytes; a probe has {most:,} at most")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ArtefactError(f"{path} grows while it is read")
    return content


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is made. Raises ArtefactError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).chmod(0o644)
            Path(scratch).replace(path)
        finally:
            Path(scratch).unlink(missing_ok=True)
    except OSError as exc:
        raise ArtefactError(f"{path} cannot be written: {exc.strerror}") from exc
