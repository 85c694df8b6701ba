"""Rules over the tree and over taint by their definition: every pair of subcalls is looked at, and nothing is forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

MATCH, UNKNOWN, NO_MATCH, ABSENT = Status.MATCH, Status.UNKNOWN, Status.NO_MATCH, Status.NOT_APPLICABLE


@dataclass(frozen=True)
class Sub:
    """One subcall. ``this`` and ``other`` are what the two parts of every rule say of it."""

    name: str
    parent: str  # the name of one that began before it, or ""
    this: Status
    other: Status
    task: str
    output: str
    tokens: int | None
    role: str
    tool: str  # the name of a tool that it called, or ""


@dataclass(frozen=True)
class Placed:
    """A subcall in a schedule."""

    sub: Sub
    began: int
    seen: int

    def before(self, other: Placed) -> bool:
        """Whether it was judged before the other began."""
        return self.seen < other.began


def both(*statuses: Status) -> Status:
    if all(one is MATCH for one in statuses):
        return MATCH
    return UNKNOWN if all(one in {MATCH, UNKNOWN} for one in statuses) else NO_MATCH


def either(statuses: Iterable[Status]) -> Status:
    return min(statuses, key=(MATCH, UNKNOWN, NO_MATCH).index, default=NO_MATCH)


def negated(status: Status) -> Status:
    return {MATCH: NO_MATCH, NO_MATCH: MATCH}.get(status, status)


def is_relative(relation: str, this: Placed, other: Placed, every: Sequence[Placed]) -> bool:
    """Whether ``other`` is that relative of ``this``."""
    if relation == "child":
        return other.sub.parent == this.sub.name
    if relation == "parent":
        return this.sub.parent == other.sub.name
    if relation == "sibling":
        return this is not other and this.sub.parent == other.sub.parent
    return other.sub.name in above(this, every)


def above(one: Placed, every: Sequence[Placed]) -> list[str]:
    parents = {placed.sub.name: placed.sub.parent for placed in every}
    found, here = [], one.sub.parent
    while here:
        found.append(here)
        here = parents[here]
    return found


def relatives(relation: str, seen: Sequence[Placed], every: Sequence[Placed], *, same: bool) -> Status:
    """Every pair of which the last that was judged is one, and the other one was judged."""
    last = seen[-1]
    if last.sub.this is ABSENT and last.sub.other is ABSENT:
        return ABSENT
    return either(
        both(this.sub.this, other.sub.other)
        for this in seen
        for other in seen
        if last in {this, other}
        and is_relative(relation, this, other, every)
        and (not same or (this.sub.task and this.sub.task == other.sub.task))
    )


def without(relation: str, seen: Sequence[Placed], every: Sequence[Placed]) -> Status:
    last = seen[-1]
    if last.sub.this is ABSENT and last.sub.other is ABSENT:
        return ABSENT
    came = either(
        both(other.sub.other) for other in seen if other.before(last) and is_relative(relation, last, other, every)
    )
    return both(last.sub.this, negated(came))


def unsaid(relation: str, seen: Sequence[Placed], every: Sequence[Placed]) -> Status:
    """The tools of ``this`` are named in the task or the output of relatives; in the task alone where they come later."""
    last = seen[-1]
    if last.sub.this is ABSENT and last.sub.other is ABSENT:
        return ABSENT
    answers = [_unsaid(last, [o for o in seen if is_relative(relation, last, o, every)], relation)]
    if relation == "parent":
        children = [one for one in seen[:-1] if one.sub.parent == last.sub.name]
        answers += [_unsaid(one, [last], relation) for one in children]
    return either(answers)


def _unsaid(one: Placed, others: Sequence[Placed], relation: str) -> Status:
    counted = [
        (other.sub.other, f"{other.sub.task} {other.sub.output}" if other.before(one) else other.sub.task)
        for other in others
        if other.sub.other in {MATCH, UNKNOWN} and (relation == "parent" or other.before(one))
    ]
    if not one.sub.tool or not counted:
        return NO_MATCH
    some = either(status for status, _ in counted)
    told = either(
        status for status, text in counted if one.sub.tool in text.replace(".", " ").replace("!", " ").split()
    )
    return both(one.sub.this, some, negated(told))


def share(seen: Sequence[Placed], every: Sequence[Placed], part: Fraction, least: int) -> Status:
    """What may be true whatever those that are not known spent is found by trying nothing, a little and very much."""
    last = seen[-1]
    view = [one for one in seen if one is last or one.before(last) or _akin(one, last, every)]
    branches = [one for one in seen if one is last or one.sub.name in above(last, every)]
    if all(one.sub.this is ABSENT for one in branches) or (
        last.sub.this is ABSENT and all(one.sub.this not in {MATCH, UNKNOWN} for one in branches)
    ):
        return ABSENT
    return either(both(one.sub.this, _share(one, view, every, part, least)) for one in branches)


def _akin(one: Placed, other: Placed, every: Sequence[Placed]) -> bool:
    return one.sub.name in above(other, every) or other.sub.name in above(one, every)


def _share(branch: Placed, view: Sequence[Placed], every: Sequence[Placed], part: Fraction, least: int) -> Status:
    inside = [one for one in view if one is branch or branch.sub.name in above(one, every)]
    outside = [one for one in view if one not in inside]

    def total(some: Sequence[Placed], guess: int) -> int:
        return sum(guess if one.sub.tokens is None else one.sub.tokens for one in some)

    found = set()
    for guess in (0, 10**9):
        for other in (0, 10**9):
            spent = total(inside, guess)
            found.add(spent >= least and spent >= part * (spent + total(outside, other)))
    return UNKNOWN if len(found) > 1 else MATCH if found == {True} else NO_MATCH


def taint(seen: Sequence[Placed], least: int) -> Status:
    """``this`` is the source (its output is marked), ``other`` the sink (its task is what it must not reach)."""
    last = seen[-1]
    if last.sub.this is ABSENT and last.sub.other is ABSENT:
        return ABSENT
    return either(
        both(source.sub.this, last.sub.other)
        for source in seen
        if source.before(last) and source.sub.role != last.sub.role and _passes(source.sub, last.sub.task, least)
    )


def _cut(text: str) -> str:
    """Three of every run of one character."""
    return "".join("".join(run)[:3] for _, run in groupby(text))


def _passes(source: Sub, task: str, least: int) -> bool:
    """Any stretch of enough codepoints that is in both, and none of it in what the source was handed itself."""
    output, handed, task = (_cut(text) for text in (source.output, source.task, task))
    known = {
        place
        for start in range(len(output) - least + 1)
        if output[start : start + least] in handed
        for place in range(start, start + least)
    }
    return any(
        output[start : start + least] in task and not known & set(range(start, start + least))
        for start in range(len(output) - least + 1)
    )
