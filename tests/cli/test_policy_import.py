"""``monitor policy import atr``: what its users see, and what they can do with what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.policy.importers.test_atr import FILES, changed, conditions, with_tests

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

TWO = (FILES / "ATR-2026-00103-hidden-safety-bypass-instruction.yaml", FILES / "ATR-2026-00114-oauth-token-abuse.yaml")


def rule(path: str, written: Any) -> str:
    """A rule file; JSON is YAML."""
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(written if isinstance(written, str) else json.dumps(written), encoding="utf-8")
    return path


def test_what_was_written_passes_lint_and_its_tests(monitor: Monitor) -> None:
    done = monitor("policy", "import", "atr", *map(str, TWO), "--out", "atr.yaml")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-3:] == [
        "files: 2 imported, 0 partly, 0 refused",
        "conditions: 6 of 6; tests: 26 of 26, each of which holds",
        "written: atr.yaml",
    ]
    linted = monitor("policy", "lint", "atr.yaml")
    assert linted.code == 0
    assert "\n0 faults, " in linted.out
    tested = monitor("policy", "test", "atr.yaml")
    assert (tested.code, tested.out.splitlines()[-1]) == (0, "26 passed, 0 failed")


def test_without_out_it_only_reports(monitor: Monitor) -> None:
    done = monitor("policy", "import", "atr", str(TWO[0]))
    assert (done.code, done.out.splitlines()[-1]) == (0, "nothing written: name a file with --out")
    assert list(Path().glob("*.yaml")) == []


def test_a_broken_file_among_good_ones_costs_only_itself(monitor: Monitor) -> None:
    """The good ones are written, the broken one is named with its line, and the exit code says that something failed."""
    rule("rules/a.yaml", changed(id="ATR-1"))
    rule("rules/b.yml", "title: [\n")
    rule("rules/c.yaml", changed(id="ATR-3", detection__method="trace"))
    rule("rules/notes.txt", "no rule")
    done = monitor("policy", "import", "atr", "rules", "--out", "atr.yaml")
    assert done.code == 1
    assert "rules/b.yml:2: file: unreadable: " in done.out
    assert "rules/c.yaml:1: detection: method: `trace`" in done.out
    assert "files: 1 imported, 0 partly, 2 refused" in done.out
    assert "notes.txt" not in done.out
    tested = monitor("policy", "test", "atr.yaml")
    assert (tested.code, tested.out.splitlines()[-1]) == (0, "2 passed, 0 failed")


def test_reasons_are_said_rule_by_rule_condition_by_condition_and_test_by_test(monitor: Monitor) -> None:
    rule("part.yaml", conditions("one", r"(b)\1", id="ATR-1"))
    rule("test.yaml", with_tests({"input": "three", "expected": "triggered"}, id="ATR-2"))
    done = monitor("policy", "import", "atr", "part.yaml", "test.yaml")
    assert done.code == 0
    lines = done.out.splitlines()
    table = {line.split()[0]: line.split()[1:5] for line in lines if line.startswith(" ")}
    assert table["part.yaml"] == ["ATR-1", "partly", "1/2", "1/2"]
    assert table["test.yaml"] == ["ATR-2", "imported", "1/1", "0/1"]
    assert "part.yaml:1: condition 2: regex_backreference: `\\1` refers back to a group" in lines
    assert "test.yaml:1: true positive 1: test_disagrees: expected match, found no_match" in lines


def test_as_json(monitor: Monitor) -> None:
    rule("a.yaml", conditions("one", r"(b)\1"))
    rule("b.yaml", {"title": "only"})
    done = monitor("policy", "import", "atr", "a.yaml", "b.yaml", "--out", "atr.yaml", "--json")
    assert done.code == 1
    found = done.json
    assert found["format"] == "monitor.policy-import/1"
    assert found["written"] == ["atr.yaml"]
    assert (found["counts"]["partly"], found["counts"]["refused"]) == (1, 1)
    assert [(file["path"], file["result"], file["conditions_imported"]) for file in found["files"]] == [
        ("a.yaml", "partly", 1),
        ("b.yaml", "refused", 0),
    ]
    assert found["files"][1]["remarks"][0]["reason"] == "not_a_rule"


def test_a_second_import_writes_over_the_first_and_over_nothing_else(monitor: Monitor) -> None:
    assert monitor("policy", "import", "atr", str(TWO[0]), "--out", "atr.yaml").code == 0
    first = Path("atr.yaml").read_text(encoding="utf-8")
    assert monitor("policy", "import", "atr", str(TWO[1]), "--out", "atr.yaml").code == 0
    assert Path("atr.yaml").read_text(encoding="utf-8") != first
    Path("mine.yaml").write_text("pack: mine\n", encoding="utf-8")
    done = monitor("policy", "import", "atr", str(TWO[0]), "--out", "mine.yaml")
    assert (done.code, done.out) == (2, "")
    assert "mine.yaml: there is a file that no import made; name another one, or move it away" in done.err
    assert Path("mine.yaml").read_text(encoding="utf-8") == "pack: mine\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "nowhere.yaml: expected a file or a folder, found nothing there; check the path"),
        (["."], "found no rule file (*.yaml, *.yml)"),
        ([str(TWO[0]), "--name", "Mine"], "expected lower-case letters, digits and _"),
        ([str(TWO[0]), "--out", "no/folder/atr.yaml"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(monitor: Monitor, arguments: list[str], said: str) -> None:
    done = monitor("policy", "import", "atr", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in " ".join(done.err.split())


def test_nothing_in_a_file_reaches_the_terminal_as_it_is(monitor: Monitor) -> None:
    hostile = "\x1b[2J\x07 [red]x[/red] \u202e"
    rule("bad.yaml", changed(id=f"ATR{hostile}", title=hostile, severity=hostile))
    done = monitor("policy", "import", "atr", "bad.yaml", "--out", "atr.yaml")
    assert not {"\x1b", "\x07", "\u202e"} & set(done.out + Path("atr.yaml").read_text(encoding="utf-8"))
