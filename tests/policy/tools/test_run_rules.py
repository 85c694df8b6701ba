"""Lint and mutation of rules over a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import policy
from monitor.policy.loader import assemble, read_policy
from monitor.policy.tools.mutation import try_mutants
from tests.orchestrate.over_run import PACK

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.errors import Fault
    from tests.policy.conftest import Write

FORTH = "[{output: SECRET}, {output: NETWORK}]"
BACK = "[{output: NETWORK}, {output: SECRET}]"
TOGETHER = "[[{output: SECRET}, {output: NETWORK}]]"


def rule(correlation: str, *tests: tuple[str, str]) -> str:
    """A pack in which one rule over a run is written anew, with these tests."""
    head, _, _ = PACK.partition("run_rules:")
    written = "".join(f"\n      - {{run: {run}, expect: {expect}}}" for run, expect in tests)
    return (
        f"{head}run_rules:\n  - title: It\n    id: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f3\n    name: it\n    level: low\n"
        f"    description: x\n    correlation: {{{correlation}}}\n    tests:{written or ' []'}\n"
    )


ORDERED = "type: temporal_ordered, rules: [secret, network]"


def notes(path: Path) -> list[str]:
    """What lint says of the rule over the run."""
    return [one.problem for one in policy.lint([path]) if isinstance(one, policy.LintNote) and one.rule == "it"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rule(ORDERED), ["do not show both", "do not show that the order matters"]),
        (rule(ORDERED, (FORTH, "match"), ("[{output: a}]", "no_match")), ["do not show that the order matters"]),
        (rule(ORDERED, (FORTH, "match"), (BACK, "no_match")), []),
        (rule(ORDERED, (FORTH, "match"), (FORTH, "match"), (BACK, "no_match")), ["is the run of test 1 again"]),
        (
            rule("type: absence, rules: [network], without: [secret]", (BACK, "match"), (FORTH, "no_match")),
            [],
        ),
        (
            rule(f"{ORDERED[:-1]}, secret_too], subcalls: 2", (FORTH, "no_match"), (BACK, "no_match")).replace(
                "run_rules:",
                "  - {title: c, id: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9, name: secret_too, level: low,\n"
                "     detection: {a: {output|contains: SECRET TOO}, condition: a}}\nrun_rules:",
                1,
            ),
            ["never within 2: it can never match", "do not show both", "do not show that the order matters"],
        ),
        (
            rule(
                "type: event_count, rules: [secret], subcalls: 3, condition: {gte: 4}",
                ("[{output: SECRET}]", "no_match"),
                ("[{output: a}]", "no_match"),
            ),
            ["never so many among 3 subcalls", "do not show both"],
        ),
        (
            rule(ORDERED, (FORTH, "match"), (BACK, "no_match")).replace(
                "name: secret\n", "name: secret\n    status: unsupported\n", 1
            ),
            ["is marked as unsupported", "do not show that the order matters"],
        ),
        (
            rule(ORDERED, (FORTH, "match"), (BACK, "no_match")).replace(
                "name: secret\n", "name: secret\n    action: halt\n", 1
            ),
            ["halts the run by itself"],
        ),
    ],
)
def test_lint_says_what_is_probably_not_meant(text: str, said: list[str], write: Write) -> None:
    found = notes(write(text))
    assert len(found) == len(said), found
    for problem, words in zip(sorted(found), sorted(said), strict=False):
        assert any(words in one for one in found), (problem, found)


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        ("field: kind, condition: {gte: 3}", ["`kind` never has more than 2 different values"]),
        ("field: kind, condition: {gt: 2}", ["`kind` never has more than 2 different values"]),
        ("field: kind, condition: {gte: 2}", []),
        ("field: depth, group-by: [depth], condition: {gte: 2}", ["`depth` never has more than 1 different value in"]),
        ("field: tool.name, group-by: [tool.name], condition: {gte: 2}", []),
    ],
)
def test_lint_says_of_what_there_are_never_so_many_values(counted: str, said: list[str], write: Write) -> None:
    found = notes(write(rule(f"type: value_count, rules: [secret], {counted}")))
    never = [one for one in found if one.endswith("it can never match.")]
    assert [one.startswith(words) for one, words in zip(never, said, strict=True)] == [True] * len(said)


@pytest.mark.parametrize(
    ("correlation", "tests", "survivors"),
    [
        (ORDERED, [(FORTH, "match")], {"turning `temporal_ordered` into `temporal`"}),
        (ORDERED, [(FORTH, "match"), (BACK, "no_match")], set()),
        (
            f"{ORDERED}, subcalls: 3, group-by: [role]",
            [(FORTH, "match"), (BACK, "no_match")],
            {"leaving `subcalls` out", "making the window smaller by one subcall", "dropping `role` from `group-by`"},
        ),
        (
            "type: event_count, rules: [secret, network], condition: {gte: 2}",
            [("[{output: SECRET}, {output: SECRET}, {output: SECRET}]", "match")],
            {"dropping `network` from `rules`", "turning `gte` into `gt`"},
        ),
        (
            "type: event_count, rules: [secret, network], condition: {gte: 2}",
            [(FORTH, "match"), ("[{output: SECRET}]", "no_match")],
            set(),
        ),
        (
            "type: absence, rules: [network], without: [secret]",
            [(BACK, "match"), (FORTH, "no_match"), (TOGETHER, "match")],
            set(),
        ),
    ],
)
def test_mutation_names_what_no_test_notices(
    correlation: str, tests: list[tuple[str, str]], survivors: set[str], write: Write
) -> None:
    faults: list[Fault] = []
    files = read_policy([write(rule(correlation, *tests))], faults)
    (tried,) = (one for one in try_mutants(files, assemble(files)) if one.rule == "it")
    assert {one.what for one in tried.survivors} == survivors
    assert all(one.advice for one in tried.survivors)
    assert tried.tried
    assert not tried.ignored
