"""The correlations against their definition, on runs in which subcalls overlap in every way."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import policy
from monitor.policy import examples
from monitor.policy.over_run import RunWatch
from monitor.records import Finding, Status
from tests.policy.over_run.orders import ORDERS, RUNS, shuffled, worst
from tests.policy.over_run.slow import ABSENT, MATCH, NO_MATCH, UNKNOWN, Placed, Sub, near, says

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.policy import PolicySet
    from monitor.records import Record

BASE = "".join(
    f"  - {{title: part {name}, id: 45a9e88a-2172-46e5-9d6a-76815d99080{number}, name: part_{name}, level: low,\n"
    f"     detection: {{a: {{output: {name}}}, condition: a}}}}\n"
    for number, name in enumerate("abc")
)
KINDS = {
    "temporal_ordered": "rules: [part_a, part_b, part_c]",
    "temporal": "rules: [part_a, part_b, part_c]",
    "absence": "rules: [part_a, part_b], without: [part_c]",
    "event_count": "rules: [part_a, part_b, part_c], condition: {gte: 3}",
    "value_count": "rules: [part_a, part_b, part_c], condition: {gte: 3}, field: usage.cost",
    "value_sum": "rules: [part_a, part_b, part_c], condition: {gte: 7}, field: usage.cost",
}
LEAST = {"event_count": 3, "value_count": 3, "value_sum": 7}
WINDOWS: dict[str, tuple[int | None, float | None]] = {
    "": (None, None),
    ", subcalls: 4": (4, None),
    ", timespan: 5s": (None, 5),
}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Rule:
    """One rule as the tests know it."""

    kind: str
    window: str

    @property
    def least(self) -> float:
        return LEAST.get(self.kind, 0)


RULES = [Rule(kind, window) for kind in KINDS for window in WINDOWS]


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> PolicySet:
    lines = [
        f"  - {{title: '{rule.kind}{rule.window}', id: 45a9e88a-2172-46e5-9d6a-76815d9909{number:02},\n"
        f"     name: run_{number}, level: high,\n"
        f"     correlation: {{type: {rule.kind}, group-by: [role], {KINDS[rule.kind]}{rule.window}}}}}\n"
        for number, rule in enumerate(RULES)
    ]
    path = tmp_path_factory.mktemp("over_run") / "pack.yaml"
    path.write_text(f"pack: t\nversion: 1.0.0\nengine: 3\nrules:\n{BASE}run_rules:\n{''.join(lines)}")
    return policy.load([path])


statuses = st.sampled_from([MATCH, MATCH, UNKNOWN, NO_MATCH, NO_MATCH, ABSENT])


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[str, Sub]]:
    """The log of a run: subcalls begin and are judged, each in its turn, several at a time."""
    count = draw(st.integers(1, 9))
    at, subs = 0.0, []
    for number in range(count):
        at += draw(st.sampled_from([0, 1, 1, 2, 6]))
        parts = tuple(draw(st.lists(statuses, min_size=3, max_size=3)))
        value = draw(st.sampled_from([None, 1, 2, 3, 4]))
        subs.append(Sub(f"s{number}", draw(st.sampled_from(["x", "x", "y"])), parts, value, at))
    waiting = list(subs)
    open_: list[Sub] = []
    log: list[tuple[str, Sub]] = []
    while waiting or open_:
        if waiting and (not open_ or draw(st.booleans())):
            open_.append(waiting.pop(0))
            log.append(("begin", open_[-1]))
        else:
            log.append(("see", open_.pop(draw(st.integers(0, len(open_) - 1)))))
    return log


@cache
def record_of(sub: Sub) -> Record:
    short: dict[str, Any] = {"role": sub.group, "output": "", "usage.cost": sub.value}
    record = examples.build(short)
    at = (BEGAN + timedelta(seconds=sub.at)).isoformat()
    return record.model_copy(update={"call": record.call.model_copy(update={"span_id": sub.name, "at": at})})


@cache
def findings_of(sub: Sub) -> list[Finding]:
    return [
        Finding(check="rule", name=f"part_{name}", status=status) for name, status in zip("abc", sub.parts, strict=True)
    ]


def found(watch: RunWatch, log: Sequence[tuple[str, Sub]]) -> list[tuple[str, tuple[Status, ...]]]:
    """What the rules say of each subcall, as they are judged."""
    answers = []
    for what, sub in log:
        if what == "begin":
            watch.begin(record_of(sub).call)
        else:
            said = watch.see(record_of(sub), findings_of(sub))
            assert "KeyError" not in {one.cause for one in said}
            answers.append((sub.name, tuple(one.status for one in said)))
    return answers


def expected(log: Sequence[tuple[str, Sub]]) -> list[tuple[str, tuple[Status, ...]]]:
    places = {(what, sub.name): place for place, (what, sub) in enumerate(log)}
    begun = [sub.name for what, sub in log if what == "begin"]
    seen: list[Placed] = []
    answers = []
    for what, sub in log:
        if what == "see":
            seen.append(Placed(sub, begun.index(sub.name), places["begin", sub.name], places["see", sub.name]))
            said = [
                says(rule.kind, 2 if rule.kind == "absence" else 3, near(*WINDOWS[rule.window]), rule.least, seen)
                for rule in RULES
            ]
            answers.append((sub.name, tuple(said)))
    return answers


@settings(max_examples=150)
@given(log=schedules())
def test_every_kind_says_what_its_definition_says(rules: PolicySet, log: list[tuple[str, Sub]]) -> None:
    assert found(rules.watch(), log) == expected(log)


@settings(max_examples=150)
@given(log=schedules(), seed=st.integers(0, 2**32))
def test_in_whatever_order_subcalls_that_overlap_are_judged_the_run_is_said_the_same_of(
    rules: PolicySet, log: list[tuple[str, Sub]], seed: int
) -> None:
    """Subcalls that are judged one after the other with none beginning between are judged in another order."""
    reordered = shuffled(log, random.Random(seed))
    one, other = dict(found(rules.watch(), log)), dict(found(rules.watch(), reordered))
    for number, rule in enumerate(RULES):
        if rule.kind in {"temporal_ordered", "absence"}:  # which look back: every subcall by itself
            assert {name: said[number] for name, said in one.items()} == {
                name: said[number] for name, said in other.items()
            }
        for group in ("x", "y"):
            names = [sub.name for what, sub in log if what == "see" and sub.group == group]
            assert worst(one[name][number] for name in names) == worst(other[name][number] for name in names)


def test_ten_thousand_orders(rules: PolicySet) -> None:
    """Small runs, of which two or three subcalls overlap, each in many orders: of one always the same is said."""
    rng = random.Random(8)
    said_of_runs = set()
    for number in range(RUNS):
        in_turn = range(number % len(WINDOWS), len(RULES), len(WINDOWS))  # every kind, with one of the windows
        watched = [rules.run_rules[rule] for rule in in_turn]
        is_certain = number % 4 == 0
        choices = [MATCH, MATCH, NO_MATCH, *([] if is_certain else [UNKNOWN])]
        subs = [
            Sub(
                f"s{i}",
                rng.choice("xxy"),
                tuple(rng.choices(choices, k=3)),
                rng.choice([1, 2, 4, *([] if is_certain else [None])]),
                float(i * rng.choice([1, 2])),
            )
            for i in range(4)
        ]
        shape = rng.choice([(0, 3, 4), (0, 2, 3, 4), (0, 1, 3, 4), (0, 1, 2, 4)])
        rounds = [subs[start:end] for start, end in pairwise(shape)]
        log = [(what, sub) for some in rounds for what in ("begin", "see") for sub in some]
        outcomes = set()
        for _ in range(ORDERS):
            statuses: dict[tuple[int, str], list[Status]] = {}
            groups = {sub.name: sub.group for sub in subs}
            for name, said in found(RunWatch(rules, watched), shuffled(log, rng)):
                for rule, status in zip(in_turn, said, strict=True):
                    statuses.setdefault((rule, groups[name]), []).append(status)
            outcomes.add(tuple(sorted((key, worst(said)) for key, said in statuses.items())))
        assert len(outcomes) == 1
        said_of_runs |= {(rule, status) for (rule, _), status in outcomes.pop()}
    assert said_of_runs >= {(rule, status) for rule in range(len(RULES)) for status in (MATCH, UNKNOWN, NO_MATCH)}
