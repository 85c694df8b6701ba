"""Conditions: ``selection and not (filter or 1 of exception_*)``, with Sigma's words and precedence.

From binding tightest to loosest: parentheses, ``1 of`` / ``all of``, ``not``, ``and``, ``or``. ``them`` is every selection
whose name does not begin with ``_``.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from monitor.policy.logic import Truth, conjoin, disjoin, negate
from monitor.policy.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEYWORDS = frozenset({"and", "or", "not", "of", "them", "all", "any"})
_MAX_TOKENS = 500
_MAX_DEPTH = 50
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-*")


@dataclass(frozen=True, slots=True)
class Ref:
    """The selection of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Not:
    """``not part``."""

    part: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of ``parts``."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of ``parts``."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = Ref | Not | And | Or


class ConditionError(ValueError):
    """The condition is wrong at ``offset`` (codepoints from its start); ``others`` are what else is wrong with it."""

    others: tuple[ConditionError, ...] = ()

    def __init__(self, offset: int, problem: str, fix: str) -> None:
        self.offset = offset
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem} {fix}")


def evaluate(condition: Condition, truth_of: Callable[[str], Truth]) -> Truth:
    """The condition's truth, given that of each selection."""
    if isinstance(condition, Ref):
        return truth_of(condition.name)
    if isinstance(condition, Not):
        return negate(evaluate(condition.part, truth_of))
    operator = conjoin if isinstance(condition, And) else disjoin
    return operator([evaluate(part, truth_of) for part in condition.parts])


def asserted(condition: Condition, *, positive: bool = True) -> tuple[str, ...]:
    """The selections that stand under an even number of ``not``: those whose text is evidence for a match."""
    if isinstance(condition, Ref):
        return (condition.name,) if positive else ()
    if isinstance(condition, Not):
        return asserted(condition.part, positive=not positive)
    return tuple(name for part in condition.parts for name in asserted(part, positive=positive))


def references(condition: Condition) -> frozenset[str]:
    """Every selection that the condition reads."""
    if isinstance(condition, Ref):
        return frozenset({condition.name})
    if isinstance(condition, Not):
        return references(condition.part)
    return frozenset().union(*(references(part) for part in condition.parts))


def render(condition: Condition) -> str:
    """The condition in one canonical form, whatever its spacing and parentheses were."""
    if isinstance(condition, Ref):
        return condition.name
    if isinstance(condition, Not):
        return f"not {render(condition.part)}"
    word = " and " if isinstance(condition, And) else " or "
    return "(" + word.join(render(part) for part in condition.parts) + ")"


def parse(text: str, selections: Sequence[str]) -> Condition:
    """Parse a condition over ``selections``. Raises ConditionError."""
    return _Parser(_tokens(text), tuple(selections), len(text)).parse()


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    offset: int


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    offset = 0
    while offset < len(text):
        start = offset
        if text[offset].isspace():
            offset += 1
            continue
        if text[offset] in "()":
            offset += 1
        else:
            while offset < len(text) and text[offset] in _NAME:
                offset += 1
        if offset == start:
            problem = f"`{text[offset]}` has no meaning in a condition."
            raise ConditionError(
                offset, problem, "Use selection names, and, or, not, `1 of`, `all of` and parentheses."
            )
        tokens.append(_Token(text[start:offset], start))
    if len(tokens) > _MAX_TOKENS:
        raise ConditionError(0, f"the condition has more than {_MAX_TOKENS} words.", "Split the rule.")
    return tokens


class _Parser:
    """Recursive descent, one method for each level of precedence."""

    def __init__(self, tokens: list[_Token], selections: tuple[str, ...], length: int) -> None:
        self._tokens = tokens
        self._selections = selections
        self._length = length
        self._next = 0
        self._depth = 0
        self._unknown: list[ConditionError] = []  # names that stand for nothing: the grammar goes on behind them

    def parse(self) -> Condition:
        condition = None
        try:
            condition = self._or()
            if token := self._peek():
                fix = "Join two parts with `and` or `or`, and close what you opened."
                raise ConditionError(token.offset, f"`{token.text}` does not fit here.", fix)
        except ConditionError as exc:
            self._unknown.append(exc)
        if self._unknown or condition is None:
            first = self._unknown[0]
            first.others = tuple(self._unknown[1:])
            raise first
        return condition

    def _peek(self, ahead: int = 0) -> _Token | None:
        index = self._next + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def _accept(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.text != word:
            return False
        self._next += 1
        return True

    def _or(self) -> Condition:
        parts = [self._and()]
        while self._accept("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self) -> Condition:
        parts = [self._not()]
        while self._accept("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self) -> Condition:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ConditionError(0, f"more than {_MAX_DEPTH} levels of nesting.", "Simplify the condition.")
        part = Not(self._not()) if self._accept("not") else self._primary()
        self._depth -= 1
        return part

    def _primary(self) -> Condition:
        token = self._peek()
        if token is None:
            raise ConditionError(self._length, "the condition ends too soon.", "A selection's name is missing here.")
        following = self._peek(1)
        if following is not None and following.text == "of":
            return self._quantified(token)
        self._next += 1
        if token.text == "(":
            inner = self._or()
            if not self._accept(")"):
                raise ConditionError(token.offset, "this parenthesis is never closed.", "Add `)`.")
            return inner
        return Ref(self._selection(token))

    def _selection(self, token: _Token) -> str:
        if token.text in self._selections:
            return token.text
        if token.text in KEYWORDS or token.text == ")":
            raise ConditionError(token.offset, f"`{token.text}` does not fit here.", "A selection's name belongs here.")
        if token.text.lower() in KEYWORDS:
            raise ConditionError(token.offset, f"`{token.text}` is not known.", f"Write `{token.text.lower()}`.")
        if "*" in token.text:
            fix = f"Write `1 of {token.text}` or `all of {token.text}`."
            raise ConditionError(token.offset, f"`{token.text}` stands for several selections.", fix)
        problem = f"there is no selection `{token.text}`."
        self._unknown.append(ConditionError(token.offset, problem, suggestion(token.text, self._selections)))
        return token.text

    def _quantified(self, quantifier: _Token) -> Condition:
        if quantifier.text not in {"1", "any", "all"}:
            fix = "Write `1 of …` or `all of …`; other numbers are not supported."
            raise ConditionError(quantifier.offset, f"`{quantifier.text} of` is not known.", fix)
        self._next += 2
        token = self._peek()
        if token is None:
            raise ConditionError(self._length, "the condition ends after `of`.", "Add `them` or a name such as `sel*`.")
        self._next += 1
        parts = tuple(Ref(name) for name in self._matching(token))
        if len(parts) == 1:
            return parts[0]
        return And(parts) if quantifier.text == "all" else Or(parts)

    def _matching(self, token: _Token) -> list[str]:
        if token.text == "them":
            names = [name for name in self._selections if not name.startswith("_")]
        elif "*" in token.text:
            names = [name for name in self._selections if fnmatch.fnmatchcase(name, token.text)]
        else:
            fix = "Write `them`, or a name with a star such as `sel*`; one selection needs no `of`."
            raise ConditionError(token.offset, f"`of {token.text}` names one selection.", fix)
        if not names:
            fix = suggestion(token.text.replace("*", ""), self._selections)
            self._unknown.append(ConditionError(token.offset, f"no selection fits `{token.text}`.", fix))
            return [token.text]
        return names
