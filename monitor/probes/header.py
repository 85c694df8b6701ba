"""The header of a safetensors file, read with all that it may not say: lies about sizes, holes, overlaps, other types.

The format (huggingface/safetensors, README): 8 bytes, little-endian, with the length of the header; the header, a JSON
object of ``{name: {dtype, shape, data_offsets}}``; then the tensors. The library checks this too, but for any
tensors; a probe's are few, of one type, and small enough to be read whole.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

__all__ = ["Entry", "HeaderError", "read_header"]

MAX_HEADER = 100_000  # bytes; a probe has six tensors at most
_SIZE = 4  # bytes of a float32


class HeaderError(Exception):
    """The header is not one of a probe's tensors. Never leaves ``artefact``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One float32 tensor: ``count`` values from byte ``start`` of the file on."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def count(self) -> int:
        """How many values."""
        return math.prod(self.shape)


def read_header(content: bytes) -> list[Entry]:
    """The tensors of a file, in the order in which they stand in it. Raises HeaderError."""
    if len(content) < 8:
        raise HeaderError(f"it has {len(content)} bytes")
    length = int.from_bytes(content[:8], "little")
    if length > MAX_HEADER or 8 + length > len(content):
        raise HeaderError(f"its header says that it has {length:,} bytes, of {len(content) - 8:,}")
    try:
        header = json.loads(content[8 : 8 + length].decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as exc:
        raise HeaderError(f"its header is no JSON: {str(exc)[:200]}") from None
    if not isinstance(header, dict):
        raise HeaderError("its header is no JSON object")
    header.pop("__metadata__", None)
    entries = sorted((_entry(name, value, 8 + length) for name, value in header.items()), key=lambda entry: entry.start)
    at = 8 + length
    for entry in entries:
        if entry.start != at:
            raise HeaderError(f"the tensor {entry.name!r} begins at byte {entry.start}; expected {at}")
        at += entry.count * _SIZE
    if at != len(content):
        raise HeaderError(f"its tensors end at byte {at}, the file at {len(content)}")
    return entries


def _entry(name: str, value: Any, base: int) -> Entry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise HeaderError(f"the tensor {name[:80]!r} is not described by dtype, shape and data_offsets")
    if value["dtype"] != "F32":
        raise HeaderError(f"the tensor {name[:80]!r} is {str(value['dtype'])[:20]}; expected F32")
    shape, offsets = value["shape"], value["data_offsets"]
    if not _are_counts(shape) or len(shape) > 2 or not _are_counts(offsets) or len(offsets) != 2:
        raise HeaderError(f"the shape or the offsets of the tensor {name[:80]!r} are not whole numbers")
    entry = Entry(name, tuple(shape), base + offsets[0])
    if offsets[1] - offsets[0] != entry.count * _SIZE:
        raise HeaderError(f"the tensor {name[:80]!r} has {offsets[1] - offsets[0]} bytes for {entry.count} values")
    return entry


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**40 for item in value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found
