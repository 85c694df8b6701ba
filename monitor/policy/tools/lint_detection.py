"""What is allowed in a detection and probably not meant: conditions, selections, and single patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from monitor.policy import condition as conditions
from monitor.policy.clauses import TextClause, WordClause
from monitor.policy.matching import compile_pattern, needs_no_literal
from monitor.policy.tools.literals import Containment, finds_all_of, literal_of, shown
from monitor.policy.tools.places import placed
from monitor.policy.tools.satisfiability import prospects, shape_of
from monitor.strict_yaml import Mark

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from monitor.policy.detection import Detection
    from monitor.policy.tools.places import PlacedClause
    from monitor.strict_yaml import Node

About: TypeAlias = tuple[Mark, str, str]
"""Where, what is the matter, and what to do."""


def about_detection(detection: Detection, node: Node) -> Iterator[About]:
    """Notes on the condition and its selections; ``node`` is the tree of the detection."""
    used = conditions.references(detection.condition)
    for name in detection.selections:
        if name not in used:
            yield node.keys[name], f"the condition does not use `{name}`.", "Use it, or leave it out."
    yield from _about_prospects(detection, node)
    seen: dict[Hashable, str] = {}
    for name, selection in detection.selections.items():
        first = seen.setdefault(shape_of(selection), name)
        if first != name:
            yield node.keys[name], f"`{name}` says the same as `{first}`.", "Keep one of the two."


def _about_prospects(detection: Detection, node: Node) -> Iterator[About]:
    mark = node.place(["condition"])
    found = prospects(detection)
    if found is None:
        problem = "whether the condition can match was not decided: it has too many clauses for that."
        yield mark, problem, "Split the rule, or look at it by hand."
    elif not found.can_match:
        yield mark, "the condition can never match.", "Look for parts that contradict each other."
    elif found.always:
        problem = "the condition matches every record in which nothing is missing."
        yield mark, problem, "Look for parts of which one or the other always holds."
    for name in found.never if found and found.can_match else ():
        problem = f"the selection `{name}` can never match."
        yield node.keys[name], problem, "Look for lines that contradict each other."


def about_patterns(detection: Detection, node: Node) -> Iterator[About]:
    """Notes on single values; ``node`` is the tree of the detection."""
    for one in placed(detection, node):
        if isinstance(one.clause, (TextClause, WordClause)):
            yield from _about_repeated(one)
        if isinstance(one.clause, TextClause):
            for pattern in sorted(one.clause.patterns):
                yield from _about_pattern(pattern, one)


def _about_pattern(pattern: str, one: PlacedClause) -> Iterator[About]:
    literal = literal_of(pattern)
    mark = one.place_of(pattern)
    if literal is None and _matches_everything(pattern):
        yield (
            mark,
            f"a pattern of `{one.selection}: {one.line}` matches every text, an empty one too.",
            "Is that meant?",
        )
    elif needs_no_literal(pattern) and r"\A" not in pattern:
        fix = "It is run on every text; a word that must occur makes it fast."
        yield mark, f"a pattern of `{one.selection}: {one.line}` requires no literal text.", fix
    elif "|re" not in one.line and literal is not None and "*" in literal.text:
        problem = f"`*` in `{one.selection}: {one.line}` means the character itself."
        yield mark, problem, "For anything in between use `re`."


def _matches_everything(pattern: str) -> bool:
    """Whether the pattern certainly matches every text: it matches the empty one and asks for no place (such as ``^``),
    and so it matches emptily at the start of any.
    """
    asks_for_place = any(mark in pattern.replace("[^", "[") for mark in ("^", "$", r"\A", r"\z", r"\b", r"\B"))
    return not asks_for_place and compile_pattern(pattern).search("") is not None


def _about_repeated(one: PlacedClause) -> Iterator[About]:
    """Values that stand twice, or that another value finds anyway."""
    clause = one.clause
    assert isinstance(clause, (TextClause, WordClause))
    seen: set[object] = set()
    for item in one.node.items():
        if item.value in seen:
            yield item.mark, f"`{item.value}` stands in `{one.selection}: {one.line}` twice.", "Leave one out."
        seen.add(item.value if not isinstance(item.value, (dict, list)) else id(item))
    patterns = sorted(clause.patterns if isinstance(clause, TextClause) else {m.pattern for m in clause.matchers})
    contained = Containment(patterns if not clause.every else ())
    for pattern in contained.patterns:
        wider = next(iter(contained.wider(pattern)), None)
        if wider is not None and not (finds_all_of(pattern, wider) and pattern < wider):
            problem = f"`{shown(pattern)}` adds nothing: `{shown(wider)}` in the same list finds it already."
            yield one.place_of(pattern), problem, "Leave it out."
