"""Canonical form back to events and messages, and what they refer to: the other half of ``codec``."""

from __future__ import annotations

import json
import typing
from typing import Any, Protocol, cast

from pydantic import BaseModel, ValidationError

from monitor import records
from monitor.canonical import unescape_json
from monitor.errors import StoreFormatError
from monitor.store.codec import ENVELOPE, PAYLOADS, VERSION

_REMEMBERED = 4096  # how many findings are kept


class Library(Protocol):
    """Where a decoder finds what an encoder put on the shelf."""

    def text(self, commitment: str) -> str | None:
        """The text behind a commitment, or None if it was erased. Raises StoreFormatError if there never was one."""
        ...

    def history(self, node_hash: str) -> tuple[records.Message, ...]:
        """The messages up to and including this node. Raises StoreFormatError if a node is missing."""
        ...


def parse(canonical: str) -> dict[str, Any]:
    """Read an event or a message node as JSON. Raises StoreFormatError for a version this code does not know."""
    try:
        value = json.loads(canonical)
    except ValueError as exc:
        raise StoreFormatError(f"the store is damaged: a canonical form is not JSON ({exc})") from exc
    if not isinstance(value, dict) or value.get("v") != VERSION:
        raise StoreFormatError(
            "the store holds an event of another version; upgrade with: pip install -U factored-monitor"
        )
    return value


def decode_event(event: dict[str, Any], library: Library) -> records.Payload:
    """Return the payload of a parsed event, equal to the one that was encoded.

    Raises:
        StoreFormatError: the event is of an unknown kind or damaged.
    """
    payload = PAYLOADS.get(event["kind"])
    if payload is None:
        raise StoreFormatError(f"the store holds an event of unknown kind {event['kind']!r}; upgrade the monitor")
    body = event["body"]
    fields = _decode(body, library) if payload is not records.Judgement else _decode_judgement(body, library)
    fields |= {name: event[name] for name in ENVELOPE & payload.model_fields.keys()}
    return cast("records.Payload", _validate(payload, fields))


def decode_message(node: dict[str, Any], library: Library) -> records.Message:
    """Return the message of a parsed message node. Raises StoreFormatError if it is damaged."""
    return cast("records.Message", _validate(records.Message, _decode(node["message"], library)))


def references(value: Any) -> tuple[set[str], set[str]]:
    """Return the commitments and the node hashes that a parsed event or message node refers to."""
    commitments: set[str] = set()
    heads: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            commitments.update(item[mark] for mark in ("$text", "$json") if mark in item)
            heads.update(item[mark] for mark in ("$chain",) if mark in item)
            waiting.extend(item.values())
    return commitments, heads


def refers(event: dict[str, Any]) -> bool:
    """Whether an event can refer to texts or histories at all. Of judgements only those can that probes had a part in."""
    kind = event.get("kind")
    return bool(event["body"].get("probes")) if kind == "judged" else kind not in _WITHOUT_REFERENCES


def holds_references(annotation: Any) -> bool:
    """Whether a value of this type is, or holds, something that does not stand in the event itself."""
    if annotation == records.Text or annotation in {records.TokenEvidence, records.TokenScores, records.Message}:
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(map(holds_references, typing.get_type_hints(annotation, include_extras=True).values()))
    return any(map(holds_references, typing.get_args(annotation)))


_WITHOUT_REFERENCES = frozenset(kind for kind, payload in PAYLOADS.items() if not holds_references(payload))


def _validate(model: type[BaseModel], fields: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        where = ", ".join(".".join(map(str, error["loc"])) for error in exc.errors(include_input=False))
        raise StoreFormatError(f"the store is damaged: a {model.__name__} cannot be read back ({where})") from exc


def _decode_judgement(body: dict[str, Any], library: Library) -> dict[str, Any]:
    """As ``_decode``, but findings without evidence, which are few different ones and frozen, are made once each."""
    fields = {key: _decode(value, library) for key, value in body.items() if key != "findings"}
    found = body.get("findings", [])
    whole = isinstance(found, list)
    return {**fields, "findings": [_decode_finding(item, library) for item in found] if whole else found}


_known_findings: dict[tuple[Any, ...], records.Finding] = {}


def _decode_finding(item: Any, library: Library) -> Any:
    if not isinstance(item, dict) or item.get("evidence") != []:
        return _decode(item, library)
    key = tuple({**item, "evidence": ""}.items())
    try:
        known = _known_findings.get(key)
    except TypeError:  # no finding holds a list or a map
        return _decode(item, library)
    if known is None:
        known = cast("records.Finding", _validate(records.Finding, _decode(item, library)))
        if len(_known_findings) >= _REMEMBERED:
            _known_findings.clear()
        _known_findings[key] = known
    return known


def _decode(value: Any, library: Library) -> Any:
    """Undo an encoder. Texts come back in their stored form, which is the form that records hold."""
    if isinstance(value, list):
        return [_decode(item, library) for item in value]
    if not isinstance(value, dict):
        return unescape_json(value)
    if "$text" in value:
        text = library.text(value["$text"])
        return records.ERASED * value["n"] if text is None else text
    if "$json" in value:
        text = library.text(value["$json"])
        return None if text is None else unescape_json(json.loads(text))
    if "$chain" in value:
        return library.history(value["$chain"])
    if "$int" in value or "$float" in value:
        return unescape_json(value)
    return {key: _decode(item, library) for key, item in value.items()}
