"""Packs that include packs, filters, overrides, rules on trial, and what a rule is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from monitor import actions, policy
from monitor.errors import PolicyError
from monitor.policy import examples
from monitor.records import Action, FilterRef, Finding, Observation, Outcome, VerdictValue

if TYPE_CHECKING:
    from pathlib import Path

    from tests.policy.conftest import Write

RULE = """\
pack: base
version: 1.2.0
engine: 2
rules:
  - title: Deletes
    id: 3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11
    name: deletes
    level: high
    detection: {sel: {output|contains: delete}, condition: sel}
"""
FILTERS = """\
filter_set: site_noise
version: 1.0.0
filters:
  - title: The nightly build deletes its own output
    id: 0d3f5a8e-0a3c-4a56-8c3f-0a4f3c2d1b10
    name: nightly_build
    reason: The build's last step empties its scratch folder.
    author: R. Reviewer
    date: '2026-11-01'
    expires: '2026-12-31'
    rules: [deletes]
    detection: {build: {role: builder, reasoning|contains: scratch}, condition: build}
    tests:
      - {record: {role: builder, reasoning: empty the scratch folder}, expect: match}
      - {record: {role: clerk, reasoning: empty the scratch folder}, expect: no_match}
"""
OVERRIDES = """\
override_set: site
version: 0.3.0
overrides:
  - {rule: deletes, reason: People look at every answer here., level: medium}
"""
TODAY = "2026-11-27"


def finding(rules: policy.PolicySet, **short: Any) -> Finding:
    (found,) = rules.findings(examples.build({key.replace("__", "."): value for key, value in short.items()}))
    return found


def problems(*paths: Path) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        policy.load(paths, today=TODAY)
    return [fault.problem for fault in caught.value.faults]


def test_a_filter_suppresses_what_it_is_certain_of(write: Write) -> None:
    rules = policy.load([write(RULE, "a.yaml"), write(FILTERS, "f.yaml")], today=TODAY)
    found = finding(rules, output="I delete it", role="builder", reasoning="the scratch folder")
    assert (found.status.value, found.suppressed_by, bool(found.evidence)) == ("match", "nightly_build", True)
    judged = actions.judge(Observation(outcome=Outcome.OK, output="x"), [found])
    assert (judged.action, judged.verdict.value) == (Action.LOG, VerdictValue.PASS)
    assert finding(rules, output="I delete it", role="clerk", reasoning="scratch").suppressed_by == ""
    unreadable = finding(rules, output="I delete it", role="builder", reasoning__state="encrypted")
    assert (unreadable.status.value, unreadable.suppressed_by) == ("match", "")
    assert finding(rules, output="fine", role="builder", reasoning="scratch").status.value == "no_match"


def test_an_expired_filter_suppresses_nothing_and_says_so(write: Write) -> None:
    paths = [write(RULE, "a.yaml"), write(FILTERS, "f.yaml")]
    on_its_last_day, expired = policy.load(paths, today="2026-12-31"), policy.load(paths, today="2027-01-01")
    short = {"output": "I delete it", "role": "builder", "reasoning": "scratch"}
    assert [finding(rules, **short).suppressed_by for rules in (on_its_last_day, expired)] == ["nightly_build", ""]
    (ref,) = expired.filter_refs
    assert ref == FilterRef(
        name="nightly_build",
        filter_id="0d3f5a8e-0a3c-4a56-8c3f-0a4f3c2d1b10",
        filter_hash=ref.filter_hash,
        filter_set="site_noise",
        version="1.0.0",
        expires="2026-12-31",
        is_expired=True,
    )
    assert not on_its_last_day.filter_refs[0].is_expired


def test_a_filter_may_name_a_rule_by_its_id(write: Write) -> None:
    text = FILTERS.replace("rules: [deletes]", "rules: [3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11]")
    rules = policy.load([write(RULE, "a.yaml"), write(text, "f.yaml")], today=TODAY)
    assert finding(rules, output="delete", role="builder", reasoning="scratch").suppressed_by == "nightly_build"


def test_the_tests_of_filters_are_run(write: Write) -> None:
    text = FILTERS.replace("role: clerk, reasoning", "role: builder, reasoning")
    results = policy.load([write(RULE, "a.yaml"), write(text, "f.yaml")], today=TODAY).run_tests()
    assert [(r.pack, r.rule, r.expected.value, r.actual.value) for r in results] == [
        ("site_noise", "nightly_build", "match", "match"),
        ("site_noise", "nightly_build", "no_match", "match"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("reason: The build's last step empties its scratch folder.\n    ", "", "`reason` is missing."),
        ("author: R. Reviewer\n    ", "", "`author` is missing."),
        ("expires: '2026-12-31'\n    ", "", "`expires` is missing."),
        ("'2026-12-31'", "'2026-10-31'", "It expires on 2026-10-31, before its date, 2026-11-01."),
        ("'2026-12-31'", "never", "`expires`: expected a date such as 2026-11-22."),
        ("rules: [deletes]", "rules: []", "`rules` is an empty list."),
        (
            "rules: [deletes]",
            "rules: [delets]",
            "there is no rule `delets` in the packs that are loaded, so this filter would do nothing.",
        ),
        ("filters:\n", "pack: x\nfilters:\n", "`pack` and `filter_set` do not go together in one file."),
        (
            "version: 1.0.0",
            "version: 1.0.0\nengine: 4",
            "`engine`: the pack needs version 4 of the language, and this is version 3: upgrade.",
        ),
    ],
)
def test_faults_of_filters(old: str, new: str, problem: str, write: Write) -> None:
    assert problems(write(RULE, "a.yaml"), write(FILTERS.replace(old, new), "f.yaml")) == [problem]


def test_an_override_changes_a_rule_and_its_hash(write: Write) -> None:
    """The action follows from the new level; the record names the site's file."""
    pack = write(RULE, "a.yaml")
    (plain,), (changed,) = policy.load([pack]).refs, policy.load([pack, write(OVERRIDES, "o.yaml")]).refs
    assert (plain.overridden_by, changed.overridden_by) == ("", "site 0.3.0")
    assert plain.rule_hash != changed.rule_hash
    found = finding(policy.load([pack, write(OVERRIDES, "o.yaml")]), output="delete")
    assert (found.level.value, found.action.value, found.rule_hash) == ("medium", "flag", changed.rule_hash)


def test_an_override_leaves_the_rest_as_written(write: Write) -> None:
    text = OVERRIDES.replace("level: medium", "on_unknown: flag")
    found = finding(policy.load([write(RULE, "a.yaml"), write(text, "o.yaml")]), output="delete")
    assert (found.level.value, found.action.value, found.on_unknown.value) == ("high", "withhold", "flag")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("rule: deletes", "rule: delete", ["there is no rule `delete` in the packs that are loaded, so this override "
        "would do nothing."]),
        (", level: medium", "", ["It changes nothing: give a `level`, `action`, `on_unknown` or `status`."]),
        ("reason: People look at every answer here., ", "", ["`reason` is missing."]),
        ("level: medium", "status: deprecated", ["`status` cannot be `deprecated`."]),
    ],
)  # fmt: skip
def test_faults_of_overrides(old: str, new: str, found: list[str], write: Write) -> None:
    assert problems(write(RULE, "a.yaml"), write(OVERRIDES.replace(old, new), "o.yaml")) == found


def test_a_rule_is_overridden_once(write: Write) -> None:
    """By whichever of its names."""
    first = write(OVERRIDES, "o.yaml")
    second = write(
        OVERRIDES.replace("site", "site2").replace("deletes", "3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11"), "p.yaml"
    )
    assert problems(write(RULE, "a.yaml"), first, second) == [f"`deletes` is overridden already, at {first}:4."]


def test_a_pack_includes_packs(write: Write) -> None:
    """By name beside it, by path, and by the name of a shipped one; each once, whichever way it is come by."""
    write(RULE, "base.yaml")
    other = RULE.replace("base", "other").replace("6b11", "6b12").replace("deletes", "erases").replace("Deletes", "E")
    write(other.replace("rules:", "includes: [base, ../x/all.yaml]\nrules:"), "other.yaml")
    whole = write("pack: all\nversion: 1.0.0\nincludes: [./other.yaml, base]\n", "all.yaml")
    (whole.parent.parent / "x").mkdir(exist_ok=True)
    (whole.parent.parent / "x" / "all.yaml").write_text("pack: x\nversion: 1.0.0\nincludes: [base]\n")
    assert problems(whole) == ["there is no pack `base` beside this file, and none is shipped under that name."]
    (whole.parent.parent / "x" / "base.yaml").symlink_to(whole.parent / "base.yaml")
    rules = policy.load([whole])
    assert [(ref.pack, ref.pack_version, ref.name) for ref in rules.refs] == [
        ("base", "1.2.0", "deletes"),
        ("other", "1.2.0", "erases"),
    ]


def test_packs_may_include_each_other(write: Write) -> None:
    write(RULE.replace("rules:", "includes: [b]\nrules:"), "a.yaml")
    second = write("pack: b\nversion: 1.0.0\nincludes: [a]\n", "b.yaml")
    assert [ref.name for ref in policy.load([second]).refs] == ["deletes"]


def test_a_pack_that_needs_a_newer_language_does_not_load(write: Write) -> None:
    assert problems(write(RULE.replace("engine: 2", "engine: 9"))) == [
        "`engine`: the pack needs version 9 of the language, and this is version 3: upgrade."
    ]
    assert problems(write(RULE.replace("engine: 2", "engine: '2'"))) == ["`engine` must be a whole number, found `2`."]


def with_keys(keys: str) -> str:
    return RULE.replace("    level: high\n", f"    level: high\n{keys}")


def test_a_rule_on_trial_is_recorded_and_never_acts(write: Write) -> None:
    found = finding(policy.load([write(with_keys("    status: test\n"))]), output="delete")
    assert (found.status.value, found.shadow, bool(found.evidence)) == ("match", True, True)
    judged = actions.judge(Observation(outcome=Outcome.OK, output="delete"), [found])
    assert (judged.action, judged.outcome, judged.verdict.value) == (
        Action.LOG,
        Outcome.OK,
        VerdictValue.UNMEASURED,
    )


def test_a_site_puts_a_rule_on_trial(write: Write) -> None:
    text = OVERRIDES.replace("level: medium", "status: test")
    assert finding(policy.load([write(RULE, "a.yaml"), write(text, "o.yaml")]), output="delete").shadow


def test_an_unsupported_rule_is_never_applicable_and_a_deprecated_one_acts(write: Write) -> None:
    unsupported = finding(policy.load([write(with_keys("    status: unsupported\n"))]), output="delete")
    assert (unsupported.status.value, unsupported.cause) == ("not_applicable", "the rule is marked as unsupported")
    deprecated = finding(policy.load([write(with_keys("    status: deprecated\n"))]), output="delete")
    assert (deprecated.status.value, deprecated.action) == ("match", Action.WITHHOLD)


@pytest.mark.parametrize(
    ("source", "short", "cause"),
    [
        ("{service: tool}", {}, "the rule is about answers of a tool"),
        ("{service: tool}", {"kind": "tool"}, ""),
        ("{product: langchain}", {}, "the rule is about records that came in through langchain"),
        ("{product: langchain, category: subcall}", {"adapter": "langchain"}, ""),
        ("{definition: 'whatever comes', category: subcall}", {}, ""),
    ],
)
def test_a_log_source_says_what_a_rule_is_about(source: str, short: dict[str, Any], cause: str, write: Write) -> None:
    rules = policy.load([write(with_keys(f"    logsource: {source}\n"))])
    for output, status in (("delete", "match"), ("fine", "no_match")):
        (found,) = rules.findings(examples.build({**short, "output": output}))
        assert (found.status.value, found.cause) == ("not_applicable" if cause else status, cause)


def test_related_rules_are_named_by_their_ids(write: Write) -> None:
    related = "    related: [{id: 3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b12, type: obsolete}]\n"
    (rule,) = policy.load([write(with_keys(related))]).rules
    assert rule.written.related[0].type == "obsolete"
    assert problems(write(with_keys(related.replace("obsolete", "older")))) == ["`type` cannot be `older`."]
