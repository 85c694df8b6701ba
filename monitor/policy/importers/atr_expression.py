"""``condition`` of an Agent Threat Rule with named conditions: ``a AND (b OR NOT c)``, as a condition of ours.

Words bind as in the peer's engine: ``OR`` least, then ``AND``; a ``NOT`` at the beginning of a part negates all of
the part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

_MAX_DEPTH = 50
_KEYWORDS = {"and", "or", "not", "1", "all", "of", "them"}


class ExpressionError(Exception):
    """The expression cannot be read, or cannot be said without a condition that is missing."""


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Joined:
    word: Literal["and", "or", "not"]
    parts: tuple[_Tree, ...]


_Tree: TypeAlias = _Name | _Joined


def translate(text: str, names: Mapping[str, str], missing: Set[str]) -> str:
    """The expression with our ``names``; a condition that is ``missing`` never holds. "" where nothing is left.

    Raises ExpressionError.
    """
    tree = _read(text, names, 0)
    left = _without(tree, missing, negated=False)
    return "" if left is None else _written(left, names, outer="or")


def names_in(condition: str) -> list[str]:
    """The selections that a condition of ours names one by one."""
    words = condition.replace("(", " ").replace(")", " ").split()
    return [word for word in words if word not in _KEYWORDS]


def _read(text: str, names: Mapping[str, str], depth: int) -> _Tree:
    text = text.strip()
    if depth > _MAX_DEPTH:
        raise ExpressionError(f"more than {_MAX_DEPTH} parts inside each other")
    if text in names:
        return _Name(text)
    if text[:4] in {"NOT ", "not "}:
        return _Joined("not", (_read(text[4:], names, depth + 1),))
    for word in ("or", "and"):
        parts = _split(text, word)
        if len(parts) > 1:
            return _Joined("or" if word == "or" else "and", tuple(_read(part, names, depth + 1) for part in parts))
    if text.startswith("(") and text.endswith(")"):
        return _read(text[1:-1], names, depth + 1)
    raise ExpressionError(f"`{text[:80]}` names no condition of this rule")


def _split(text: str, word: str) -> list[str]:
    """The parts between ``word`` outside of parentheses."""
    parts, depth, begin, at = [], 0, 0, 0
    while at < len(text):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0 and text[at : at + len(word) + 2] in {f" {word} ", f" {word.upper()} "}:
            parts.append(text[begin:at])
            begin = at = at + len(word) + 2
            continue
        at += 1
    return [*parts, text[begin:]]


def _without(tree: _Tree, missing: Set[str], *, negated: bool) -> _Tree | None:
    """The tree where what is missing never holds, or None where it then never holds itself."""
    if isinstance(tree, _Name):
        if tree.name not in missing:
            return tree
        if negated:
            raise ExpressionError(f"`{tree.name}` could not be taken over, and stands behind a NOT")
        return None
    parts = [_without(part, missing, negated=negated or tree.word == "not") for part in tree.parts]
    left = tuple(part for part in parts if part is not None)
    if not left or (tree.word == "and" and len(left) < len(parts)):
        return None
    return left[0] if len(left) == 1 and tree.word != "not" else _Joined(tree.word, left)


def _written(tree: _Tree, names: Mapping[str, str], outer: str) -> str:
    if isinstance(tree, _Name):
        return names[tree.name]
    if tree.word == "not":
        return f"not {_written(tree.parts[0], names, outer='not')}"
    text = f" {tree.word} ".join(_written(part, names, outer=tree.word) for part in tree.parts)
    return text if tree.word == outer else f"({text})" if outer != "or" or tree.word != "and" else text
