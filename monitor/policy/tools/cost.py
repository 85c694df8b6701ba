"""What rules can cost at most, from their compiled patterns.

RE2 compiles a pattern to a program and simulates all of its paths at once: for each byte of the text it looks at each
instruction of the program at most once (R. Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009;
Thompson's simulation, time O(m·n) for a program of m instructions and a text of n bytes). That holds for every text;
usually one step of an automaton that RE2 builds on the way, and keeps, takes the place of all of them. So the program's
size is the pattern's cost: **steps per byte of text**.

A pattern is read more than once. With F and R the sizes of its forward and its backward program:

* the filter tries it: forward by automaton, and by simulation where the automaton runs out of memory: at most 2F;
* each of its first ``MAX_SPANS`` places is found by the same, and by going back to where the match begins: at most 2F + R.

``bound_per_byte`` is that sum over all patterns, (1 + MAX_SPANS) · (2F + R) each. It is for texts that are made to reach
it: ordinary texts do not come near ``steps_per_byte``, for most patterns are not run on them at all. The filter itself
reads each text once for each of its shards; that is not in the figures.

Nor is what is compared without a pattern (``Unbounded``). It is linear too: a ``fieldref`` looks for at most
``MAX_REFERENCES`` texts in each text, and an argument by its path costs one reading of the call's JSON for all paths, and a
search of each value below the path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy import condition as conditions
from monitor.policy.clauses import ReferenceClause, TextClause
from monitor.policy.matching import MAX_SPANS, compile_pattern, needs_no_literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.policy.detection import Detection


@dataclass(frozen=True, slots=True)
class Cost:
    """What searching one text can cost at most, for each byte of it.

    ``patterns`` are counted once, in however many rules they are. ``steps_per_byte`` is for one reading of the text by
    all of them, ``bound_per_byte`` for all that can happen. ``always_run`` of them require no literal, and so run on every
    text, at ``always_run_steps`` a byte. ``largest`` is the pattern with the largest program ("" where there is none).
    """

    patterns: int
    steps_per_byte: int
    bound_per_byte: int
    always_run: int
    always_run_steps: int
    largest: str
    largest_steps: int


@dataclass(frozen=True, slots=True)
class Unbounded:
    """Lines that cost something which no ``Cost`` has: comparisons of whole texts, and searches in arguments by path."""

    references: int = 0
    argument_paths: int = 0


def outside(detections: Iterable[Detection]) -> Unbounded:
    """What these detections do beside running patterns over whole texts."""
    clauses = [
        clause
        for detection in detections
        for name in conditions.references(detection.condition)
        for clause in detection.selections[name].clauses
    ]
    references = [clause for clause in clauses if isinstance(clause, ReferenceClause)]
    paths = [clause for clause in clauses if clause.field.name.startswith("tool.arguments.")]
    return Unbounded(len(references), len(paths))


def cost_of(patterns: Iterable[str]) -> Cost:
    """The cost of these patterns together. Raises PatternError for one that does not compile."""
    distinct = tuple(dict.fromkeys(patterns))
    sizes = {pattern: _sizes(pattern) for pattern in distinct}
    always = [pattern for pattern in distinct if needs_no_literal(pattern)]
    largest = max(distinct, key=lambda pattern: sizes[pattern][0], default="")
    return Cost(
        patterns=len(distinct),
        steps_per_byte=sum(forward for forward, _ in sizes.values()),
        bound_per_byte=sum((1 + MAX_SPANS) * (2 * forward + backward) for forward, backward in sizes.values()),
        always_run=len(always),
        always_run_steps=sum(sizes[pattern][0] for pattern in always),
        largest=largest,
        largest_steps=sizes[largest][0] if largest in sizes else 0,
    )


def patterns_of(detections: Iterable[Detection]) -> frozenset[str]:
    """Every pattern that these detections look for in texts."""
    return frozenset(
        pattern
        for detection in detections
        for name in conditions.references(detection.condition)
        for clause in detection.selections[name].clauses
        if isinstance(clause, TextClause)
        for pattern in clause.patterns
    )


def _sizes(pattern: str) -> tuple[int, int]:
    """Instructions forward and backward; a backward program that RE2 cannot compile is never run."""
    compiled = compile_pattern(pattern)
    return compiled.programsize, max(0, compiled.reverseprogramsize)
