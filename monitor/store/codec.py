"""Events to canonical form; ``decoding`` reads it back. No text is ever in an event in the clear.

The encoder follows the types in ``monitor.records``, once, at import: what is declared ``Text`` becomes a reference
whatever the field is called, and a type that this module does not know stops the import. So a field that is added to a
record later can neither leak into the log nor be left out of it.

In the body of an event stand, besides JSON's own values,

``{"$text": commitment, "n": codepoints}``
    a text (an empty one is ``""``);
``{"$json": commitment, "n": codepoints}``
    a large value (token evidence, scores of tokens), stored as one canonical JSON text;
``{"$chain": node_hash, "n": messages}``
    a message history by the hash of its last message (an empty one is ``[]``);
``{"$int": digits}``, ``{"$float": repr}``
    a number that canonical JSON cannot hold, from ``canonical.escape_json``.

What the envelope says (``run_id``, ``span_id``, ``at``) is not said again in the body.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from monitor import records
from monitor.canonical import MAX_SAFE_INTEGER, escape_json
from monitor.errors import StoreError
from monitor.store import jcs

VERSION = 1
"""The version of the canonical form, ``v`` in every event and message node."""

_REMEMBERED = 4096  # how many findings' forms are kept

ENVELOPE = frozenset({"run_id", "span_id", "at"})
"""Fields of payloads that live in the envelope of the event."""

PAYLOADS: dict[str, type[records.Payload]] = {
    "started": records.Call,
    "released": records.Released,
    "observed": records.Observation,
    "judged": records.Judgement,
    "decided": records.Decision,
    "reviewed": records.Review,
    "redacted": records.Redaction,
    "run_started": records.RunStart,
    "run_resumed": records.RunResume,
    "run_queued": records.QueuedReview,
    "run_suspended": records.RunSuspend,
    "run_ended": records.RunEnd,
}
"""The type of the payload for every kind of event that can be stored."""


class Shelf(Protocol):
    """Where an encoder puts what does not stand in the event itself."""

    def put_text(self, text: str) -> str:
        """Store ``text`` if it is new and return its commitment."""
        ...

    def put_node(self, parent: str | None, payload: str) -> str:
        """Store a message node if it is new and return its hash."""
        ...


Encoder: TypeAlias = Callable[[Any, Shelf], str]
"""Takes a value and a shelf, returns canonical JSON text."""


def encode_event(event: records.Event, *, seq: int, at: str, shelf: Shelf) -> str:
    """Return the canonical JSON text of ``event``, having put its texts and messages on ``shelf``.

    Raises:
        StoreError: the event's kind and payload do not go together, or a text in it was never escaped.
    """
    kind = type(event.payload)
    if PAYLOADS.get(event.kind) is not kind:
        raise StoreError(f"a {event.kind!r} event cannot carry a {kind.__name__}; make events with Event.of")
    body = _ENCODERS[kind](event.payload, shelf)
    return (
        f'{{"at":{_encode_str(at, shelf)},"body":{body},"kind":"{event.kind}","run_id":"{event.run_id}",'
        f'"seq":{seq},"span_id":"{event.span_id}","v":{VERSION}}}'
    )


def _encode_text(text: str, shelf: Shelf) -> str:
    return f'{{"$text":"{shelf.put_text(text)}","n":{len(text)}}}' if text else '""'


def _encode_history(messages: tuple[records.Message, ...], shelf: Shelf) -> str:
    head: str | None = None
    for message in messages:
        parent = f'"{head}"' if head else "null"
        payload = f'{{"message":{_encode_message(message, shelf)},"parent":{parent},"v":{VERSION}}}'
        head = shelf.put_node(head, payload)
    return f'{{"$chain":"{head}","n":{len(messages)}}}' if head else "[]"


def _encode_tokens(tokens: records.TokenEvidence | records.TokenScores, shelf: Shelf) -> str:
    text = jcs.dumps(escape_json(tokens.model_dump()))
    return f'{{"$json":"{shelf.put_text(text)}","n":{len(text)}}}'


def _encode_scalar(value: Any, _shelf: Shelf) -> str:
    return jcs.dumps(escape_json(value))


def _encode_str(value: Any, shelf: Shelf) -> str:
    if type(value) is str and value.isascii() and "\0" not in value:
        return jcs.quote(value)
    return _encode_scalar(value, shelf)


def _encode_int(value: Any, shelf: Shelf) -> str:
    if type(value) is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return repr(value)
    return _encode_scalar(value, shelf)


def _encode_float(value: Any, shelf: Shelf) -> str:
    if type(value) is float and (
        0 < abs(value) <= MAX_SAFE_INTEGER or str(value) == "0.0"
    ):  # nothing there that escape_json would change
        return jcs.dumps(value)
    return _encode_scalar(value, shelf)


_SCALARS: dict[Any, Encoder] = {str: _encode_str, int: _encode_int, float: _encode_float, bool: _encode_scalar}


def _encoder_of(annotation: Any) -> Encoder:
    """Choose the encoder for a type of ``monitor.records``. Raises TypeError for one that it does not know."""
    if annotation == records.Text:
        return _encode_text
    if annotation in {records.TokenEvidence, records.TokenScores}:
        return _encode_tokens
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple and arguments[0] is records.Message:
        return _encode_history
    if origin is tuple:
        return _tuple_encoder(_encoder_of(arguments[0]))
    if origin in {typing.Union, types.UnionType}:
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return _encoder_of(inner)  # None is the default wherever it may stand: see _model_encoder
    if origin is typing.Literal:
        return _encode_str
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return lambda value, _shelf: jcs.quote(value)
    if annotation is records.Finding:
        return _remembered(_model_encoder(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _model_encoder(annotation)
    raise TypeError(f"the store has no canonical form for {annotation!r}; give it one in {__name__}")


def _tuple_encoder(inner: Encoder) -> Encoder:
    return lambda values, shelf: "[" + ",".join([inner(value, shelf) for value in values]) + "]"


def _remembered(inner: Encoder) -> Encoder:
    """For findings: they hold no texts, and nearly all are the same few objects that rules without a match give every
    time. Each is remembered by its identity, and kept for as long, so that no other can have it.
    """
    forms: dict[int, tuple[object, str]] = {}

    def encode(value: Any, shelf: Shelf) -> str:
        known = forms.get(id(value))
        if known is None:
            if len(forms) >= _REMEMBERED:
                forms.clear()
            known = forms[id(value)] = value, inner(value, shelf)
        return known[1]

    return encode


def _model_encoder(model: type[BaseModel], without: frozenset[str] = frozenset()) -> Encoder:
    """Make the encoder of a record type: every field but those ``without``, each by the encoder of its type.

    Field names are ASCII, so sorting them is the order of RFC 8785. Most fields of most records hold their default,
    whose form is made once, here: that halves the time of an event with many findings.
    """
    hints = typing.get_type_hints(model, include_extras=True)
    fields = []
    for name in sorted(model.model_fields.keys() - without):
        encoder, default, prefix = _encoder_of(hints[name]), model.model_fields[name].default, f'"{name}":'
        if types.NoneType in typing.get_args(hints[name]) and default is not None:
            raise TypeError(f"{model.__name__}.{name} may be None, so None must be its default")
        usual = ""
        if default is not PydanticUndefined:
            usual = prefix + ("null" if default is None else encoder(default, _NOWHERE))
        fields.append((name, default, usual, prefix, encoder))

    def encode(value: Any, shelf: Shelf) -> str:
        held = value.__dict__
        return (
            "{"
            + ",".join(
                [
                    usual if (item := held[name]) is default else prefix + encoder(item, shelf)
                    for name, default, usual, prefix, encoder in fields
                ]
            )
            + "}"
        )

    return encode


class _Nowhere:
    """The shelf for defaults: a record whose default is a text or a message would be encoded once for all stores."""

    def put_text(self, text: str) -> str:
        raise TypeError(f"the default of a Text must be empty, found {text!r}")

    def put_node(self, parent: str | None, payload: str) -> str:
        raise TypeError(f"the default of a history must be empty, found {payload} after {parent}")


_NOWHERE = _Nowhere()
_encode_message = _model_encoder(records.Message)
_ENCODERS: dict[type[Any], Encoder] = {payload: _model_encoder(payload, ENVELOPE) for payload in PAYLOADS.values()}
