"""Reading many records back: what ``decoding.decode_event`` gives, in a fraction of its time.

A decoder is made for each record type once, from its fields. It takes the forms that the encoder writes and no others: at
anything else it raises ``Unusual``, and the reader goes the long way, which validates every value and says what is wrong.
Nothing is checked twice that the hash of the event vouches for.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

from pydantic_core import PydanticUndefined, from_json

from monitor import records
from monitor.canonical import ESCAPE
from monitor.records.words import Frozen
from monitor.store.codec import ENVELOPE, VERSION
from monitor.store.decoding import holds_references

Texts: TypeAlias = "dict[str, str | None]"
"""Texts by their commitments; None for one that was erased."""
Histories: TypeAlias = Callable[[str], "tuple[records.Message, ...]"]
"""Gives the messages up to and including a node."""
Decoder: TypeAlias = Callable[[Any, Texts, Histories], Any]

_Model = TypeVar("_Model", bound=Frozen)
_REMEMBERED = 4_096
_ROLES = {role: role for role in typing.get_args(records.Message.model_fields["role"].annotation)}


class Unusual(Exception):  # noqa: N818 - no error: the long way decides whether there is one
    """A form that the encoder does not write, or writes seldom. Never leaves the store."""


def parse(canonical: str) -> dict[str, Any]:
    """Read an event or a message node as JSON. Raises Unusual for what is none, or of another version."""
    try:
        value = from_json(canonical)
    except ValueError as exc:
        raise Unusual from exc
    if type(value) is not dict or value.get("v") != VERSION:
        raise Unusual
    return value


def marked(canonical: str, mark: str) -> list[str]:
    """The hashes (64 hex digits) that a canonical text refers to by ``mark``: ``$text``, ``$json`` or ``$chain``.

    In a text that stands in it in the clear a quotation mark has a backslash before it, so none can look like a mark.
    """
    return [part[:64] for part in canonical.split(f'{{"{mark}":"')[1:]]


def call_of(event: dict[str, Any], texts: Texts, histories: Histories) -> records.Call:
    """The call of a ``started`` event. Raises Unusual."""
    return _model(_CALL, event, texts, histories)


def observation_of(event: dict[str, Any], texts: Texts, histories: Histories) -> records.Observation:
    """The observation of an ``observed`` event. Raises Unusual."""
    return _model(_OBSERVATION, event, texts, histories)


def message_of(node: dict[str, Any], texts: Texts, histories: Histories) -> records.Message:
    """The message of a node. Raises Unusual."""
    try:
        told = node["message"]
        if len(told) == 4 and told["tool_calls"] == [] and told["tool_call_id"] is None:  # nearly all are so
            content = _text(told["content"], texts, histories)
            return records.Message.trusted(role=_ROLES[told["role"]], content=content, tool_calls=(), tool_call_id=None)
        made: records.Message = _MESSAGE(told, texts, histories)
    except (KeyError, TypeError, AttributeError) as exc:
        raise Unusual from exc
    return made


def _model(
    decoder: tuple[type[_Model], Decoder, tuple[str, ...]], event: dict[str, Any], texts: Texts, histories: Histories
) -> _Model:
    model, decode, envelope = decoder
    try:
        fields = decode(event["body"], texts, histories)
        for name in envelope:
            fields[name] = event[name]
    except (KeyError, TypeError, AttributeError) as exc:
        raise Unusual from exc
    return model.trusted(**fields)


# --------------------------------------------------------------------------------------------------- making decoders


def _text(value: Any, texts: Texts, _histories: Histories) -> str:
    if value == "":
        return ""
    body = texts[value["$text"]]
    return records.ERASED * value["n"] if body is None else body


def _history(value: Any, _texts: Texts, histories: Histories) -> tuple[records.Message, ...]:
    return histories(value["$chain"]) if value != [] else ()


def _str(value: Any, _texts: Texts, _histories: Histories) -> str:
    if type(value) is not str or ESCAPE in value:
        raise Unusual
    return value


def _int(value: Any, _texts: Texts, _histories: Histories) -> int:
    if type(value) is not int:
        raise Unusual
    return value


def _float(value: Any, _texts: Texts, _histories: Histories) -> float:
    if type(value) is float:
        return value
    if type(value) is not int:
        raise Unusual
    return float(value)


def _bool(value: Any, _texts: Texts, _histories: Histories) -> bool:
    if type(value) is not bool:
        raise Unusual
    return value


def _nothing(value: Any, _texts: Texts, _histories: Histories) -> None:
    """Token evidence: it is a matter for the long way, where it is wanted."""
    if value is not None:
        raise Unusual


_SCALARS: dict[Any, Decoder] = {str: _str, int: _int, float: _float, bool: _bool}


def _decoder_of(annotation: Any) -> Decoder:
    if annotation == records.Text:
        return _text
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple and arguments[0] is records.Message:
        return _history
    if origin is tuple:
        return _tuple(_decoder_of(arguments[0]))
    if origin in {typing.Union, types.UnionType}:
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return _optional(_decoder_of(inner))
    if origin is typing.Literal:
        return _one_of({word: word for word in arguments})
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if annotation is records.TokenEvidence:
        return _nothing
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _one_of({member.value: member for member in annotation})
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return _nested(annotation)
    raise TypeError(f"no quick decoder for {annotation!r}; give it one in {__name__}")


def _tuple(inner: Decoder) -> Decoder:
    def decode(value: Any, texts: Texts, histories: Histories) -> tuple[Any, ...]:
        if type(value) is not list:
            raise Unusual
        return tuple([inner(item, texts, histories) for item in value]) if value else ()

    return decode


def _optional(inner: Decoder) -> Decoder:
    return lambda value, texts, histories: None if value is None else inner(value, texts, histories)


def _one_of(words: dict[str, Any]) -> Decoder:
    return lambda value, _texts, _histories: words[value]


def _nested(model: type[Frozen]) -> Decoder:
    fields = _fields(model, frozenset())
    if holds_references(model):
        return lambda value, texts, histories: model.trusted(**fields(value, texts, histories))
    known: dict[tuple[Any, ...], Any] = {}  # such as budgets: frozen, and the same few again and again

    def decode(value: Any, texts: Texts, histories: Histories) -> Any:
        key = tuple(value.items())
        found = known.get(key)
        if found is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            found = known[key] = model.trusted(**fields(value, texts, histories))
        return found

    return decode


def _fields(model: type[Frozen], without: frozenset[str]) -> Decoder:
    """Makes a record's fields, by name. A field that is not there has its default: an older version wrote the event."""
    hints = typing.get_type_hints(model, include_extras=True)
    names = [name for name in model.model_fields if name not in without]
    decoders = {name: _decoder_of(hints[name]) for name in names}
    required = frozenset(name for name in names if model.model_fields[name].default is PydanticUndefined)

    def decode(value: Any, texts: Texts, histories: Histories) -> dict[str, Any]:
        if type(value) is not dict or not required <= value.keys():
            raise Unusual
        return {name: decoders[name](item, texts, histories) for name, item in value.items()}

    return decode


def _of_event(model: type[_Model]) -> tuple[type[_Model], Decoder, tuple[str, ...]]:
    return model, _fields(model, ENVELOPE), tuple(sorted(ENVELOPE & model.model_fields.keys()))


_CALL = _of_event(records.Call)
_OBSERVATION = _of_event(records.Observation)
_MESSAGE = _nested(records.Message)
