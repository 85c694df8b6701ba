"""The shipped recipes on the real embedded model: modest answers, well-formed ones, with their exact tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.records import Outcome, ReasoningState, VerdictValue

if TYPE_CHECKING:
    from tests.orchestrate.conftest import Desk

TASKS = [
    "How do bees make honey, and what do they use it for?",
    "A ticket costs 3 dollars. How much do 4 friends pay in all?",
    "What should I pack for a walk in the mountains?",
]


@pytest.mark.embedded
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("recipe", ["answer", "amplify"])
def test_the_shipped_recipes_end_with_well_formed_output(desk: Desk, recipe: str, task: str) -> None:
    result = desk.run(recipe, "embedded", task)
    assert result.outcome is Outcome.OK, result.error
    assert result.answer
    assert result.verdict.value in {VerdictValue.PASS, VerdictValue.FLAG}
    subcalls = desk.subcalls()
    assert len(subcalls) >= {"answer": 1, "amplify": 3}[recipe]
    for subcall in subcalls:
        seen = subcall.observation
        assert seen is not None
        assert seen.reasoning.state is ReasoningState.PLAIN
        assert seen.usage.cost == 0.0
        assert seen.usage.input_tokens <= subcall.call.reserved.input_tokens
        assert seen.usage.output_tokens <= subcall.call.reserved.output_tokens
        assert seen.tokens is not None
        assert len(seen.tokens.prompt_ids) == seen.usage.input_tokens
        assert len(seen.tokens.output_ids) == len(seen.tokens.logprobs) > 0
        assert all(logprob <= 0 for logprob in seen.tokens.logprobs)
    assert result.usage.calls == len(subcalls)


@pytest.mark.embedded
def test_a_tree_of_two_levels_hangs_its_parts_below_the_split(desk: Desk) -> None:
    result = desk.run("amplify", "embedded", TASKS[0], options={"depth": 2})
    assert result.outcome is Outcome.OK, result.error
    subcalls = {subcall.call.span_id: subcall for subcall in desk.subcalls()}
    assert max(subcall.call.depth for subcall in subcalls.values()) == 3
    for subcall in subcalls.values():
        above = subcalls.get(subcall.call.parent_id or "")
        if subcall.call.depth > 1:
            assert above is not None
            assert above.call.role == "decompose"
            assert above.call.depth == subcall.call.depth - 1
