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
from monitor.records import Finding, Status
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


def found(rules: PolicySet, log: Sequence[tuple[str, Sub]]) -> dict[str, tuple[Status, ...]]:
    watch = rules.watch()
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
    said, wanted = found(rules, log), expected(log)
    for name in wanted:
        for text, one, other in zip(RULES, said[name], wanted[name], strict=True):
            assert one is other, (name, text)


@settings(max_examples=150)
@given(log=schedules(), seed=st.integers(0, 2**32))
def test_in_whatever_order_siblings_that_overlap_are_judged_the_run_is_said_the_same_of(
    rules: PolicySet, log: list[tuple[str, Sub]], seed: int
) -> None:
    """Of a run as a whole; and what only looks back, of every subcall by itself."""
    shuffled = _shuffled(log, random.Random(seed))
    one, other = found(rules, log), found(rules, shuffled)
    for number, text in enumerate(RULES):
        if text in LOOKS_BACK:
            assert {name: said[number] for name, said in one.items()} == {
                name: said[number] for name, said in other.items()
            }, text
        assert _worst(said[number] for said in one.values()) == _worst(said[number] for said in other.values()), text


def _worst(statuses: Any) -> Status | None:
    """Whether it applies to a subcall does not depend on others, and whether it matches one is what counts."""
    return min(statuses, key=(MATCH, UNKNOWN, NO_MATCH, ABSENT).index, default=None)


def _shuffled(log: Sequence[tuple[str, Sub]], rng: random.Random) -> list[tuple[str, Sub]]:
    """The log with each stretch of judgements in another order, in which no two of one lineage change places."""
    every = [Placed(sub, 0, 0) for what, sub in log if what == "begin"]
    lineage = {one.sub.name: above(one, every) for one in every}
    result: list[tuple[str, Sub]] = []
    stretch: list[tuple[str, Sub]] = []
    for step in [*log, ("end", log[0][1])]:
        if step[0] == "see":
            stretch.append(step)
            continue
        for _ in range(len(stretch) ** 2):
            at = rng.randrange(len(stretch))
            first, second = stretch[at - 1][1].name, stretch[at][1].name
            if at and first not in lineage[second] and second not in lineage[first]:
                stretch[at - 1], stretch[at] = stretch[at], stretch[at - 1]
        result += stretch
        stretch = []
        result.append(step)
    return result[:-1]


def test_ten_thousand_orders_of_one_run(rules: PolicySet) -> None:
    """Four and three siblings below a leader, each judged in any order: what is said of the run is always the same."""
    rng = random.Random(8)
    marked = "ab!bba!b!!aba!ab"
    leader = Sub("lead", "", MATCH, MATCH, "task", "read", 1, "x", "")
    rounds = [[leader]]
    for start in (0, 4):
        some = [
            Sub(
                f"s{number}",
                "lead" if number < 6 else "s1",
                rng.choice([MATCH, MATCH, UNKNOWN, NO_MATCH]),
                rng.choice([MATCH, UNKNOWN, NO_MATCH]),
                marked if number % 3 == 1 else f"task {number % 2}".replace(" ", "."),
                marked if number < 4 else "nothing",
                rng.choice([None, 1, 2]),
                rng.choice("xy"),
                rng.choice(["read", "send", ""]),
            )
            for number in range(start, min(start + 4, 7))
        ]
        rounds.append(some)
    outcomes = set()
    for _ in range(10_000):
        log = [
            (what, sub)
            for some in rounds
            for what, subs in (("begin", some), ("see", rng.sample(some, len(some))))
            for sub in subs
        ]
        said = found(rules, log)
        worst = tuple(_worst(statuses[number] for statuses in said.values()) for number in range(len(RULES)))
        outcomes.add((worst, *(said[f"s{number}"][rule] for number in range(7) for rule in LOOKING_BACK)))
    assert len(outcomes) == 1
    assert {MATCH, UNKNOWN} <= set(next(iter(outcomes))[0])
