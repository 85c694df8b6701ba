"""What events refer to: every text and every message, against the hashes by which they are named."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.errors import StoreFormatError
from monitor.store.decoding import parse, references

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEX = frozenset("0123456789abcdef")


@dataclass(slots=True)
class Contents:
    """What was found of texts and messages: ``texts``, ``nodes`` and ``erased`` are counts.

    ``bad_texts`` and ``bad_nodes`` say what is wrong, by the name that events refer to.
    """

    wanted: set[bytes]
    heads: set[bytes]
    redacted: set[bytes]
    texts: int = 0
    nodes: int = 0
    erased: int = 0
    bad_texts: dict[str, str] = field(default_factory=dict)
    bad_nodes: dict[str, str] = field(default_factory=dict)
    nodes_read: bool = True

    def take_nodes(self, rows: Iterable[tuple[Any, Any, Any]]) -> None:
        """Check every message, and note which texts they refer to. Raises what reading raises."""
        parents: dict[bytes, bytes | None] = {}
        self.nodes_read = False
        for node_hash, parent, payload in rows:
            self.nodes += 1
            name, problem = _name(node_hash), ""
            if name is None or not isinstance(payload, str) or _sha256(payload) != node_hash:
                problem = "it was changed: its name is not the hash of what it holds"
            elif name in parents:
                problem = "it is there twice"
            if not problem:
                assert name is not None
                problem = self._node(name, parent, payload, parents)
            if problem:
                self.bad_nodes[_shown(node_hash)] = problem
        self.nodes_read = True
        self._reach(parents)

    def _node(self, name: bytes, parent: Any, payload: str, parents: dict[bytes, bytes | None]) -> str:
        try:
            node = parse(payload)
        except StoreFormatError as damaged:
            return str(damaged)
        if node.get("parent") != parent:
            return "its column parent_hash is not what it holds"
        above = None if parent is None else _name(parent)
        if parent is not None and above is None:
            return "its parent is named by no hash"
        parents[name] = above
        self.wanted.update(found for text in references(node)[0] if (found := _name(text)) is not None)
        return ""

    def _reach(self, parents: dict[bytes, bytes | None]) -> None:
        """Every message is there that a history needs, and none that no history does."""
        reached: set[bytes] = set()
        for head in self.heads:
            current: bytes | None = head
            while current is not None and current not in reached:
                reached.add(current)
                if current not in parents:
                    self.bad_nodes.setdefault(current.hex(), "it is gone, and a history needs it")
                    break
                current = parents[current]
        for name in parents.keys() - reached:
            self.bad_nodes.setdefault(
                name.hex(), "no history of any event needs it: it was inserted, or an event is gone"
            )

    def take_texts(self, rows: Iterable[tuple[Any, Any, Any, Any]]) -> None:
        """Check every text. Raises what reading raises."""
        seen: set[bytes] = set()
        hashes: set[bytes] = set()
        unfindable: list[tuple[str, bytes]] = []
        for commitment, sha256, salt, body in rows:
            self.texts += 1
            name = _name(commitment)
            problem = self._problem(name, seen, (commitment, sha256, salt, body))
            if name is not None:
                seen.add(name)
            if isinstance(sha256, str):
                hashes.add(_name(sha256) or b"")
            elif isinstance(body, str) and not problem:
                unfindable.append((_shown(commitment), bytes.fromhex(_sha256(body))))
            if problem:
                self.bad_texts[_shown(commitment)] = problem
        for shown, digest in unfindable:
            if digest not in hashes:
                self.bad_texts[shown] = "its column sha256 is gone"
        for name in self.wanted - seen:
            self.bad_texts.setdefault(name.hex(), "it is gone, and an event refers to it")

    def _problem(self, name: bytes | None, seen: set[bytes], row: tuple[Any, Any, Any, Any]) -> str:
        body = row[3]
        if name is None:
            return "it is named by no hash"
        if name in seen:
            return "it is there twice"
        if name not in self.wanted and self.nodes_read:
            return "no event refers to it: it was inserted, or an event is gone"
        if problem := _text_problem(*row):
            return problem
        self.erased += body is None
        if body is None and name not in self.redacted:
            return "it is erased, and no redaction on record says so"
        if body is not None and name in self.redacted:
            return "a redaction on record says that it was erased, and it is there"
        return ""


def _text_problem(commitment: Any, sha256: Any, salt: Any, body: Any) -> str:
    if sha256 is None and salt is None and body is None:
        return ""
    if not isinstance(body, str) or not isinstance(salt, (bytes, memoryview)):
        return "it was changed: body and salt are there together, or erased together"
    try:
        data = body.encode()
    except UnicodeEncodeError:
        return "it was changed: it is no UTF-8"
    if hmac.digest(bytes(salt), data, "sha256").hex() != commitment:
        return "it was changed: it is not the text that its name commits to"
    if sha256 is not None and sha256 != hashlib.sha256(data).hexdigest():
        return "its column sha256 is not its hash"
    return ""


def _name(value: Any) -> bytes | None:
    if isinstance(value, str) and len(value) == 64 and _HEX.issuperset(value):
        return bytes.fromhex(value)
    return None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _shown(value: Any) -> str:
    """The name of a row for a message. A name that is none may be anything, a text too, and is not shown."""
    return value if _name(value) else f"(a {type(value).__name__} that is no hash)"


def places(body: Any, below: str = "") -> Iterator[tuple[str, str]]:
    """Where an event's body refers to what: (path in the body, commitment or node hash)."""
    if isinstance(body, list):
        for number, item in enumerate(body):
            yield from places(item, f"{below}[{number}]")
    elif isinstance(body, dict):
        for mark in ("$text", "$json", "$chain"):
            if isinstance(body.get(mark), str):
                yield below, body[mark]
        for name, item in body.items():
            if not name.startswith("$"):
                yield from places(item, f"{below}.{name}" if below else name)
