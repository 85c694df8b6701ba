"""One form for everything that is hashed: hostile scalars escaped without loss, then RFC 8785.

Canonical JSON, RE2 and PostgreSQL each refuse some values that models do produce: lone surrogates, NUL, NaN, infinities,
integers beyond 2^53. All are escaped once, where foreign text enters (a model's reply, a tool's result, a person's task,
a foreign trace), so that what is stored is what is checked is what is released, and one hostile answer cannot lose a
trace. From there on the escaped form is *the* text: it is handed to the next role as it is, never escaped again.

Text
    Each NUL, each lone surrogate and each ``␛`` (U+241B, the escape itself) becomes ``␛`` and four lower-case hex
    digits. All other text is unchanged, so offsets in ordinary text are the writer's own.

JSON values
    NaN, infinities, negative zero and whole floats beyond ±(2^53-1) become ``{"$float": "nan"}``; integers beyond it
    ``{"$int": "9223372036854775808"}``; a key that begins with ``$`` gets one more ``$``.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import rfc8785

if TYPE_CHECKING:
    from collections.abc import Callable

ESCAPE = "␛"
MAX_SAFE_INTEGER = 2**53 - 1
_SURROGATES = range(0xD800, 0xE000)


def _is_hostile(char: str) -> bool:
    return char in {"\0", ESCAPE} or ord(char) in _SURROGATES


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def escape_text(text: str) -> str:
    """Return ``text`` without NUL and lone surrogates; ``unescape_text`` gives the same text back."""
    if "\0" not in text and (text.isascii() or (ESCAPE not in text and _is_encodable(text))):
        return text
    return "".join(f"{ESCAPE}{ord(char):04x}" if _is_hostile(char) else char for char in text)


def guard_text(text: str) -> str:
    """Escape NUL and lone surrogates in text that should hold none, and leave escapes that are there as they are.

    For text that passes on inside the monitor: it was escaped where it came in, and escaping it again at every step would
    change it at every step.
    """
    if "\0" not in text and (text.isascii() or _is_encodable(text)):
        return text
    return "".join(escape_text(char) if char != ESCAPE else char for char in text)


def unescape_text(text: str) -> str:
    """Undo ``escape_text``. Raises ValueError for text that ``escape_text`` cannot have made."""
    if ESCAPE not in text:
        return text
    head, *tail = text.split(ESCAPE)
    parts = [head]
    for part in tail:
        if len(part) < 4:
            raise ValueError(f"a lone {ESCAPE} in stored text: it must be followed by four hex digits")
        parts.append(chr(int(part[:4], 16)) + part[4:])
    return "".join(parts)


def escape_json(value: Any) -> Any:
    """Return ``value`` (JSON's types, tuples as lists) with every hostile scalar escaped, also in keys."""
    if isinstance(value, str):
        return escape_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else {"$int": str(value)}
    if isinstance(value, float):
        whole_and_large = value.is_integer() and abs(value) > MAX_SAFE_INTEGER  # written as digits, read as an integer
        if not math.isfinite(value) or whole_and_large or (value == 0 and math.copysign(1, value) < 0):
            return {"$float": repr(value)}
        return value
    if isinstance(value, dict):
        return {_escape_key(key): escape_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escape_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not one of JSON's types")


def _escape_key(key: str) -> str:
    key = escape_text(key)
    return f"${key}" if key.startswith("$") else key


def unescape_json(value: Any, *, texts: bool = True) -> Any:
    """Undo ``escape_json`` (tuples come back as lists); with ``texts=False`` only numbers and ``$`` keys."""
    if isinstance(value, str):
        return unescape_text(value) if texts else value
    if isinstance(value, list):
        return [unescape_json(item, texts=texts) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"$int"}:
            return int(value["$int"])
        if value.keys() == {"$float"}:
            return float(value["$float"])
        return {
            unescape_json(key.removeprefix("$"), texts=texts): unescape_json(item, texts=texts)
            for key, item in value.items()
        }
    return value


def canonical_bytes(value: Any) -> bytes:
    """RFC 8785 bytes of a value that ``escape_json`` has been over. Raises rfc8785.CanonicalizationError otherwise."""
    return rfc8785.dumps(value)


def canonical_hash(value: Any) -> str:
    """SHA-256 (64 hex digits) of the canonical bytes of any JSON value; hostile scalars are escaped first."""
    return hashlib.sha256(canonical_bytes(escape_json(value))).hexdigest()


def fingerprint(*parts: Any) -> str:
    """SHA-256 (64 hex digits) that tells lists of plain values apart (texts, whole numbers, None, and lists and tuples of
    them): names steps within a run, and is stored nowhere as evidence. Many times as fast as ``canonical_hash``, and no
    promise to anybody outside.
    """
    return hashlib.sha256(ascii(parts).encode()).hexdigest()  # as Python writes them: the same on every version


def canonical_text(value: Any) -> str:
    """The canonical bytes of any JSON value as text, hostile scalars escaped."""
    return canonical_bytes(escape_json(value)).decode()


def parse_json(text: str, *, made: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """``json.loads`` that also reads NaN and infinities. Raises ValueError (also for absurd nesting).

    ``made`` makes each object of its fields, of which one may stand twice; by default the last one counts.
    """
    try:
        return json.loads(text, object_pairs_hook=made)
    except RecursionError as exc:
        raise ValueError("nested too deeply to read") from exc
