"""Which events a text or message that is not right belongs to: a second pass, made only where something is wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from monitor.audit.integrity.contents import places
from monitor.errors import StoreFormatError
from monitor.store.decoding import parse
from monitor.store.raw import Fault, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.audit.integrity.contents import Contents
    from monitor.store.raw import RawStore

_SHOWN = 3


def named(raw: RawStore, contents: Contents) -> Iterator[Fault]:
    """A fault for each text and message that is not right, with the first few events that refer to it."""
    if not contents.bad_texts and not contents.bad_nodes:
        return
    users = _users(raw, contents.bad_texts.keys() | contents.bad_nodes.keys())
    for table, bad in (("message_nodes", contents.bad_nodes), ("texts", contents.bad_texts)):
        for name, problem in bad.items():
            known = users.get(name, [])
            said = "; ".join(f"{kind} of {run}/{span}: {path}" for run, span, kind, path in known)
            run, span = known[0][:2] if known else ("", "")
            yield Fault(table, name, f"{problem}{f' ({said})' if said else ''}", run, span)


def _users(raw: RawStore, bad: set[str]) -> dict[str, list[tuple[str, str, str, str]]]:
    """For each of ``bad``: run, span, kind of event and place in its body, of the first few that refer to it."""
    held = _held_by_nodes(raw, bad)
    users: dict[str, list[tuple[str, str, str, str]]] = {}
    with suppress(UnreadableError):  # it is on record already
        for event in raw.events():
            for path, name in _places_of(event.canonical):
                for hit in ({name} & bad) | held.get(name, frozenset()):
                    known = users.setdefault(hit, [])
                    if len(known) < _SHOWN:
                        known.append((str(event.run_id), str(event.span_id), str(event.kind), path))
    return users


def _held_by_nodes(raw: RawStore, bad: set[str]) -> dict[str, frozenset[str]]:
    """For each message, which of ``bad`` are in the history that ends in it."""
    nodes: dict[str, tuple[Any, frozenset[str]]] = {}
    with suppress(UnreadableError):
        for node_hash, parent, payload in raw.nodes():
            found = {name for _, name in _places_of(payload)} & bad
            nodes[str(node_hash)] = (parent, frozenset(found | ({str(node_hash)} & bad)))
    held: dict[str, frozenset[str]] = {}
    for head in nodes:
        way: list[str] = []
        current: Any = head
        while current in nodes and current not in held and current not in way[-1:]:
            way.append(current)
            current = nodes[current][0]
            if len(way) > len(nodes):
                break  # a circle, which no hash allows
        below = held.get(current) or ({current} & bad if isinstance(current, str) else frozenset())
        for name in reversed(way):
            below = held[name] = frozenset(below | nodes[name][1])
    return held


def _places_of(canonical: Any) -> list[tuple[str, str]]:
    if not isinstance(canonical, str):
        return []
    try:
        value = parse(canonical)
    except (StoreFormatError, UnicodeEncodeError):
        return []
    return list(places(value.get("body", value.get("message"))))
