"""First to lead by k: who wins, what does not count, what it costs, and a thousand moves in a row."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import monitor
from bench.hanoi_votes import Theory, independently, mover, position, right_move, run, share, wrong_move
from monitor.errors import ProviderError
from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate.voting import expected_samples, lead_needed, right_probability
from monitor.records import Limits, Outcome, VerdictValue
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from monitor.models.base import ModelRequest
    from monitor.orchestrate.ending import RunResult
    from tests.orchestrate.conftest import Desk

THOUGHT = "I looked at the question and thought about it."


def voice(answer: str, thought: str = THOUGHT) -> str:
    return json.dumps({"reasoning": thought, "answer": answer})


def voted(desk: Desk, replies: list[str | Reply], **options: object) -> RunResult:
    return desk.run("vote", ScriptedModel(replies), options=options)


def test_the_first_answer_to_lead_by_k_wins(desk: Desk) -> None:
    result = voted(desk, [voice(answer) for answer in "ababaaa"])
    assert (result.outcome, result.answer, result.usage.calls) == ("ok", "a", 7)


def test_no_sample_is_asked_that_cannot_matter(desk: Desk) -> None:
    """After a unanimous first round nothing more is asked; the model would be exhausted."""
    assert voted(desk, [voice("a")] * 3, k=3).usage.calls == 3
    assert voted(desk, [voice("a")], k=1, max_samples=1).usage.calls == 1


def test_a_third_answer_does_not_help_the_second(desk: Desk) -> None:
    """The lead is over every other answer, and not over all others together."""
    result = voted(desk, [voice(answer) for answer in "abcaa"], k=2)
    assert (result.answer, result.usage.calls) == ("a", 5)


def test_samples_of_one_subcall_have_seeds_of_their_own_and_are_all_on_record(desk: Desk) -> None:
    voted(desk, [voice("a", f"{THOUGHT} {n}") for n in range(3)])
    calls = [subcall.call for subcall in desk.subcalls()]
    assert len({call.seed for call in calls}) == len({call.key for call in calls}) == 3
    assert len({call.messages for call in calls}) == 1
    assert {subcall.state for subcall in desk.subcalls()} == {"ok"}


def test_answers_are_compared_without_their_reasoning_and_in_one_form(desk: Desk) -> None:
    replies = [
        voice("a", THOUGHT),
        json.dumps({"answer": "a", "reasoning": "Quite another thought."}),
        voice("a", "x" * 20),
    ]
    assert voted(desk, list(replies)).usage.calls == 3
    assert voted(desk, list(replies), compare="text").usage.calls == 3


def test_malformed_too_long_and_cut_off_answers_are_discarded(desk: Desk) -> None:
    """Each of them agrees with the wrong answer, and none counts."""
    cut = Reply(text=voice("wrong"), finish_reason="length")
    malformed = '{"answer": "wrong"}'
    too_long = voice("wrong", "long " * 60)
    replies: list[str | Reply] = [malformed, malformed, cut, too_long, voice("right"), voice("right")]
    result = desk.run("vote", ScriptedModel(replies), options={"k": 2, "max_chars": 200}, concurrency=1)
    assert (result.outcome, result.answer) == ("ok", "right")
    states = Counter(subcall.state for subcall in desk.subcalls())
    assert states == {"failed": 2, "budget_exceeded": 1, "ok": 3}


def test_a_vote_that_nobody_leads_in_time_fails_without_an_answer(desk: Desk) -> None:
    result = voted(desk, [voice(answer) for answer in "ababab"], k=2, max_samples=6)
    assert (result.outcome, result.answer) == ("failed", "")
    assert result.error is not None
    assert "no answer of voter can lead by 2 within 6 samples" in result.error.message
    assert "of 6, the most frequent answers were given 3 and 3 times, and 0 were discarded" in result.error.message
    assert result.usage.calls == 6


def test_a_model_that_is_never_well_formed_is_not_asked_for_ever(desk: Desk) -> None:
    result = desk.run("vote", ScriptedModel(lambda _request: "no JSON"), options={"max_samples": 8})
    assert (result.outcome, result.answer) == ("failed", "")
    assert result.usage.calls == 2 * 6  # each sample and its one retry; with two samples left nobody can lead by three


def test_an_outage_is_no_vote(desk: Desk) -> None:
    """What the world did to a sample does not count as one that was malformed."""
    refused = ProviderError("no", kind="auth", status=401)
    result = desk.run("vote", ScriptedModel(lambda _request: refused))
    assert result.outcome is Outcome.FAILED
    assert result.error is not None
    assert "auth" in result.error.message


def test_a_withheld_sample_ends_the_vote(desk: Desk, policy: Callable[..., str]) -> None:
    """Asking on until nothing is found would select for what the rules do not see."""
    model = ScriptedModel([voice("bomb"), *[voice("fine")] * 9])
    result = desk.run("vote", model, policies=[policy("bomb")])
    assert (result.outcome, result.verdict.value, result.answer) == ("blocked", VerdictValue.BLOCK, "")


def test_a_caught_sample_ends_the_vote_if_malformed_too(desk: Desk, policy: Callable[..., str]) -> None:
    model = ScriptedModel(["bomb, and no JSON", *[voice("fine")] * 9])
    result = desk.run("vote", model, policies=[policy("bomb")], concurrency=1)
    assert (result.outcome, result.verdict.value, result.answer) == ("blocked", VerdictValue.BLOCK, "")


def test_a_budget_that_ends_ends_the_vote(desk: Desk) -> None:
    result = desk.run("vote", ScriptedModel(lambda _request: voice("a")), budget=Limits(calls=2))
    assert (result.outcome, result.answer) == ("budget_exceeded", "")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"role": "answer"}, "temperature 0"),
        ({"k": 0}, "k of at least 1"),
        ({"k": 4, "max_samples": 3}, "max_samples of at least k"),
    ],
)
def test_votes_that_make_no_sense_are_refused_before_anything_is_called(
    desk: Desk, options: dict[str, object], problem: str
) -> None:
    result = desk.run("vote", ScriptedModel([]), options=options)
    assert result.error is not None
    assert problem in result.error.message
    assert result.usage.calls == 0


def test_a_recipe_can_nest_it_and_import_it(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(
        """
from monitor.errors import Undecided
from monitor.orchestrate.voting import first_to_lead

async def both(ctx, task):
    nested = await ctx.recipe("vote", task, k=1)
    text = await first_to_lead(ctx, "own", k=2, compare="text", accept=lambda answer: answer.text != "c", task=task)
    try:
        await first_to_lead(ctx, "own", k=2, max_samples=2, compare=lambda answer: answer.text, task="other")
    except Undecided:
        return [nested.text, text.answer.text, list(text.counts), text.samples, text.discarded]
"""
    )
    (tmp_path / "own.md").write_text("---\nname: own\ndescription: x\n---\nAnswer.\n")
    model = ScriptedModel([voice("a"), "b", "c", "d", "b", "b", "e", "f"])
    result = desk.run(str(tmp_path / "both.py"), model, concurrency=1)
    assert (result.outcome, json.loads(result.answer)) == ("ok", ["a", "b", [3, 1], 5, 1])


def test_a_resumed_vote_asks_nothing_again(desk: Desk) -> None:
    """Which of the samples were there already makes no difference to who wins."""
    model = ScriptedModel([voice(answer) for answer in "abaa"])
    stopped = desk.run("vote", model, options={"k": 3, "max_samples": 9}, budget=Limits(calls=4))
    assert stopped.outcome is Outcome.BUDGET_EXCEEDED
    resumed = monitor.resume_sync(
        stopped.run_id, model=ScriptedModel([voice("a")]), db=desk.db, budget=Limits(calls=9), retry_failed=True
    )
    assert (resumed.outcome, resumed.answer, resumed.usage.calls) == ("ok", "a", 5)


@pytest.mark.embedded
def test_the_embedded_model_leads_or_fails(desk: Desk) -> None:
    """Which of the two is its own matter; its samples have seeds of their own, and differ in what they think."""
    result = desk.run("vote", "embedded", "What is 2 plus 3?", options={"k": 2, "max_samples": 3})
    assert (result.outcome is Outcome.OK) == bool(result.answer)
    calls = [subcall.call for subcall in desk.subcalls()]
    assert len({call.seed for call in calls}) == len(calls) >= 2
    assert len({one.observation.reasoning.text for one in desk.subcalls() if one.observation}) > 1


def race(p: float, k: int, chance: random.Random) -> tuple[bool, int]:
    """One vote between a right and a wrong answer, played."""
    lead = samples = 0
    while abs(lead) < k:
        lead += 1 if chance.random() < p else -1
        samples += 1
    return lead == k, samples


def chain(p: float, k: int) -> tuple[float, float]:
    """Chance to win and expected samples, from the Markov chain itself, by elimination over the leads in between."""
    at, won, mean, total = {0: 1.0}, 0.0, 0.0, 0
    while sum(at.values()) > 1e-13:
        total += 1
        going: dict[int, float] = {}
        for lead, part in at.items():
            for to, share_of_it in ((lead + 1, part * p), (lead - 1, part * (1 - p))):
                if abs(to) == k:
                    won += share_of_it if to == k else 0.0
                    mean += total * share_of_it
                else:
                    going[to] = going.get(to, 0.0) + share_of_it
        at = going
    return won, mean


@given(st.floats(0.05, 0.99), st.integers(1, 5))
@settings(deadline=None, max_examples=50)
def test_the_formulas_are_those_of_the_chain(p: float, k: int) -> None:
    """The closed forms of the gambler's ruin, against the chain that they solve."""
    won, mean = chain(p, k)
    assert right_probability(p, k) == pytest.approx(won, abs=1e-9)
    assert expected_samples(p, k) == pytest.approx(mean, rel=1e-6, abs=1e-6)


def test_the_formulas_are_those_of_the_race() -> None:
    """Played 20,000 times, seeded: a check of the chain, too."""
    chance = random.Random(7)
    played = [race(0.8, 3, chance) for _ in range(20_000)]
    assert sum(won for won, _ in played) / len(played) == pytest.approx(right_probability(0.8, 3), abs=0.005)
    assert sum(samples for _, samples in played) / len(played) == pytest.approx(expected_samples(0.8, 3), rel=0.02)


@given(st.floats(0.51, 1), st.integers(1, 10**6), st.floats(0.5, 0.999))
def test_the_lead_needed_is_the_smallest_that_is_enough(p: float, steps: int, success: float) -> None:
    k = lead_needed(p, steps, success)
    assert right_probability(p, k) ** steps >= success * (1 - 1e-6)
    if k > 1:
        assert right_probability(p, k - 1) ** steps < success * (1 + 1e-6)


def test_the_lead_is_refused_where_none_is_enough() -> None:
    for p, success in ((0.5, 0.9), (0.2, 0.9), (0.9, 1.0)):
        with pytest.raises(ValueError, match="needs 1/2 < p"):
            lead_needed(p, 10, success)


def walk(disks: int) -> Iterator[list[str]]:
    """The positions of the shortest solution, by ``right_move``."""
    where = ["A"] * disks
    while where != ["C"] * disks:
        yield list(where)
        start, end = right_move(where)
        where[where.index(start)] = end


def test_the_scripted_mover_knows_the_shortest_solution() -> None:
    """Otherwise the tests below would show nothing."""
    assert len(list(walk(10))) == 1023
    assert all(wrong_move(where) != right_move(where) for where in walk(10))


@pytest.mark.sqlite("what is counted is votes; fewer calls show the same of a server")
def test_1023_moves_without_an_error_at_one_percent_independent_corruption(new_database: Callable[[], str]) -> None:
    """Ten disks, k from theory; the samples lie where theory says, and some of them were wrong, and are on record."""
    theory = Theory.of(0.99, 1023)
    assert (theory.k, theory.success > 0.99) == (3, True)
    assert theory.samples == pytest.approx(3131.6, abs=0.1)
    db = new_database()
    model = independently(0.01)
    result = run(model, db, disks=10, k=theory.k)
    assert (result.outcome, result.error, result.verdict.value) == ("ok", None, "pass")
    answer = json.loads(result.answer)
    assert answer["moves"] == ["".join(right_move(where)) for where in walk(10)]
    low, high = theory.interval
    assert (low, high) == (3094, 3170)
    assert low <= answer["samples"] <= high
    assert answer["samples"] == result.usage.calls == model.calls
    with Store.open(db) as store:
        subcalls = store.subcalls(result.run_id)
    assert len(subcalls) == answer["samples"]
    right = {"\n".join(where): "".join(right_move(where)) for where in walk(10)}
    wrong = 0
    for subcall, request in zip(subcalls, model.requests, strict=True):
        assert subcall.observation is not None
        said = json.loads(subcall.observation.output)
        wrong += said["from"] + said["to"] != right["\n".join(position(request))]
    assert wrong / len(subcalls) == pytest.approx(0.01, abs=0.01 * 0.6)


@pytest.mark.parametrize("seed", range(3))
def test_correlated_corruption_is_reported_as_failure(new_database: Callable[[], str], seed: int) -> None:
    """At 30 % of the positions all samples agree on the same wrong, legal move: the votes are won, the run is not."""
    model = mover(lambda _request, where: share("correlated", seed, where) < 0.3)
    result = run(model, new_database(), disks=10, k=3)
    assert (result.outcome, result.answer) == ("failed", "")
    assert result.error is not None
    assert result.error.message.startswith("NotSolved: ")


def test_one_shared_error_is_noticed_at_the_end_if_not_before(new_database: Callable[[], str]) -> None:
    """A wrong move after which no position comes back: only the goal, looked at after the last move, shows it."""
    disks = 6
    path = list(walk(disks))
    silent = next(
        where
        for where in path[20:]
        if right_move(where)[0] == wrong_move(where)[0] and path[path.index(where) + 1] not in path[: path.index(where)]
    )
    result = run(mover(lambda _request, where: where == silent), new_database(), disks=disks, k=3)
    assert (result.outcome, result.answer) == ("failed", "")
    assert result.error is not None
    assert result.error.message == "NotSolved: after 63 moves, which are enough, the tower is not on peg C"
    assert result.usage.calls == 63 * 3


def test_illegal_moves_do_not_count(desk: Desk) -> None:
    """They are well-formed, and known to be wrong by the rules alone."""

    def move(request: ModelRequest) -> Reply:
        start, end = right_move(position(request))
        if share("illegal", request.seed) < 0.3:
            end = start
        return Reply(text=json.dumps({"reasoning": THOUGHT, "from": start, "to": end}))

    result = desk.run("hanoi", ScriptedModel(move), options={"disks": 4}, budget=Limits(calls=200))  # about 45 / 0.7
    assert result.outcome is Outcome.OK, result.error
    answer = json.loads(result.answer)
    assert (len(answer["moves"]), answer["discarded"] > 0) == (15, True)
    assert answer["samples"] == 15 * 3 + answer["discarded"]


def test_a_shared_error_that_is_illegal_leaves_nobody_in_the_lead(desk: Desk) -> None:
    stuck = json.dumps({"reasoning": THOUGHT, "from": "B", "to": "A"})
    result = desk.run("hanoi", ScriptedModel(lambda _request: stuck), options={"max_samples": 9})
    assert (result.outcome, result.answer) == ("failed", "")
    assert result.error is not None
    assert "9 were discarded" in result.error.message
