"""What is searched: ``budget "not told" test* (a OR b) NOT c``, read once and written for either database.

Words beside each other must all be there; ``"…"`` is a phrase, ``word*`` the beginning of a word, ``OR``, ``AND`` and
``NOT`` are capitals, parentheses group. Nothing that is typed reaches a database as a query of its own language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import re2

from monitor.canonical import escape_text
from monitor.errors import ConfigError
from monitor.store.search.words import words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_PHRASE = 32  # words
_DEEPEST, _MOST = 32, 64
_TOKEN = re2.compile(r'(?s)\s+|"(?P<phrase>[^"]*)"(?P<star>\*?)|(?P<mark>[()])|(?P<word>[^\s()"]+)|(?P<quote>")')


class SearchError(ConfigError):
    """What is searched cannot be read."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that stand beside each other; with ``prefix`` the last one is the beginning of a word."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Together:
    """All of ``wanted`` and none of ``unwanted``."""

    wanted: tuple[Query, ...]
    unwanted: tuple[Query, ...] = ()


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of ``parts``."""

    parts: tuple[Query, ...]


Query = Phrase | Together | Either


def parse(text: str) -> Query:
    """Read what is searched. Raises SearchError, which says what is wrong and what to write."""
    return _Parser(escape_text(text)).query()


def phrases(query: Query, *, wanted: bool = True) -> Iterator[Phrase]:
    """The phrases that are looked for; not those that must not be there."""
    if isinstance(query, Phrase):
        yield query
    elif isinstance(query, Either):
        for part in query.parts:
            yield from phrases(part, wanted=wanted)
    else:
        for part in query.wanted:
            yield from phrases(part, wanted=wanted)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, bool]] = []
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            assert found is not None
            position = found.end()
            if found["quote"]:
                raise SearchError('a phrase begins with " and does not end; write "…" around it')
            if found["phrase"] is not None:
                self._tokens.append(("phrase", found["phrase"], bool(found["star"])))
            elif found["mark"]:
                self._tokens.append((found["mark"], found["mark"], False))
            elif found["word"]:
                word = found["word"]
                kind = word if word in {"AND", "OR", "NOT"} else "word"
                self._tokens.append((kind, word.rstrip("*"), word.endswith("*")))
        self._next = 0
        self._phrases = 0

    def query(self) -> Query:
        if not self._tokens:
            raise SearchError('expected words, a "phrase" or word*, found nothing')
        found = self._either(0)
        if self._next < len(self._tokens):
            raise SearchError(f"a {self._tokens[self._next][1]!r} has nothing that it closes; take it away")
        return found

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _either(self, depth: int) -> Query:
        if depth > _DEEPEST:
            raise SearchError(f"parentheses are more than {_DEEPEST} deep; search for less at once")
        parts = [self._together(depth)]
        while self._peek() == "OR":
            self._next += 1
            parts.append(self._together(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _together(self, depth: int) -> Query:
        wanted: list[Query] = []
        unwanted: list[Query] = []
        while self._peek() not in {"", ")", "OR"}:
            if self._peek() == "AND":
                if not wanted:
                    raise SearchError("AND needs something before it")
                self._next += 1
                if self._peek() in {"", ")", "OR", "AND"}:
                    raise SearchError("AND needs something behind it")
            if self._peek() == "NOT":
                self._next += 1
                unwanted.append(self._one(depth, "NOT"))
            else:
                wanted.append(self._one(depth, ""))
        if not wanted and unwanted:
            raise SearchError(
                "NOT alone would find nearly everything; write beside it what must be there: word NOT other"
            )
        if not wanted:
            raise SearchError("expected words beside OR and in parentheses, found nothing")
        return wanted[0] if len(wanted) == 1 and not unwanted else Together(tuple(wanted), tuple(unwanted))

    def _one(self, depth: int, before: str) -> Query:
        kind = self._peek()
        if kind in {"", ")", "AND", "OR", "NOT"}:
            raise SearchError(f"{before or 'this'} needs words behind it, found {kind or 'the end'}")
        _, text, prefix = self._tokens[self._next]
        self._next += 1
        if kind == "(":
            inner = self._either(depth + 1)
            if self._peek() != ")":
                raise SearchError("a ( has no ) that closes it")
            self._next += 1
            return inner
        return self._phrase(text, prefix=prefix)

    def _phrase(self, text: str, *, prefix: bool) -> Phrase:
        words = tuple(word.text for word in words_of(text))
        self._phrases += 1
        if not words:
            raise SearchError(f"{text!r} has no letter and no digit in it; those are what is indexed")
        if len(words) > LONGEST_PHRASE:
            raise SearchError(f"a phrase has at most {LONGEST_PHRASE} words, this one {len(words)}")
        if self._phrases > _MOST:
            raise SearchError(f"at most {_MOST} words and phrases can be searched at once")
        return Phrase(words, prefix)


# ------------------------------------------------------------------------------------------------ in the databases' words


def to_fts5(query: Query) -> str:
    """The query in the language of SQLite's FTS5. Words hold letters, marks and digits alone: nothing in them is syntax."""
    if isinstance(query, Phrase):
        return f'"{" ".join(query.words)}"{" *" if query.prefix else ""}'
    if isinstance(query, Either):
        return "(" + " OR ".join(to_fts5(part) for part in query.parts) + ")"
    text = "(" + " AND ".join(to_fts5(part) for part in query.wanted) + ")"
    for part in query.unwanted:
        text = f"({text} NOT {to_fts5(part)})"
    return text


def to_tsquery(phrase: Phrase) -> str:
    """A phrase as a ``tsquery`` of PostgreSQL's."""
    words = [f"'{word}'" for word in phrase.words]
    return " <-> ".join([*words[:-1], words[-1] + (":*" if phrase.prefix else "")])


def to_having(query: Query, given: list[str]) -> str:
    """The query as a condition over all parts of a text, ``given`` getting the parameters in their order."""
    if isinstance(query, Phrase):
        given.append(to_tsquery(query))
        return "bool_or(w.words @@ ?::tsquery)"
    if isinstance(query, Either):
        return "(" + " OR ".join(to_having(part, given) for part in query.parts) + ")"
    wanted = [to_having(part, given) for part in query.wanted]
    return "(" + " AND ".join([*wanted, *(f"NOT {to_having(part, given)}" for part in query.unwanted)]) + ")"
