"""A regular expression as a tree, whatever it was written in, and how RE2 writes it.

Trees are compared by value, and built with ``seq``, ``alt`` and ``repeat``, which keep them small and in one form: what
the rewriting of lookarounds derives from them is then finitely many. Each node knows its size and its hash from when it
was made, for parts are shared, and a tree of few nodes can stand for one of very many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from monitor.policy.importers.charset import CASED, CharSet, class_text

MAX_REPEAT = 1_000
"""RE2's limit for one repetition."""


@dataclass(frozen=True, slots=True)
class _Sized:
    """``size`` counts the nodes of the tree, a shared part as often as it occurs."""

    size: int = field(init=False, compare=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)

    def __hash__(self) -> int:
        return self._hash

    def _seal(self, size: int, *values: object) -> None:
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "_hash", hash((type(self).__name__, *values)))


@dataclass(frozen=True, slots=True)
class Chars(_Sized):
    """One character of a set. ``text`` is how RE2 writes it: as derived, case counts; as written, the rule's flags do."""

    chars: CharSet
    text: str

    def __post_init__(self) -> None:
        self._seal(1, self.chars, self.text)

    __hash__ = _Sized.__hash__

    @classmethod
    def exactly(cls, chars: CharSet) -> Chars:
        """These codepoints and no other case of them, whatever the flags are."""
        text = class_text(chars)
        return cls(chars, text if text == "(?s:.)" else f"(?-i:{text})" if _has_case(chars) else text)


def _has_case(chars: CharSet) -> bool:
    """Whether some letters are in it and others are not."""
    return bool(chars & CASED) and bool(CASED - chars)


@dataclass(frozen=True, slots=True)
class Assert(_Sized):
    r"""A place: the start or the end of the text, the edge of a word (``\b``), or none (``\B``)."""

    kind: Literal["start", "end", "edge", "no_edge"]

    def __post_init__(self) -> None:
        self._seal(1, self.kind)

    __hash__ = _Sized.__hash__


@dataclass(frozen=True, slots=True)
class Seq(_Sized):
    """One after the other; of nothing, it is the empty text."""

    parts: tuple[Node, ...]

    def __post_init__(self) -> None:
        self._seal(1 + sum(part.size for part in self.parts), self.parts)

    __hash__ = _Sized.__hash__


@dataclass(frozen=True, slots=True)
class Alt(_Sized):
    """Any one of them; of none, it never matches."""

    parts: tuple[Node, ...]

    def __post_init__(self) -> None:
        self._seal(1 + sum(part.size for part in self.parts), self.parts)

    __hash__ = _Sized.__hash__


@dataclass(frozen=True, slots=True)
class Repeat(_Sized):
    """``part``, ``least`` to ``most`` times (None: without end)."""

    part: Node
    least: int
    most: int | None
    lazy: bool = False

    def __post_init__(self) -> None:
        self._seal(1 + self.part.size, self.part, self.least, self.most, self.lazy)

    __hash__ = _Sized.__hash__


@dataclass(frozen=True, slots=True)
class Look(_Sized):
    """What must, or must not, follow (``ahead``) or come before a place."""

    part: Node
    ahead: bool
    negative: bool

    def __post_init__(self) -> None:
        self._seal(1 + self.part.size, self.part, self.ahead, self.negative)

    __hash__ = _Sized.__hash__


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


def has_look(node: Node) -> bool:
    """Whether there is a lookaround in it."""
    match node:
        case Look():
            return True
        case Seq() | Alt():
            return any(map(has_look, node.parts))
        case Repeat():
            return has_look(node.part)
        case _:
            return False


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
