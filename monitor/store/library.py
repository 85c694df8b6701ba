"""The texts and message histories that a set of events refers to, fetched together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text

from monitor.errors import StoreFormatError
from monitor.store.decoding import decode_message, parse, references, refers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlmodel import Session

    from monitor.records import Message

_HISTORIES = text("""
    WITH RECURSIVE chain (node_hash) AS (
      SELECT node_hash FROM message_nodes WHERE node_hash IN :heads
      UNION
      SELECT n.parent_hash FROM message_nodes AS n JOIN chain ON n.node_hash = chain.node_hash
      WHERE n.parent_hash IS NOT NULL
    )
    SELECT n.node_hash, n.payload FROM chain JOIN message_nodes AS n ON n.node_hash = chain.node_hash
""").bindparams(bindparam("heads", expanding=True))
_TEXTS = text("SELECT commitment, body FROM texts WHERE commitment IN :some").bindparams(
    bindparam("some", expanding=True)
)
_CHUNK = 500  # well below the number of parameters that any SQLite build allows in one statement


class LoadedLibrary:
    """Answers ``decoding.Library`` from what was loaded; each message is decoded once, however many histories share it."""

    def __init__(self, texts: dict[str, str | None], nodes: dict[str, dict[str, Any]]) -> None:
        self._texts = texts
        self._nodes = nodes
        self._messages: dict[str, Message] = {}
        self._has_erased = None in texts.values()

    def text(self, commitment: str) -> str | None:
        """The text behind a commitment, None where it was erased. Raises StoreFormatError if there never was one."""
        try:
            return self._texts[commitment]
        except KeyError:
            raise StoreFormatError(
                f"the store is damaged: an event commits to text {commitment}, which is not there"
            ) from None

    def history(self, node_hash: str) -> tuple[Message, ...]:
        """The messages up to and including this node. Raises StoreFormatError if a node is missing."""
        backwards: list[Message] = []
        current: str | None = node_hash
        while current is not None:
            node = self._nodes.get(current)
            if node is None:
                raise StoreFormatError(f"the store is damaged: message node {current} is not there")
            if current not in self._messages:
                self._messages[current] = decode_message(node, self)
            backwards.append(self._messages[current])
            current = node["parent"]
        return tuple(reversed(backwards))

    def erased_in(self, event: dict[str, Any]) -> frozenset[str]:
        """The commitments to texts that were erased, of those that a parsed event and its history refer to."""
        if not self._has_erased or not refers(event):
            return frozenset()
        texts, heads = references(event)
        for head in heads:
            current: str | None = head
            while current is not None:
                node = self._nodes[current]
                texts |= references(node)[0]
                current = node["parent"]
        return frozenset(commitment for commitment in texts if self._texts[commitment] is None)


def load(session: Session, events: Iterable[dict[str, Any]]) -> LoadedLibrary:
    """Fetch everything that the parsed ``events`` refer to, each text and each message once."""
    commitments: set[str] = set()
    heads: set[str] = set()
    for event in filter(refers, events):
        texts, chains = references(event)
        commitments |= texts
        heads |= chains
    nodes = {node_hash: parse(payload) for node_hash, payload in load_nodes(session, heads).items()}
    for node in nodes.values():
        commitments |= references(node)[0]
    return LoadedLibrary(load_texts(session, commitments), nodes)


def load_nodes(session: Session, heads: set[str]) -> dict[str, str]:
    """The payloads of the nodes of all histories that end in ``heads``, by hash: one recursive query for each few heads."""
    connection = session.connection()
    return {
        node_hash: payload
        for some in _chunks(sorted(heads))
        for node_hash, payload in connection.execute(_HISTORIES, {"heads": some}).all()
    }


def load_texts(session: Session, commitments: set[str]) -> dict[str, str | None]:
    """The bodies of texts by their commitments, None where one was erased; what is not there is left out."""
    connection = session.connection()
    return {
        commitment: body
        for some in _chunks(sorted(commitments))
        for commitment, body in connection.execute(_TEXTS, {"some": some}).all()
    }


def _chunks(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
