"""Rules over the tree and over taint against their definition, on trees of subcalls that overlap in every way."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import policy
from monitor.policy import examples
from monitor.policy.over_run import RunWatch
from monitor.records import Finding, Status
from tests.policy.over_run.orders import ORDERS, RUNS, shuffled, worst
from tests.policy.over_run.slow_joined import (
    ABSENT,
    MATCH,
    NO_MATCH,
    UNKNOWN,
    Placed,
    Sub,
    above,
    relatives,
    share,
    taint,
    unsaid,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.policy import PolicySet
    from monitor.records import Record

LEAST = 8
RULES: dict[str, Any] = {
    **{
        f"tree: {{this: part_this, {relation}: part_other}}": (
            lambda seen, every, relation=relation: relatives(relation, seen, every, same=False)
        )
        for relation in ("parent", "ancestor", "sibling", "child")
    },
    **{
        f"tree: {{this: part_this, {relation}: part_other, same: [task]}}": (
            lambda seen, every, relation=relation: relatives(relation, seen, every, same=True)
        )
        for relation in ("parent", "ancestor", "sibling", "child")
    },
    **{
        f"tree: {{this: part_this, without-{relation}: part_other}}": (
            lambda seen, every, relation=relation: without(relation, seen, every)
        )
        for relation in ("parent", "ancestor", "sibling")
    },
    **{
        f"tree: {{this: part_this, {relation}: part_other, what: tool.name, unsaid-in: [task, output]}}": (
            lambda seen, every, relation=relation: unsaid(relation, seen, every)
        )
        for relation in ("parent", "sibling")
    },
    "tree: {this: part_this, share: {field: usage.output_tokens, gte: 0.5, least: 3}}": (
        lambda seen, every: share(seen, every, Fraction(1, 2), 3)
    ),
    f"taint: {{source: part_this, sink: part_other, into: [task], least: {LEAST}}}": (
        lambda seen, _: taint(seen, LEAST)
    ),
}
LOOKS_BACK = [text for text in RULES if "without-" in text or "taint" in text or "share" in text]
"""Those that say of a subcall the same whatever is judged beside it."""
# No stretch of letters here is long enough to be read as base64, of which the definition knows nothing.
LOOKING_BACK = [number for number, text in enumerate(RULES) if text in LOOKS_BACK]
IN_TURN = [{turn, 4 + turn, 8 + turn % 3, 11 + turn % 2, 13, 14} for turn in range(4)]
"""Each with one rule of every kind: a relation, one with `same`, `without-…`, `unsaid-in`, `share` and taint."""
statuses = st.sampled_from([MATCH, MATCH, MATCH, UNKNOWN, NO_MATCH, ABSENT])
chunks = st.lists(st.sampled_from(["ab!bba!b", "!!aba!ab", "ba!ab", "ab", "!"]), max_size=4).map("".join)
texts = st.text("ab! ", max_size=24) | chunks


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> PolicySet:
    parts = "".join(
        f"  - {{title: {name}, id: 45a9e88a-2172-46e5-9d6a-76815d98080{number}, name: part_{name}, level: low,\n"
        f"     detection: {{a: {{output: {name}}}, condition: a}}}}\n"
        for number, name in enumerate(("this", "other"))
    )
    lines = "".join(
        f"  - title: '{number}'\n    id: 45a9e88a-2172-46e5-9d6a-76815d9809{number:02}\n    name: run_{number}\n"
        f"    level: high\n    {text}\n"
        for number, text in enumerate(RULES)
    )
    path = tmp_path_factory.mktemp("joined") / "pack.yaml"
    path.write_text(f"pack: t\nversion: 1.0.0\nengine: 3\nrules:\n{parts}run_rules:\n{lines}")
    return policy.load([path])


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[str, Sub]]:
    """The log of a run. A subcall begins below one that began; those above are judged before or after those below."""
    count = draw(st.integers(1, 7))
    log: list[tuple[str, Sub]] = []
    begun: list[Sub] = []
    open_: list[Sub] = []
    said = [""]
    while len(begun) < count or open_:
        if len(begun) < count and (not open_ or draw(st.booleans())):
            number = len(begun)
            parent = draw(st.sampled_from(["", *(sub.name for sub in begun)]))
            task = draw(st.sampled_from(said) | st.sampled_from(said) | texts) + draw(
                st.sampled_from(["", " read", " send"])
            )
            output = draw(texts | st.sampled_from([task])) + draw(st.sampled_from(["", " read", " send"]))
            said += [output, output[:12] + draw(texts)]
            begun.append(
                Sub(
                    f"s{number}",
                    parent,
                    draw(statuses),
                    draw(statuses),
                    task.replace(" ", "."),
                    output.replace(" ", "."),
                    draw(st.sampled_from([None, 0, 1, 2, 5])),
                    draw(st.sampled_from("xxy")),
                    draw(st.sampled_from(["", "read", "send"])),
                )
            )
            open_.append(begun[-1])
            log.append(("begin", begun[-1]))
        else:
            log.append(("see", open_.pop(draw(st.integers(0, len(open_) - 1)))))
    return log


@cache
def record_of(sub: Sub) -> Record:
    short: dict[str, Any] = {"task": sub.task, "user": sub.task, "role": sub.role, "output": sub.output}
    if sub.tokens is None:
        short["usage.reported"] = False
    else:
        short["usage.output_tokens"] = sub.tokens
    if sub.tool:
        short["tool.name"] = sub.tool
    record = examples.build(short)
    call = record.call.model_copy(update={"span_id": sub.name, "parent_id": sub.parent or "the run"})
    return record.model_copy(update={"call": call})


@cache
def parts_of(sub: Sub) -> list[Finding]:
    return [Finding(check="rule", name=f"part_{name}", status=getattr(sub, name)) for name in ("this", "other")]


def found(watch: RunWatch, log: Sequence[tuple[str, Sub]]) -> dict[str, tuple[Status, ...]]:
    answers: dict[str, tuple[Status, ...]] = {}
    for what, sub in log:
        record = record_of(sub)
        if what == "begin":
            watch.begin(record.call)
            continue
        said = watch.see(record, parts_of(sub))
        assert not [one.cause for one in said if one.cause.endswith("Error")]
        answers[sub.name] = tuple(one.status for one in said)
    return answers


def expected(log: Sequence[tuple[str, Sub]]) -> dict[str, tuple[Status, ...]]:
    places = {(what, sub.name): place for place, (what, sub) in enumerate(log)}
    every = [Placed(sub, places["begin", sub.name], places["see", sub.name]) for what, sub in log if what == "begin"]
    answers: dict[str, tuple[Status, ...]] = {}
    for last in sorted(every, key=lambda one: one.seen):
        seen = sorted([one for one in every if one.seen <= last.seen], key=lambda one: one.seen)
        answers[last.sub.name] = tuple(says(seen, every) for says in RULES.values())
    return answers


@settings(max_examples=400)
@given(log=schedules())
def test_every_kind_says_what_its_definition_says(rules: PolicySet, log: list[tuple[str, Sub]]) -> None:
    said, wanted = found(rules.watch(), log), expected(log)
    for name in wanted:
        for text, one, other in zip(RULES, said[name], wanted[name], strict=True):
            assert one is other, (name, text)


@settings(max_examples=150)
@given(log=schedules(), seed=st.integers(0, 2**32))
def test_in_whatever_order_siblings_that_overlap_are_judged_the_run_is_said_the_same_of(
    rules: PolicySet, log: list[tuple[str, Sub]], seed: int
) -> None:
    """Of a run as a whole; and what only looks back, of every subcall by itself."""
    reordered = _reordered(log, random.Random(seed))
    one, other = found(rules.watch(), log), found(rules.watch(), reordered)
    for number, text in enumerate(RULES):
        if text in LOOKS_BACK:
            assert {name: said[number] for name, said in one.items()} == {
                name: said[number] for name, said in other.items()
            }, text
        assert worst(said[number] for said in one.values()) == worst(said[number] for said in other.values()), text


def _reordered(log: Sequence[tuple[str, Sub]], rng: random.Random) -> list[tuple[str, Sub]]:
    """The log in another order, in which no two of one lineage change places."""
    every = [Placed(sub, 0, 0) for what, sub in log if what == "begin"]
    lineage = {one.sub.name: above(one, every) for one in every}
    return shuffled(log, rng, lambda one, other: one.name in lineage[other.name] or other.name in lineage[one.name])


def _small_run(rng: random.Random, *, is_certain: bool) -> list[tuple[str, Sub]]:
    """A leader, three below it or below each other that are under way at the same time, and one that comes after them; the
    leader is judged before them, or at the end.
    """
    choices = [MATCH, MATCH, NO_MATCH, *([] if is_certain else [UNKNOWN])]
    marked = "ab!bba!b!!aba!ab"
    names = ["lead", "s1", "s2", "s3", "s4"]
    subs = [
        Sub(
            name,
            rng.choice(["lead", "lead", *names[1:number]]) if number else "",
            rng.choice(choices),
            rng.choice(choices),
            rng.choice([marked, "task.0", "task.read"]),
            rng.choice([marked, "read", "nothing"]),
            rng.choice([0, 1, 5, *([] if is_certain else [None])]),
            rng.choice("xy"),
            rng.choice(["read", "send", ""]),
        )
        for number, name in enumerate(names)
    ]
    lead, *some, last = subs
    # What stands below another of those under way is judged before it.
    judged = [("see", sub) for sub in reversed(some)]
    leaders = [[("see", lead)], []][:: rng.choice([1, -1])]
    return [
        ("begin", lead),
        *leaders[0],
        *(("begin", sub) for sub in some),
        *judged,
        ("begin", last),
        ("see", last),
        *leaders[1],
    ]


def test_ten_thousand_orders(rules: PolicySet) -> None:
    """Small runs, each in many orders: of one run always the same is said, and of each subcall by what looks back."""
    rng = random.Random(8)
    said_of_runs = set()
    for number in range(RUNS):
        log = _small_run(rng, is_certain=number % 5 == 0)
        watched = {rule: one for rule, one in enumerate(rules.run_rules) if rule in IN_TURN[number % len(IN_TURN)]}
        outcomes = set()
        for _ in range(ORDERS):
            said = found(RunWatch(rules, list(watched.values())), _reordered(log, rng))
            by_rule = {rule: [said[name][at] for name in sorted(said)] for at, rule in enumerate(watched)}
            looking_back = tuple(tuple(statuses) for rule, statuses in by_rule.items() if rule in LOOKING_BACK)
            outcomes.add((tuple((rule, worst(statuses)) for rule, statuses in by_rule.items()), looking_back))
        assert len(outcomes) == 1
        said_of_runs |= set(outcomes.pop()[0])
    assert said_of_runs >= {(rule, status) for rule in range(len(RULES)) for status in (MATCH, UNKNOWN, NO_MATCH)}
