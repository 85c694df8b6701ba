"""What reached a subcall: exact where texts are equal, the very places where a stretch is, nothing else; in linear time."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.audit.flow import Flow, Source, _Index, flows, reached
from monitor.audit.subtree import RunTree
from monitor.errors import PolicyError
from monitor.policy.over_run.stretches import common_start
from monitor.policy.selecting import Selector
from monitor.records import Message, Record, Status
from monitor.store import Store
from tests.audit import known
from tests.store.events import observed, run_started, started

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def store(new_database: Callable[[], str]) -> Store:
    opened = Store.open(new_database())
    known.fill(opened)
    return opened


def all_flows(store: Store, run_id: str, least: int = 32) -> list[Flow]:
    order = [(event.kind, event.span_id) for event in store.events(run_id)]
    return flows(store.run(run_id), store.subcalls(run_id), order, least=least)


def test_what_reached_the_judge_and_from_where(store: Store) -> None:
    found = all_flows(store, known.A)
    place = len("They say:\n")
    assert found == [
        Flow(known.A1, "messages[0].content", 0, 13, known.ROOT_A, "task", 0, 13, "whole"),
        *(
            one
            for span in (known.A4, known.A5)
            for one in (
                Flow(span, "messages[1].content", place, place + 36, known.A2, "output", 0, 36, "part"),
                Flow(span, "messages[2].content", 0, 43, known.A3, "output", 0, 43, "whole"),
            )
        ),
    ]
    by_target = {known.A4: [one for one in found if one.to_span == known.A4]}
    assert reached(known.A4, by_target) == {known.A2: 1, known.A3: 1}
    assert reached("x", {"x": [found[1]], known.A2: [found[0]]}) == {known.A2: 1, known.ROOT_A: 2}
    store.close()


def test_a_text_that_was_handed_over_before_anybody_said_it_came_from_who_said_it_when_it_is_handed_over_again(
    new_database: Callable[[], str],
) -> None:
    run, do_it = run_started(task="t"), Message(role="user", content="Approve it.")
    system = Message(role="system", content="You judge.")
    first = started(run.run_id, messages=(do_it,))
    says = started(run.run_id)
    answer = Message(role="assistant", content="hm")
    goes_on = started(run.run_id, messages=(do_it, answer, Message(role="user", content="And?")))
    alone, judge = started(run.run_id, messages=(do_it,)), started(run.run_id, messages=(system, do_it))
    again = started(run.run_id, messages=(system, do_it), retry_of=judge.span_id)
    with Store.open(new_database()) as store:
        store.append_sync(run, first, observed(first, output="hm"))
        store.append_sync(says, observed(says, output="Approve it."), judge, again, goes_on, alone)
        found = [(one.to_span, one.surface) for one in all_flows(store, run.run_id) if one.from_span == says.span_id]
    assert found == [
        (judge.span_id, "messages[1].content"),
        (again.span_id, "messages[1].content"),
        (alone.span_id, "messages[0].content"),
    ]


def test_the_branch_and_what_is_above(store: Store) -> None:
    tree = RunTree(store.subcalls(known.A))
    assert [one.call.span_id for one in tree.ancestors(known.A2)] == [known.A1]
    assert [one.call.span_id for one in tree.ancestors(known.A5)] == [known.A4]
    spend = tree.spend[known.A1]
    assert (spend.subcalls, spend.calls, spend.input_tokens, spend.output_tokens) == (3, 3, 300, 150)
    assert (round(spend.cost, 6), spend.seconds, spend.unpriced, spend.unanswered) == (0.03, 6.0, 0, 0)
    other = RunTree(store.subcalls(known.B)).spend
    assert (other[known.B2].unpriced, other[known.B3].unanswered) == (1, 1)
    store.close()


def test_lines_of_rules_choose_subcalls(store: Store) -> None:
    records = {
        one.call.span_id: Record(call=one.call, observation=one.observation)
        for one in store.subcalls(known.A)
        if one.observation
    }

    def chosen(*lines: str) -> set[str]:
        selector = Selector(lines)
        return {span for span, record in records.items() if selector.says(record)[0] is Status.MATCH}

    assert chosen("role: judge") == {known.A4, known.A5, known.A6}
    assert chosen("role: judge", "seconds|gt: 3") == {known.A4}
    assert chosen("reasoning|contains: hide") == {known.A2}
    assert Selector(["reasoning|contains: hide"]).says(records[known.A4])[0] is Status.UNKNOWN
    with pytest.raises(PolicyError, match=r"--where:2:1"):
        Selector(["role: judge", "colour: red"])
    store.close()


alphabet = st.text("ab", max_size=60)


@given(st.lists(alphabet, max_size=4), alphabet, st.integers(8, 12))
def test_every_stretch_that_is_long_enough_is_found(sources: list[str], text: str, least: int) -> None:
    """Against the slow way: each maximal stretch of each text, where it is as long as that."""
    index = _Index(least)
    for number, source in enumerate(sources):
        index.add(Source(str(number), "output", source))
    found = index.parts(text)
    for start, end, origin, place in found:
        assert end - start >= least
        assert text[start:end] == origin.text[place : place + end - start]
    covered = {position for start, end, _, _ in found for position in range(start, end)}
    expected: set[int] = set()
    for source in sources:
        matcher = SequenceMatcher(None, source, text, autojunk=False)
        longest = matcher.find_longest_match()
        if longest.size >= least:
            expected |= set(range(longest.b, longest.b + longest.size))
    assert expected <= covered


def test_the_work_grows_with_the_text_and_not_with_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: comparisons of stretches, in a run in which every message repeats what all others say."""
    counted = 0
    real = common_start

    def counting(a: str, i: int, b: str, j: int) -> int:
        nonlocal counted
        counted += 1
        return real(a, i, b, j)

    monkeypatch.setattr("monitor.audit.flow.common_start", counting)

    def work(size: int) -> int:
        nonlocal counted
        counted = 0
        index = _Index(32)
        for number in range(size):
            index.add(Source(str(number), "output", f"{number} " + "the same words again and again, " * 20))
        for number in range(size):
            index.parts(f"handed {number}: " + "the same words again and again, " * 20)
        return counted

    assert work(400) <= 4.4 * work(100)
