"""The words of a statement, as PostgreSQL's own lexer tells them apart, and what of them a question may say.

Where a statement could be read in two ways it is refused: strings with backslashes (``E'…'``), Unicode escapes (``U&…``)
and dollar quotes are no part of what a question needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import re2

from monitor.store.asking.answers import QueryError
from monitor.store.asking.views import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

_HIDDEN = frozenset({"events", "texts", "message_nodes", "pending_leaves", "monitor_schema", "information_schema"})
_BEFORE_PARENTHESIS = frozenset(
    [
        "all",
        "and",
        "any",
        "array",
        "as",
        "between",
        "by",
        "case",
        "cast",
        "cube",
        "distinct",
        "else",
        "except",
        "exists",
        "filter",
        "from",
        "group",
        "having",
        "ilike",
        "in",
        "intersect",
        "is",
        "join",
        "lateral",
        "like",
        "limit",
        "materialized",
        "not",
        "offset",
        "on",
        "or",
        "over",
        "partition",
        "recursive",
        "rollup",
        "row",
        "select",
        "sets",
        "similar",
        "some",
        "then",
        "union",
        "using",
        "values",
        "when",
        "where",
        "with",
        "escape",
        "to",
    ]
)
_TOKEN = re2.compile(
    r"(?s)(?P<space>\s+|--[^\n\r]*)|(?P<open>/\*)|(?P<string>'(?:[^']|'')*')|(?P<quoted>\"(?:[^\"]|\"\")+\")"
    r"|(?P<word>[A-Za-z_\x{80}-\x{10ffff}][A-Za-z0-9_$\x{80}-\x{10ffff}]*)"
    r"|(?P<parameter>:[A-Za-z_][A-Za-z0-9_]*)|(?P<cast>::)|(?P<number>[0-9][0-9A-Za-z_.]*)|(?P<other>.)"
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str  # a word folded as PostgreSQL folds it


def prepared(sql: str, parameters: Mapping[str, object]) -> str:
    """Return the statement for psycopg, its ``:name`` as ``%(name)s``. Raises QueryError for what may not be asked."""
    tokens: list[_Token] = []
    written: list[str] = []
    position = 0
    while position < len(sql):
        found = _TOKEN.match(sql, position)
        assert found is not None, "the last alternative takes anything"
        kind, text = found.lastgroup or "other", found.group()
        if kind == "open":
            position = _after_comment(sql, position)
            written.append(" ")
            continue
        position = found.end()
        if kind == "space":
            written.append("\n" if text.startswith("--") else text)
            continue
        token = _Token(kind, _folded(kind, text))
        _check(token, tokens)
        if kind == "parameter" and token.text not in parameters:
            raise QueryError(f"the query has :{token.text}, and no value was given; add --param {token.text}=VALUE")
        written.append(f"%({token.text})s" if kind == "parameter" else text.replace("%", "%%"))
        tokens.append(token)
    if not tokens:
        raise QueryError("expected one SELECT, found nothing")
    if tokens[-1].text == ";":
        raise QueryError("expected one statement without a semicolon at its end")
    return "".join(written)


def _folded(kind: str, text: str) -> str:
    if kind == "quoted":
        return text[1:-1].replace('""', '"')
    if kind == "parameter":
        return text[1:]
    return text.lower() if kind == "word" else text


def _after_comment(sql: str, position: int) -> int:
    """Where the comment that begins here ends; comments nest."""
    depth, here = 0, position
    while True:
        if sql.startswith("/*", here):
            depth, here = depth + 1, here + 2
        elif sql.startswith("*/", here):
            depth, here = depth - 1, here + 2
        elif here >= len(sql):
            raise QueryError("a comment that begins with /* does not end")
        else:
            here += 1
        if not depth:
            return here


def _check(token: _Token, before: list[_Token]) -> None:
    last = before[-1] if before else _Token("", "")
    if token.kind in {"string", "quoted"} and last.kind == "word" and last.text in {"e", "u", "b", "x", "n"}:
        raise QueryError(f"refused: a string that begins with {last.text.upper()}'; write it as '…'")
    if token.text == "&" and last.text == "u":
        raise QueryError("refused: Unicode escapes (U&…); write the characters themselves")
    if token.text in {"$", ";", "\\", "'", '"'}:
        what = {"$": "a dollar sign", ";": "a semicolon", "\\": "a backslash"}.get(
            token.text, "a quote that is not closed"
        )
        raise QueryError(f"refused: {what} outside of a string. Ask one statement; write parameters as :name")
    is_hidden = token.text in _HIDDEN or (token.text.startswith(("pg_", "search_")) and token.text != "pg_catalog")
    if token.kind in {"word", "quoted"} and is_hidden:
        raise QueryError(f"refused: to read {token.text}. A query may read the views of docs/views.md")
    if token.text == "(" and last.kind in {"word", "quoted"}:
        _check_call(last, before[:-1])


def _check_call(name: _Token, before: list[_Token]) -> None:
    last = before[-1] if before else _Token("", "")
    if name.kind == "word" and name.text in _BEFORE_PARENTHESIS:
        return
    if last.text == "." and (len(before) < 2 or before[-2].text != "pg_catalog"):
        raise QueryError(f"refused: the function {name.text} of another schema")
    if last.text in {"::", "as", "with", "recursive"} and last.kind in {"cast", "word"}:
        return  # the size of a type, or the names of the columns of an alias or a common table expression
    if name.text not in FUNCTIONS:
        raise QueryError(
            f"refused: the function {name.text}. A query may call functions that compute; docs/auditing.md lists them. "
            "Names of columns of an alias are written: AS alias (a, b)"
        )
