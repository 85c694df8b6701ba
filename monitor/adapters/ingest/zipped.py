"""One file of a zip file, up to a length; also where it is compressed with Zstandard, which Inspect's newer logs are and
Python's ``zipfile`` reads from 3.14 on.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO

from monitor.adapters.ingest.traces import MAX_RECORD, Broken

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, struct.error)
"""What ``zipfile`` raises for files that are broken, encrypted or compressed in a way that it does not know."""
_ZSTANDARD = 93  # APPNOTE.TXT 4.4.5
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # APPNOTE.TXT 4.3.7
_SIGNATURE = b"PK\x03\x04"
_ENCRYPTED = 0x1
_TOO_LONG = f"longer than {MAX_RECORD // 2**20} MiB, which is the most that is read of one trace"


def read_entry(archive: zipfile.ZipFile, name: str, *, limit: int = MAX_RECORD) -> bytes:
    """What a file of an open zip file holds. What the zip says of its size is not believed.

    Raises:
        Broken: it holds more than ``limit`` bytes, or it takes a package to read that is not installed.
        UNREADABLE: the zip file is broken, or is not one that can be read.
    """
    info = archive.getinfo(name)
    if info.compress_type == _ZSTANDARD and _ZSTANDARD not in _known():
        data = _unpacked(archive, info, limit)
    else:
        with archive.open(name) as entry:
            data = entry.read(limit + 1)
    if len(data) > limit:
        raise Broken(_TOO_LONG)
    return data


def _known() -> frozenset[int]:
    """Which of the newer methods this Python knows."""
    return frozenset({getattr(zipfile, "ZIP_ZSTANDARD", -1)})


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    try:
        import zstandard  # noqa: PLC0415 - of an extra, and for few logs
    except ImportError:
        raise Broken(
            "compressed with Zstandard, which takes a package that is not installed: pip install "
            "'factored-monitor[ingest]'"
        ) from None
    file: IO[bytes] | None = archive.fp
    if file is None or info.flag_bits & _ENCRYPTED:
        raise zipfile.BadZipFile("the zip file is closed or encrypted")
    file.seek(info.header_offset)
    header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if header[0] != _SIGNATURE:
        raise zipfile.BadZipFile("bad magic number for file header")
    file.seek(header[9] + header[10], 1)
    packed = file.read(min(info.compress_size, limit + 1))
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as stream:
            data = stream.read(limit + 1)
    except zstandard.ZstdError as exc:
        raise zipfile.BadZipFile(str(exc)) from exc
    if len(data) <= limit and zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"bad CRC-32 for file {info.filename!r}")
    return data
