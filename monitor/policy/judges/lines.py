"""The line ``judge.NAME: question`` of a selection, into a clause that holds where the judge says yes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.canonical import escape_text
from monitor.policy.clauses import ValueClause
from monitor.policy.judges.question import (
    DEFAULT_READS,
    MAX_QUESTION,
    READABLE,
    Question,
    judge_field,
    question_name,
)
from monitor.policy.names import describe, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.strict_yaml import Mark, Node

_HOW = "Write `judge.NAME: Does the …?`, or a map with `question` and `reads`."


def judge_line(
    label: str, key: str, node: Node, mark: Mark, fault: Callable[[Mark, str, str], None]
) -> ValueClause | None:
    """The clause, or None where there is a fault."""
    name = question_name(key)
    if not name:
        problem = f"`{key}` names no question." if "|" not in key else "a question to a judge takes no modifiers."
        fix = "A question has a name of lower-case letters, digits and `_`: `judge.NAME`. For its opposite use `not`."
        fault(mark, problem, fix)
        return None
    parts = node.value if isinstance(node.value, dict) else {"question": node}
    before: list[str] = []

    def tell(where: Mark, problem: str, fix: str) -> None:
        before.append(problem)
        fault(where, problem, fix)

    for other in parts.keys() - {"question", "reads"}:
        tell(node.keys[other], f"a question has no `{other}`.", _HOW)
    text = _text(parts.get("question"), node, tell)
    reads = _reads(parts.get("reads"), tell)
    if before:
        return None
    question = Question(name, escape_text(text), reads)
    return ValueClause(judge_field(question), label, "eq", ("yes",), question=question)


def _text(node: Node | None, whole: Node, tell: Callable[[Mark, str, str], None]) -> str:
    if node is None:
        tell(whole.mark, "the question is missing.", _HOW)
        return ""
    if not isinstance(node.value, str) or not node.value.strip():
        tell(node.mark, f"expected a question, found {describe(node.value)}.", _HOW)
        return ""
    if len(node.value) > MAX_QUESTION:
        problem = f"the question has {len(node.value):,} characters; at most {MAX_QUESTION:,} are asked."
        tell(node.mark, problem, "Ask for one thing.")
    return node.value


def _reads(node: Node | None, tell: Callable[[Mark, str, str], None]) -> tuple[str, ...]:
    if node is None:
        return DEFAULT_READS
    names = [item.value for item in node.items()] if isinstance(node.value, list) else [node.value]
    for item in node.items() or [node]:
        if item.value not in READABLE:
            close = suggestion(item.value, READABLE) if isinstance(item.value, str) else ""
            tell(item.mark, f"a judge cannot read {describe(item.value)}.", close or f"It reads {', '.join(READABLE)}.")
    if not names:
        tell(node.mark, "`reads` is empty.", f"It reads {', '.join(READABLE)}.")
    return tuple(dict.fromkeys(str(name) for name in names))
