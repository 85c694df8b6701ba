"""Loading: every fault at once with its place and a fix; what a rule means decides its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import policy
from monitor.errors import PolicyError
from monitor.records import Action
from tests.policy.packs import HEADER, pack

if TYPE_CHECKING:
    from tests.policy.conftest import LoadDetection, Write

BROKEN = """\
pack: Core
version: 1.0
rulez: []
rules:
  - title: x
    id: abc
    name: foo
    level: hihg
    date: 2026-13-01
    action: redcat
    status: tests
    logsource: {service: robot}
    detection:
      sel:
        reasonning|contains: a
        output|contians: no
        outcome: failled
        depth|gt: "3"
        requires_reasoning: 'yes'
      sel2:
        - reasoning|re: '(?<!x)y'
        - reasoning|re: '(a)\\1'
        - output: [1, b]
        - output|contains|startswith: a
        - output|i: a
        - output|exists: maybe
        - output|contains: ''
        - output|contains|all: one
        - output|cased|re: A
        - depth|contains: 1
        - task: null
        - output|re: [{a: b}]
        - error: []
      unused: off
      and: {output: x}
      condition: sel and not selx
    tests:
      - record: {reasonin: 1, depth: "x", usage: {cost: nope}}
        expect: mach
      - record: {seconds: "3"}
"""
EXPECTED = """\
1:1: `pack` must be lower-case letters, digits and `_`, found `Core`.
2:1: `version` must be text, found `1.0`. Put it in quotes.
3:1: there is no key `rulez` here. Did you mean `rules`?
6:5: `id`: expected a UUID such as 8d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11.
8:5: `level` cannot be `hihg`. Did you mean `high`?
9:5: `date`: expected a date such as 2026-11-22.
10:5: `action` cannot be `redcat`. Did you mean `redact`?
11:5: `status` cannot be `tests`. Did you mean `test`?
12:17: `service` cannot be `robot`. Known: `model`, `tool`.
15:9: there is no field `reasonning`. Did you mean `reasoning`?
16:9: there is no modifier `contians`. Did you mean `contains`?
17:18: `outcome` is never `failled`. Did you mean `failed`?
18:20: `depth` is compared with a number, found text. Write it without quotes.
19:30: `requires_reasoning` is compared with a true/false, found text. Write it without quotes.
21:26: the pattern looks around itself: `(?<!…)` means that something must not come before. Matching must stay fast on \
hostile text, so there is no lookaround. Write two selections and join them: `condition: wanted and not unwanted` (or \
`and` for something that must be there too).
22:26: `\\1` refers back to a group. Matching must stay fast on hostile text, so there is no such thing: write the \
alternatives out.
23:20: expected text, found the number 1. Put it in quotes.
24:11: `contains|startswith` do not go together. Use one kind of comparison in a line.
25:11: `i`, `m` and `s` go with `re`. Other comparisons ignore upper and lower case already.
26:26: `exists` is followed by true or false. Write `true` or `false`.
27:29: every text contains nothing. For an empty text write `output: ''`.
28:11: `all` needs a list of several values. Leave `all` out.
29:11: a regular expression is exact as to case already. Leave `cased` out.
30:11: `depth` is a number and does not take `contains`. It takes: exists, lt, lte, gt, gte, neq, fieldref.
31:17: expected text, found nothing. Write `task|exists: false`.
32:23: expected text, found a map. A colon and a space make it a map: put it in single quotes.
33:18: expected 1 to 2,000 values, found 0. Add a value.
34:15: the selection `unused` must be a map of `field|modifier: value`, a list of such maps, or of phrases. It may not be \
empty, nor mix maps and phrases.
35:7: `and` is a word of conditions. Give the selection another name.
36:30: there is no selection `selx`. Did you mean `sel`?
38:18: a record has no `reasonin`. Did you mean `reasoning`?
38:31: `depth`: expected a whole number, found text. Leave the quotes out.
38:51: `usage.cost`: expected a number, found text. Leave the quotes out.
39:9: `expect` cannot be `mach`. Did you mean `match`?
40:9: `expect` is missing. Add it.
40:18: `seconds`: expected a number, found text. Leave the quotes out.
"""


def test_every_fault_of_a_file_at_once(write: Write) -> None:
    path = write(BROKEN)
    with pytest.raises(PolicyError) as caught:
        policy.load([path])
    assert str(caught.value).replace(f"{path}:", "").splitlines() == EXPECTED.splitlines()


def test_faults_of_all_files_in_order(write: Write) -> None:
    first, second = write("pack: [", "a.yaml"), write("rules: []", "b.yaml")
    with pytest.raises(PolicyError) as caught:
        policy.load([second, first])
    assert [fault.path for fault in caught.value.faults] == [str(second)] * 2 + [str(first)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n", "a policy file is a map."),
        ("rules: x\npack: a\nversion: 1.0.0\n", "`rules` must be a list (lines that begin with `- `)."),
        ("rules: []\npack: a\nversion: 1.0.0\n", "The pack has neither `rules` nor `run_rules` nor `includes`."),
        (HEADER + "  - just text\n", "`0` must be a map (lines of `key: value`)."),
        (pack("sel: {output: x}"), "`condition` is missing."),
        (pack(f"sel: {{depth|gt: {'9' * 310}}}\ncondition: sel"), "no number of a record is beyond 1e+300."),
        (pack("condition: sel"), "there is no selection."),
        (pack("sel: {output: x}\ncondition: [sel]"), "`condition` must be one line of text."),
        (pack("sel: {output|re: '[a'}\ncondition: sel"), "a bracket is never closed."),
        (pack("sel: {output|re: 'a{2000}'}\ncondition: sel"), "a part is repeated too often."),
        (pack("sel: {outcome|contains: xx}\ncondition: sel"), "`outcome` is never like that."),
        (pack("sel: {output|re: 'a++'}\ncondition: sel"), "the pattern has a possessive part."),
        (pack("sel: {output|re: 'a\\Z'}\ncondition: sel"), "`\\Z` is not known."),
        (pack("sel: {output|re: '*a'}\ncondition: sel"), "nothing stands before `*`, `+`, `?` or `{`."),
        (pack('sel: {output|re: "\\ud800"}\ncondition: sel'), "the pattern has half a character in it."),
        (pack("sel: {output|re: 'a)|(b'}\ncondition: sel"), "a parenthesis is closed that was never opened."),
    ],
)
def test_single_faults(text: str, problem: str, write: Write) -> None:
    with pytest.raises(PolicyError) as caught:
        policy.load([write(text)])
    assert problem in [fault.problem for fault in caught.value.faults]


def test_what_stands_twice_is_told_beside_other_faults(write: Write) -> None:
    rule = pack("sel: {output: x}\ncondition: sel").removeprefix(HEADER)
    path = write(HEADER + rule + rule.replace("condition: sel", "condition: selx"))
    with pytest.raises(PolicyError) as caught:
        policy.load([path])
    assert [fault.problem for fault in caught.value.faults] == [
        f"the title `Example` is taken already, at {path}:4.",
        f"the id `3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11` is taken already, at {path}:5.",
        f"the name `example` is taken already, at {path}:6.",
        "there is no selection `selx`.",
    ]


def test_ids_names_titles_and_packs_are_unique(write: Write) -> None:
    first = write(pack("sel: {output: x}\ncondition: sel"), "a.yaml")
    second = write(pack("sel: {output: y}\ncondition: sel"), "b.yaml")
    with pytest.raises(PolicyError) as caught:
        policy.load([first, second])
    assert [fault.problem for fault in caught.value.faults] == [
        f"the pack `example` is taken already, at {first}:1.",
        f"the id `3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11` is taken already, at {first}:5.",
        f"the name `example` is taken already, at {first}:6.",
        f"the title `Example` is taken already, at {first}:4.",
    ]


def test_a_folder_stands_for_its_packs(write: Write) -> None:
    path = write(pack("sel: {output: x}\ncondition: sel"))
    assert [rule.name for rule in policy.load([path.parent, path]).rules] == ["example"]
    with pytest.raises(PolicyError, match=r"the folder has no `\*.yaml` or `\*.yml` file"):
        policy.load([path.parent / "home"])
    path.rename(path.with_suffix(".yml"))
    assert [rule.name for rule in policy.load([path.parent]).rules] == ["example"]


def test_every_selection_that_is_not_there_is_told(write: Write) -> None:
    with pytest.raises(PolicyError) as caught:
        policy.load([write(pack("sel: {output: x}\ncondition: s2 and (s3 or not 1 of t*) and"))])
    assert [(fault.column, fault.problem) for fault in caught.value.faults] == [
        (18, "there is no selection `s2`."),
        (26, "there is no selection `s3`."),
        (41, "no selection fits `t*`."),
        (48, "the condition ends too soon."),
    ]


def test_rules_that_are_not_there_are_told_beside_other_faults(write: Write) -> None:
    rules = write(pack("sel: {output: x}\ncondition: selx"), "rules.yaml")
    one = (
        "title: T, id: 5b0f7d1c-58a4-4d43-9f39-0f6f0f0c7a21, name: t, author: a, date: 2026-11-01, expires: 2026-11-02"
    )
    filters = f"filter_set: f\nversion: 1.0.0\nfilters:\n  - {{{one}, rules: [example, exampel], detection: {{}}}}\n"
    site = "override_set: o\nversion: 1\noverrides:\n  - {rule: exampel, reason: x, level: low}\n"
    with pytest.raises(PolicyError) as caught:
        policy.load([rules, write(filters, "filters.yaml"), write(site, "site.yaml")])
    told = [fault.problem for fault in caught.value.faults if "exampel" in fault.problem]
    assert told == [
        "there is no rule `exampel` in the packs that are loaded, so this filter would do nothing.",
        "there is no rule `exampel` in the packs that are loaded, so this override would do nothing.",
    ]
    assert not [fault for fault in caught.value.faults if "no rule `example`" in fault.problem]


def test_no_paths_give_no_rules() -> None:
    rules = policy.load([])
    assert (rules.rules, rules.refs, rules.run_tests()) == ((), (), [])


@pytest.mark.parametrize(
    ("level", "action", "on_unknown"),
    [
        ("informational", Action.LOG, Action.LOG),
        ("low", Action.LOG, Action.LOG),
        ("medium", Action.FLAG, Action.LOG),
        ("high", Action.WITHHOLD, Action.WITHHOLD),
        ("critical", Action.WITHHOLD, Action.WITHHOLD),
    ],
)
def test_actions_follow_from_the_level(
    level: str, action: Action, on_unknown: Action, load_detection: LoadDetection
) -> None:
    (rule,) = load_detection("sel: {output: x}\ncondition: sel", level).rules
    assert (rule.written.effective_action, rule.written.effective_on_unknown) == (action, on_unknown)


def test_written_actions_win(write: Write) -> None:
    text = pack("sel: {output: x}\ncondition: sel", "high").replace(
        "level:", "action: halt\n    on_unknown: flag\n    level:"
    )
    (rule,) = policy.load([write(text)]).rules
    assert (rule.written.effective_action, rule.written.effective_on_unknown) == (Action.HALT, Action.FLAG)


BASE = "sel:\n  output|contains: x\n  depth: 1\ncondition: sel"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("# a comment\nsel: {depth: 1, output|contains: [x]}\ncondition: ( sel )", True),
        ("sel: {output|contains: x, depth: 2}\ncondition: sel", False),
        ("sel: {output|contains: X, depth: 1}\ncondition: sel", False),
        ("sel: {output|contains: x, depth: 1}\ncondition: not sel", False),
        ("sel: [{output|contains: x}, {depth: 1}]\ncondition: sel", False),
    ],
)
def test_the_hash_covers_what_a_rule_means(other: str, same: bool, load_detection: LoadDetection) -> None:
    (base,), (changed,) = load_detection(BASE).refs, load_detection(other).refs
    assert (base.rule_hash == changed.rule_hash) == same


def test_the_hash_covers_level_and_not_tests(load_detection: LoadDetection, write: Write) -> None:
    (base,) = load_detection(BASE).refs
    (higher,) = load_detection(BASE, "high").refs
    (tested,) = policy.load([write(pack(BASE, tests="- {record: {output: x}, expect: match}"))]).refs
    assert base.rule_hash != higher.rule_hash
    assert base.rule_hash == tested.rule_hash
    assert (base.pack, base.pack_version, len(base.rule_hash)) == ("example", "1.0.0", 64)
