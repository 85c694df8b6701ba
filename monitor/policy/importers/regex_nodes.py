"""A regular expression as a tree, whatever it was written in, and how RE2 writes it.

Trees are compared by value, and built with ``seq``, ``alt`` and ``repeat``, which keep them small and in one form: what
the rewriting of lookarounds derives from them is then finitely many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from monitor.policy.importers.charset import CharSet, class_text

MAX_REPEAT = 1_000
"""RE2's limit for one repetition."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set. ``text`` is how RE2 writes it: as derived, case counts; as written, the rule's flags do."""

    chars: CharSet
    text: str

    @classmethod
    def exactly(cls, chars: CharSet) -> Chars:
        """These codepoints and no other case of them, whatever the flags are."""
        text = class_text(chars)
        return cls(chars, text if text == "(?s:.)" else f"(?-i:{text})" if _has_case(chars) else text)


def _has_case(chars: CharSet) -> bool:
    smaller = min(chars, chars.complement(), key=lambda half: half.size)
    if smaller.size > 500:
        return True
    return any(chr(code).lower() != chr(code).upper() for low, high in smaller.ranges for code in range(low, high + 1))


@dataclass(frozen=True, slots=True)
class Assert:
    r"""A place: the start or the end of the text, the edge of a word (``\b``), or none (``\B``)."""

    kind: Literal["start", "end", "edge", "no_edge"]


@dataclass(frozen=True, slots=True)
class Seq:
    """One after the other; of nothing, it is the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """Any one of them; of none, it never matches."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``part``, ``least`` to ``most`` times (None: without end)."""

    part: Node
    least: int
    most: int | None
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What must, or must not, follow (``ahead``) or come before a place."""

    part: Node
    ahead: bool
    negative: bool


Node: TypeAlias = Chars | Assert | Seq | Alt | Repeat | Look

EMPTY = Seq(())
NEVER = Alt(())
START, END, EDGE, NO_EDGE = Assert("start"), Assert("end"), Assert("edge"), Assert("no_edge")


def seq(*parts: Node) -> Node:
    """One after the other, flattened."""
    flat: list[Node] = []
    for part in parts:
        if part == NEVER:
            return NEVER
        flat.extend(part.parts if isinstance(part, Seq) else [part])
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def alt(*parts: Node) -> Node:
    """Any of them, flattened, each once, in their order."""
    flat: dict[Node, None] = {}
    for part in parts:
        flat.update(dict.fromkeys(part.parts if isinstance(part, Alt) else [part]))
    return next(iter(flat)) if len(flat) == 1 else Alt(tuple(flat))


def repeat(part: Node, least: int, most: int | None, *, lazy: bool = False) -> Node:
    """``part`` so many times."""
    if most == 0 or part == EMPTY:
        return EMPTY
    if part == NEVER:
        return EMPTY if least == 0 else NEVER
    if (least, most) == (1, 1):
        return part
    return Repeat(part, least, most, lazy)


def to_re2(node: Node) -> str:
    """The pattern as RE2 writes it. No lookaround may be left."""
    match node:
        case Chars():
            return node.text
        case Assert():
            return {"start": r"\A", "end": r"\z", "edge": r"\b", "no_edge": r"\B"}[node.kind]
        case Seq():
            return "".join(f"(?:{to_re2(part)})" if isinstance(part, Alt) else to_re2(part) for part in node.parts)
        case Alt():
            return "|".join(map(to_re2, node.parts)) if node.parts else r"[^\x{0}-\x{10ffff}]"
        case Repeat():
            return _repeat_text(node)
        case Look():
            raise ValueError("a lookaround cannot be written for RE2")


def _repeat_text(node: Repeat) -> str:
    inner = to_re2(node.part)
    if not isinstance(node.part, Chars):
        inner = f"(?:{inner})"
    lazy = "?" if node.lazy else ""
    return "".join(inner + count + lazy for count in _counts(node.least, node.most))


def _counts(least: int, most: int | None) -> list[str]:
    """One count, or several after each other where RE2 allows no number so large."""
    simple = {(0, None): "*", (1, None): "+", (0, 1): "?"}
    if (least, most) in simple:
        return [simple[least, most]]
    counts: list[str] = []
    while least > MAX_REPEAT:
        counts.append(f"{{{MAX_REPEAT}}}")
        least -= MAX_REPEAT
        most = None if most is None else most - MAX_REPEAT
    if most is None:
        return [*counts, f"{{{least},}}"]
    counts.append(f"{{{least}}}" if least == most else f"{{{least},{min(most, MAX_REPEAT)}}}")
    most -= min(most, MAX_REPEAT)
    while most > 0:
        counts.append(f"{{0,{min(most, MAX_REPEAT)}}}")
        most -= min(most, MAX_REPEAT)
    return counts
