"""The bound on what rules cost is a sum over their patterns, and a pattern beyond all bounds does not load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import policy
from monitor.errors import PolicyError
from monitor.policy.matching import MAX_PROGRAM, MAX_SPANS, PatternError, compile_pattern
from monitor.policy.tools.cost import Cost, cost_of, patterns_of
from tests.policy.packs import pack

if TYPE_CHECKING:
    from tests.policy.conftest import LoadDetection, Write


def test_the_formula() -> None:
    hide, digits = compile_pattern("hide"), compile_pattern("[0-9]{3}")
    forward = hide.programsize + digits.programsize
    backward = hide.reverseprogramsize + digits.reverseprogramsize
    largest = max(("hide", "[0-9]{3}"), key=lambda pattern: compile_pattern(pattern).programsize)
    assert cost_of(["hide", "[0-9]{3}", "hide"]) == Cost(
        patterns=2,
        steps_per_byte=forward,
        bound_per_byte=(1 + MAX_SPANS) * (2 * forward + backward),
        always_run=1,
        always_run_steps=digits.programsize,
        largest=largest,
        largest_steps=compile_pattern(largest).programsize,
    )


def test_no_patterns_cost_nothing() -> None:
    assert cost_of([]) == Cost(0, 0, 0, 0, 0, "", 0)


def test_only_what_the_condition_reads_counts(load_detection: LoadDetection) -> None:
    (rule,) = load_detection(
        "a: {output|contains: [one, two]}\nb: {output|re: three}\nunused: {output|re: four}\n"
        "c: {role: five}\ncondition: a and not b and not c"
    ).rules
    assert patterns_of([rule.detection]) == {"(?i)one", "(?i)two", "three"}


@pytest.mark.parametrize("regex", [r"\pL{1000}", r"\pL{200}", r"(?:\pL\pN?){100}"])
def test_a_pattern_that_is_too_large_is_a_fault_in_plain_english(regex: str, write: Write) -> None:
    with pytest.raises(PatternError, match="too large"):
        compile_pattern(regex)
    with pytest.raises(PolicyError) as caught:
        policy.load([write(pack(f"a: {{output|re: '{regex}'}}\ncondition: a"))])
    (fault,) = caught.value.faults
    assert fault.problem.startswith("the pattern is too large: on a text made for it")
    assert fault.fix.startswith("Split it, or repeat less")


def test_a_large_pattern_within_the_bound_loads() -> None:
    assert 20_000 < compile_pattern(r"\pL{20}").programsize <= MAX_PROGRAM
