"""RFC 8785 (JSON Canonicalization Scheme) text, fast: the same bytes as ``rfc8785.dumps`` in a third of its time.

An event is canonicalised inside the write transaction, while every other writer waits. ``rfc8785`` takes 76 µs for a
typical ``started`` event and this module 22 µs, because strings are quoted by the C function behind ``json.dumps``, whose
escapes are those of RFC 8785, and because most numbers need no more than ``repr``. A Hypothesis test holds the two equal.
"""

from __future__ import annotations

from decimal import Decimal
from json.encoder import encode_basestring as quote
from typing import Any

import rfc8785

__all__ = ["dumps", "quote"]

from monitor.canonical import MAX_SAFE_INTEGER

_REPR_FROM, _REPR_BELOW = 1e-4, 1e16  # between these, Python and ECMAScript both write a fraction without an exponent
_FIXED_FROM = 1e-6  # from here to _REPR_FROM only ECMAScript does, with the same digits: the price of a call is there


def dumps(value: Any) -> str:
    """Return the canonical JSON text of ``value``.

    Args:
        value: JSON's types, tuples standing for arrays; hostile scalars already escaped by ``canonical.escape_json``.

    Raises:
        rfc8785.CanonicalizationError: for NaN, infinities, integers beyond 2^53-1 and types that JSON does not have.
    """
    kind = type(value)
    if kind is str:
        return quote(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return repr(value)
    if kind is dict:
        return "{" + ",".join([f"{quote(key)}:{dumps(value[key])}" for key in _sorted(value)]) + "}"
    if kind is list or kind is tuple:
        return "[" + ",".join([dumps(item) for item in value]) + "]"
    if kind is float and (fixed := _without_exponent(value)):
        return fixed
    if isinstance(value, str):
        return quote(str.__str__(value))  # a StrEnum member is its value
    return rfc8785.dumps(value).decode()


def _without_exponent(value: float) -> str:
    """The canonical form of a number that ECMAScript writes without an exponent, "" for others (some such too)."""
    size = abs(value)
    if value.is_integer():
        return repr(int(value)) if size <= MAX_SAFE_INTEGER else ""
    if _REPR_FROM <= size < _REPR_BELOW:
        return repr(value)
    return format(Decimal(repr(value)), "f") if _FIXED_FROM <= size < _REPR_FROM else ""


def _sorted(value: dict[str, Any]) -> list[str]:
    """The keys by their UTF-16 code units, which for ASCII is the order of the strings themselves."""
    if "".join(value).isascii():
        return sorted(value)
    return sorted(value, key=lambda key: key.encode("utf-16-be"))
