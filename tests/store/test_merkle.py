"""The tree against RFC 9162, written down a second time as its text has it: definitions, and verifiers of proofs."""

from __future__ import annotations

import hashlib

import pytest

from monitor.store.merkle import EMPTY_ROOT, Frontier, Tree, leaf_hash, node_hash

LEAVES = [leaf_hash(bytes([number])) for number in range(66)]


def head(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + head(leaves[:split]) + head(leaves[split:])).digest()


def is_included(index: int, size: int, leaf: bytes, path: list[bytes], root: bytes) -> bool:
    """Section 2.1.3.2."""
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = hashlib.sha256(b"\x01" + p + r).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = hashlib.sha256(b"\x01" + r + p).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def is_consistent(first: int, second: int, one: bytes, two: bytes, path: list[bytes]) -> bool:
    """Section 2.1.4.2, for 0 < first <= second."""
    if first == second:
        return not path and one == two
    path = list(path)
    if not path:
        return False
    if first & (first - 1) == 0:
        path.insert(0, one)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr = hashlib.sha256(b"\x01" + c + fr).digest()
            sr = hashlib.sha256(b"\x01" + c + sr).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = hashlib.sha256(b"\x01" + sr + c).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == one and sr == two


def test_roots_are_those_of_the_rfc_however_they_are_computed() -> None:
    frontier = Frontier()
    assert frontier.root() == EMPTY_ROOT == head([])
    for size, leaf in enumerate(LEAVES, 1):
        frontier.add(leaf)
        root = head(LEAVES[:size])
        assert frontier.root() == Tree(LEAVES[:size]).root() == root
        assert Frontier.read(frontier.size, frontier.packed).root() == root
        assert Tree(LEAVES).beginning(size) == root


def test_every_inclusion_proof_is_accepted_and_no_other_leaf_is() -> None:
    for size in range(1, len(LEAVES)):
        tree, root = Tree(LEAVES[:size]), head(LEAVES[:size])
        for index in range(size):
            path = tree.inclusion(index)
            assert is_included(index, size, LEAVES[index], path, root)
            assert not is_included(index, size, LEAVES[index + 1], path, root)
            assert not is_included(index, size, LEAVES[index], [*path, root], root)
            if path:
                assert not is_included(index, size, LEAVES[index], path[:-1], root)


def test_every_consistency_proof_is_accepted_and_no_other_beginning_is() -> None:
    for second in range(1, len(LEAVES)):
        tree, two = Tree(LEAVES[:second]), head(LEAVES[:second])
        for first in range(1, second + 1):
            path = tree.consistency(first)
            assert is_consistent(first, second, head(LEAVES[:first]), two, path)
            assert not is_consistent(first, second, head(LEAVES[1 : first + 1]), two, path)


def test_what_is_no_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="2 subtrees do not make a tree of 4 leaves"):
        Frontier(4, [EMPTY_ROOT, EMPTY_ROOT])
    with pytest.raises(ValueError, match="leaf 3 is not in a tree of 3"):
        Tree(LEAVES[:3]).inclusion(3)
    with pytest.raises(ValueError, match="cannot have grown out of one of 4"):
        Tree(LEAVES[:3]).consistency(4)
    assert Tree(LEAVES[:3]).consistency(0) == []
    assert node_hash(b"a", b"b") != leaf_hash(b"ab")
