"""``monitor policy lint``, ``test --mutation``, ``schema`` and ``new``."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor import catalog
from monitor.policy.tools.json_schema import policy_schema, policy_schema_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

RULE = """\
pack: mine
version: 1.0.0
rules:
  - title: Words about words
    id: 8d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: words
    description: Words.
    level: low
    detection:
      word: {output|contains: hello}
      deep: {depth|gt: 2}
      condition: word and not deep
    tests:
      - record: {output: hello there}
        expect: match
      - record: {output: goodbye}
        expect: no_match
"""


def rule(old: str = "", new: str = "") -> str:
    text = RULE.replace(old, new) if old else RULE
    Path("mine.yaml").write_text(text, encoding="utf-8")
    return "./mine.yaml"


def test_lint_ends_with_the_cost_and_the_totals(monitor: Monitor) -> None:
    done = monitor("policy", "lint", rule())
    *_, cost, totals = done.out.splitlines()
    assert totals == "0 faults, 0 notes"
    assert cost.startswith("mine: at most ")
    assert "automaton steps for each byte of text, from 1 pattern; the costliest rules: words " in cost


def test_lint_says_which_rules_let_a_stream_be_released_early(monitor: Monitor) -> None:
    done = monitor("policy", "lint", "--windows", rule())
    assert done.out.splitlines()[-2] == "streams may be released before their end, but for the last 0 codepoints"
    Path("mine.yaml").write_text(RULE.replace("level: low", "level: high"), encoding="utf-8")
    *_, one, whole, totals = monitor("policy", "lint", "--windows", "./mine.yaml").out.splitlines()
    assert one == "mine: words: windowable, its longest match has 5 codepoints"
    assert whole == "streams may be released before their end, but for the last 5 codepoints"
    assert totals == "0 faults, 1 note"
    unbounded = RULE.replace("level: low", "level: high").replace("contains: hello", "re: hel+o")
    Path("mine.yaml").write_text(unbounded, encoding="utf-8")
    *_, one, whole, _totals = monitor("policy", "lint", "--windows", "./mine.yaml").out.splitlines()
    assert "bound what `hel+o` repeats" in one
    assert whole == "1 of 1 acting rule not windowable: streams are released when judged"
    (window,) = monitor("policy", "lint", "./mine.yaml", "--json").json["windows"]
    assert (window["rule"], window["acts"], window["longest"]) == ("words", True, None)
    assert len(window["obstacles"]) == 1
    assert monitor("policy", "lint", "./mine.yaml", "--windows").code == 0  # it is no fault of the rule


def test_notes_count_only_where_they_are_meant_to(monitor: Monitor) -> None:
    path = rule("word and not deep", "word and not word")
    done = monitor("policy", "lint", path)
    assert done.code == 0
    assert "words: the condition can never match." in done.out
    assert done.out.endswith("0 faults, 2 notes\n")
    assert monitor("policy", "lint", path, "--strict").code == 1
    shape = monitor("policy", "lint", path, "--json").json
    assert (shape["format"], shape["faults"], shape["notes"]) == ("monitor.policy-lint/1", 0, 2)
    assert {item["rule"] for item in shape["found"]} == {"words"}
    (cost,) = shape["costs"]
    assert (cost["pack"], cost["patterns"], [one["rule"] for one in cost["rules"]]) == ("mine", 1, ["words"])
    assert cost["bound_per_byte"] == cost["rules"][0]["bound_per_byte"] > 0


def test_the_test_that_is_missing_is_named_with_its_line(monitor: Monitor) -> None:
    done = monitor("policy", "test", "--mutation", rule())
    assert done.code == 0
    assert (
        "mine.yaml:12: words: dropping `deep` from the condition changes no test: add a near miss in which all else holds, "
        "and `deep` as well (`expect: no_match`)."
    ) in done.out
    assert done.out.splitlines()[-3:] == [
        "mine words: tests notice 2 of 4 changes (50 %)",
        "mine: tests notice 2 of 4 changes (50 %)",
        "2 passed, 0 failed",
    ]


def test_without_mutation_nothing_is_said_of_it(monitor: Monitor) -> None:
    assert monitor("policy", "test", rule()).out == "2 passed, 0 failed\n"
    assert "mutation" not in monitor("policy", "test", rule(), "--json").json


def test_a_least_share_decides_on_the_exit_code(monitor: Monitor) -> None:
    assert [monitor("policy", "test", rule(), "--min-mutation", least).code for least in ("50", "51")] == [0, 1]
    nothing = rule("\n      deep: {depth|gt: 2}\n      condition: word and not deep", "\n      condition: word")
    done = monitor("policy", "test", nothing, "--min-mutation", "100")
    assert (done.code, done.out) == (0, "mine: nothing to change\n2 passed, 0 failed\n")


def test_mutation_as_json(monitor: Monitor) -> None:
    found = monitor("policy", "test", rule("hello}", "[hello, hi]}"), "--values", "--json").json["mutation"]
    assert (found["killed"], found["total"], found["percent"]) == (3, 6, 50.0)
    (of_rule,) = found["rules"]
    assert (of_rule["rule"], of_rule["killed"], of_rule["total"], of_rule["equivalent"]) == ("words", 3, 6, 0)
    (value,) = [one for one in of_rule["mutants"] if one["what"].startswith("dropping `hi`")]
    assert (value["kind"], value["line"], value["noticed_by"]) == ("value", 10, [])
    assert value["advice"] == "add a record that matches thanks to `hi` alone (`expect: match`)."


def test_a_test_that_fails_is_said_to_notice_nothing(monitor: Monitor) -> None:
    done = monitor("policy", "test", "--mutation", rule("expect: no_match", "expect: match"))
    assert done.code == 1
    assert "words: the test `test 2` fails already, and cannot notice anything" in done.out


def test_the_shipped_packs_through_mutation(monitor: Monitor) -> None:
    found = monitor("policy", "test", "--mutation", "--json").json["mutation"]
    assert found["total"] > 40
    assert found["killed"] <= found["total"]
    assert all(not one["ignored"] for one in found["rules"])


def test_the_schema_is_printed_or_written(monitor: Monitor) -> None:
    assert json.loads(monitor("policy", "schema").out) == policy_schema()
    done = monitor("policy", "schema", "--out", "here.json")
    assert (done.code, done.out) == (0, "")
    assert Path("here.json").read_text(encoding="utf-8") == policy_schema_text()
    assert monitor("policy", "schema", "--json").json["schema"] == policy_schema()
    assert monitor("policy", "schema", "--out", "no/such/folder.json").code == 2


NEW = (
    *("policy", "new", "--worry", "Promises a refund", "--field", "output", "--level", "medium"),
    *("--phrase", "refund has been issued", "--match", "Your refund has been issued.", "--near-miss", "Want a refund?"),
)


def test_a_new_rule_works_at_once_and_no_file_is_overwritten(monitor: Monitor) -> None:
    done = monitor(*NEW, "--out", "refunds.yaml")
    assert (done.code, done.out) == (0, "")
    assert "wrote refunds.yaml, and schema.json for editors" in done.err
    assert monitor("policy", "test", "--mutation", "./refunds.yaml").code == 0
    assert monitor("policy", "lint", "./refunds.yaml", "--strict").code == 0
    assert monitor("policy", "list", "./refunds.yaml", "--json").json["rules"][0]["pack"] == "refunds"
    text = Path("refunds.yaml").read_text(encoding="utf-8")
    again = monitor(*NEW, "--out", "refunds.yaml")
    assert (again.code, "is there already" in again.err) == (2, True)
    assert Path("refunds.yaml").read_text(encoding="utf-8") == text


def test_a_schema_that_is_there_is_left_alone(monitor: Monitor) -> None:
    Path("schema.json").write_text("mine", encoding="utf-8")
    assert "schema.json" not in monitor(*NEW, "--out", "refunds.yaml").err
    assert Path("schema.json").read_text(encoding="utf-8") == "mine"
    assert monitor(*NEW, "--out", "no/folder.yaml").code == 2


def test_without_a_file_the_rule_is_printed(monitor: Monitor) -> None:
    printed = monitor(*NEW, "--author", "me", "--pack", "ours", "--name", "refunds").out
    Path("x.yaml").write_text(printed, encoding="utf-8")
    assert monitor("policy", "test", "./x.yaml").out == "2 passed, 0 failed\n"
    shape = monitor(*NEW, "--json").json
    assert (shape["format"], shape["path"]) == ("monitor.policy-new/1", None)
    assert "pack: mine\n" in shape["text"]


def test_without_a_terminal_what_is_missing_is_named(monitor: Monitor) -> None:
    done = monitor("policy", "new", "--worry", "x", "--phrase", "y")
    assert done.code == 2
    assert "give --field, --level, --match, --near-miss" in done.err


@pytest.mark.parametrize("kind", ["sequence", "absence", "tree", "taint", "judge"])
def test_a_new_rule_of_another_kind_works_at_once(monitor: Monitor, kind: str) -> None:
    new = (*NEW[:8], "--kind", kind, "--phrase", "refund")
    missing = monitor(*new, "--out", "refunds.yaml")
    more = ["--question", "Is a refund promised?"]
    if kind != "judge":
        more = ["--other-field", "tool.arguments", "--other-phrase", "bank"]
    assert (missing.code, f"give {', '.join(more[::2])}" in missing.err) == (2, True)
    assert monitor(*new, *more, "--out", "refunds.yaml").code == 0
    assert monitor("policy", "test", "--mutation", "--min-mutation", "100", "./refunds.yaml").code == 0
    assert monitor("policy", "lint", "./refunds.yaml", "--strict").code == 0
    assert "--kind is one of phrases, sequence" in monitor(*new, "--kind", "x").err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_at_a_terminal_the_questions_are_asked(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["Promises a refund", "nowhere", "output", "has been issued", "is on its way", "", "medium"]
    answers += ["A refund has been issued", "Do you want one?"]
    monkeypatch.setattr("sys.stdin", Terminal("\n".join(answers) + "\n"))
    done = monitor("policy", "new")
    assert done.code == 0, done.err
    assert "What worries you" in done.err
    assert "          - 'has been issued'\n          - 'is on its way'\n" in done.out


def test_files_beside_the_shipped_packs_find_the_schema(tmp_path: Path) -> None:
    """The first line of a shipped file is relative to it, in the checkout and in an installed wheel alike."""
    shutil.copytree(catalog.shipped("policy"), tmp_path / "policies")
    for path in (tmp_path / "policies").glob("*.yaml"):
        named = path.read_text(encoding="utf-8").splitlines()[0].partition("$schema=")[2]
        assert (path.parent / named).is_file()
