"""Proofs to hand out: that events are in the log that was signed, and that a later log begins with an earlier one.

Whoever checks one needs RFC 9162, the operator's public key, and nothing of ours: see ``docs/proving.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.audit.integrity.notes import Verifier, parse_checkpoint
from monitor.errors import ConfigError, StoreFormatError
from monitor.store.merkle import Tree

if TYPE_CHECKING:
    from monitor.store import Store
    from monitor.store.leaf_log import StoredCheckpoint


def inclusion(store: Store, run_id: str, span_id: str = "", *, verifier: Verifier | None = None) -> dict[str, Any]:
    """Prove that the events of a run, or of one subcall of it, are in the log under the newest checkpoint.

    Raises:
        CatalogError: there is no such run.
        ConfigError: there is no checkpoint over all of them yet.
        StoreFormatError: the log is not what the checkpoint says.
    """
    events = [event for event in store.events(run_id) if not span_id or event.span_id == span_id]
    checkpoint = _newest(store, verifier)
    late = sum(event.leaf_index is None or event.leaf_index >= checkpoint.tree_size for event in events)
    if late:
        raise ConfigError(
            f"{late} of these events came after the newest checkpoint, over {checkpoint.tree_size} leaves; make a new one "
            "first: monitor audit checkpoint"
        )
    tree = _tree(store, checkpoint, verifier)
    return {
        "run_id": run_id,
        "checkpoint": checkpoint.note,
        "events": [
            {
                "leaf_index": event.leaf_index,
                "canonical": event.canonical.decode(),
                "inclusion": [node.hex() for node in tree.inclusion(event.leaf_index)],
            }
            for event in events
            if event.leaf_index is not None
        ],
    }


def consistency(store: Store, earlier: str, *, verifier: Verifier | None = None) -> dict[str, Any]:
    """Prove that the log under the newest checkpoint begins with the one under ``earlier``, a signed note.

    Raises:
        NoteError: ``earlier`` is no checkpoint, or not one of this key.
        ConfigError: there is no checkpoint in the store, or only smaller ones.
        StoreFormatError: the log is not what one of the two says: nothing can be proved.
    """
    first = parse_checkpoint(earlier, verifier)
    checkpoint = _newest(store, verifier)
    if checkpoint.tree_size < first.size:
        raise ConfigError(
            f"the newest checkpoint in the store is over {checkpoint.tree_size} leaves, the one given over {first.size}; "
            "make a new one first: monitor audit checkpoint"
        )
    tree = _tree(store, checkpoint, verifier)
    if tree.beginning(first.size) != first.root:
        raise StoreFormatError(
            f"the log does not begin with the {first.size} leaves of the checkpoint given: there is no such proof; "
            "`monitor audit verify --against` names what is wrong"
        )
    return {
        "first": earlier,
        "second": checkpoint.note,
        "consistency": [node.hex() for node in tree.consistency(first.size)],
    }


def _newest(store: Store, verifier: Verifier | None) -> StoredCheckpoint:
    found = [row for row in store.leaves.checkpoints() if verifier is None or row.origin == verifier.name]
    if not found:
        raise ConfigError("there is no checkpoint in this store to prove anything against: monitor audit checkpoint")
    return max(found, key=lambda row: row.tree_size)


def _tree(store: Store, checkpoint: StoredCheckpoint, verifier: Verifier | None) -> Tree:
    signed = parse_checkpoint(checkpoint.note, verifier)
    tree = Tree(store.leaves.hashes(signed.size))
    if tree.root() != signed.root:
        raise StoreFormatError(
            f"the log is not what checkpoint {checkpoint.number} says: nothing can be proved; `monitor audit verify` names "
            "what is wrong"
        )
    return tree
