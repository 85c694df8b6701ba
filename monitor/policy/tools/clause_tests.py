"""What a clause tests, apart from how and where it is written: what clauses can be told apart by, and what they share."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from monitor.policy.clauses import COMPARISONS, ExistsClause, ReferenceClause, TextClause, ValueClause, WordClause
from monitor.policy.fields import FIELDS
from monitor.policy.readings import FieldType
from monitor.policy.tools.literals import Containment, literal_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from monitor.policy.clauses import Clause
    from monitor.policy.readings import Field


_CASELESS = "(?i)"


def normal(clause: Clause) -> Clause:
    """The clause without its place in the file and without patterns that change nothing: equal ones say the same."""
    if isinstance(clause, TextClause):
        return replace(clause, label="", patterns=frozenset(needed(clause.patterns, every=clause.every)))
    if isinstance(clause, ValueClause):
        return replace(clause, label="", values=tuple(sorted(set(clause.values), key=repr)))
    return replace(clause, label="")


def needed(patterns: Iterable[str], *, every: bool) -> list[str]:
    """The patterns without those that change nothing: what another finds anyway (``every``: that it finds as well)."""
    ordered = dict.fromkeys(sorted(patterns))
    contained = Containment(ordered)
    kept = dict(ordered)
    for pattern in ordered:
        if any(other in kept for other in (contained.narrower if every else contained.wider)(pattern)):
            del kept[pattern]
    return list(kept)


def has_one_value(field: Field) -> bool:
    """Whether a record has at most one value there. Tools may be called several times, each with arguments of its own."""
    return field.name in FIELDS or not field.name.startswith("tool.")


def gap_of(clause: Clause) -> Hashable:
    """What has to be there for the clause to say something: its field; of two fields, the two together."""
    return test_of(clause) if isinstance(clause, ReferenceClause) else clause.field


def is_free(clause: Clause) -> bool:
    """Whether all that is known of the clause is that it holds or does not."""
    if isinstance(clause, (TextClause, ExistsClause)):
        return False
    if isinstance(clause, WordClause):
        return words_of(clause) is None
    return not isinstance(clause, ValueClause) or not has_one_value(clause.field)


def test_of(clause: Clause) -> Hashable:
    """What a clause tests, whichever way it is asked."""
    if isinstance(clause, WordClause):
        return clause.field, tuple(sorted(matcher.pattern for matcher in clause.matchers)), clause.every
    return replace(clause, label="", negated=False)  # type: ignore[arg-type]  # only clauses that can be negated


def words_of(clause: WordClause) -> frozenset[str] | None:
    """The only words for which the clause holds, in lower case; None where they cannot be told."""
    literals = [literal_of(matcher.pattern) for matcher in clause.matchers]
    words = [one.text.lower() for one in literals if one and one.is_whole and not one.cased and one.text.isascii()]
    return None if len(words) < len(literals) or (clause.every and len(words) > 1) else frozenset(words)


def ignores_case(clause: WordClause) -> bool:
    """Whether the clause certainly says the same of a word in upper and lower case: no group of a pattern has flags of its
    own.
    """
    return all(
        matcher.pattern.startswith(_CASELESS) and "(?" not in matcher.pattern[len(_CASELESS) :].replace("(?:", "")
        for matcher in clause.matchers
    )


def points_of(field: Field, clauses: Sequence[ValueClause | WordClause]) -> list[float | bool | str | None]:
    """Values that stand for all values of the field: no clause tells two apart that are stood for by the same one."""
    if field.type is FieldType.BOOLEAN:
        return [False, True]
    if field.words:
        return list(field.words)
    if field.type is FieldType.WORD:
        named = set().union(
            *(words for clause in clauses if isinstance(clause, WordClause) and (words := words_of(clause)))
        )
        return ["", *sorted(named - {""}), None]  # None: any other word
    numbers = sorted({float(value) for clause in clauses if isinstance(clause, ValueClause) for value in clause.values})
    between = [
        low / 2 + high / 2 for low, high in pairwise(numbers) if not _is_counted(field) or math.floor(low) + 1 < high
    ]
    # The outermost points are beyond any number that is named, however large that is.
    return [-math.inf, *sorted({*numbers, *between}), math.inf]


def _is_counted(field: Field) -> bool:
    """Whether the field's numbers are whole."""
    group, _, name = field.name.partition(".")
    return field.name in {"depth", "attempt"} or (group in {"usage", "budget_left"} and name not in {"cost", "seconds"})


def accepts(clause: Clause, point: float | bool | str | None) -> bool:
    """Whether a clause that is not free holds for one of ``points_of`` its field."""
    if isinstance(clause, WordClause):
        return point in (words_of(clause) or ())
    assert isinstance(clause, ValueClause)
    return any(COMPARISONS[clause.comparison](point, value) for value in clause.values)
