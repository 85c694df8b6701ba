"""``show`` and ``list`` over a real store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import EVIDENCE, HOSTILE, PART, PLAN, RETRY, RUN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

pytestmark = pytest.mark.usefixtures("stored")


def assert_harmless(text: str) -> None:
    for char in "\x1b\x07\x9b\u202e\u2066\U000e0041":
        assert char not in text


def test_the_tree_says_role_outcome_verdict_tokens_seconds(monitor: Monitor) -> None:
    shown = monitor("show", RUN[:6])
    assert shown.code == 0
    plan = next(line for line in shown.out.splitlines() if "decompose" in line and PLAN[:8] in line)
    for part in ("decompose", "ok", "flag", "1,234+56 tokens", "1.2 s"):
        assert part in plan
    assert "match: hiding_from_oversight (high, core)" in shown.out
    assert "unknown: price" in shown.out
    assert "quiet_rule" not in shown.out


def test_a_retry_hangs_under_its_first_attempt_and_an_unreported_usage_is_a_bound(monitor: Monitor) -> None:
    lines = monitor("show", "latest").out.splitlines()
    first = next(line for line in lines if PART[:8] in line)
    retry = next(line for line in lines if RETRY[:8] in line)
    assert "failed" in first
    assert "≤1,234+56 tokens" in first
    assert "(attempt 2)" in retry
    assert "started" in retry
    assert retry.index("answer") > first.index("answer")


def test_findings_are_explained_with_their_evidence(monitor: Monitor) -> None:
    out = monitor("show", RUN).out
    assert "The reasoning plans to hide something" in out
    assert f"reasoning: é: I will {EVIDENCE} about this" in out
    assert "why: the cost is not known" in out


def test_nothing_hostile_reaches_the_terminal(monitor: Monitor) -> None:
    for arguments in (
        ["show", RUN],
        ["show", RUN, "--subcall", PLAN],
        ["list"],
        ["show", RUN, "--json"],
        ["list", "--json"],
    ):
        shown = monitor(*arguments)
        assert shown.code == 0
        assert_harmless(shown.out + shown.err)
    assert "[red]markup[/red]" in monitor("show", RUN).out, "text is never taken for markup"


def test_on_a_colour_terminal_only_our_own_escapes_are_there(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = monitor("show", RUN, "--subcall", PLAN).out
    assert "\x1b[" in shown, "colours are on"
    for attack in ("\x1b[2J", "\x1b]0;", "\x07", "\x9b", "\u202e"):
        assert attack not in shown
    assert f"31m{EVIDENCE}\x1b[0m" in shown, "the evidence is marked in place"


def test_one_subcall_in_full(monitor: Monitor) -> None:
    out = monitor("show", RUN, "--subcall", PLAN[:3]).out
    for part in (
        "handed: messages[0] system",
        "You plan.",
        "handed: messages[1] user",
        "reasoning (plain, from: schema)",
        EVIDENCE,
        "tool_calls[0] refused: not on its list",
        "search\\x1b[0m",
        "1 call, 1,234+56 tokens (0 cached), 0 tool calls, cost unknown",
        "findings: 1 match, 1 no_match, 1 unknown",
        "match hiding_from_oversight (high, flag, core)",
        "no limit",
    ):
        assert part in out


def test_a_subcall_that_is_not_answered_yet(monitor: Monitor) -> None:
    out = monitor("show", RUN, "--subcall", RETRY).out
    assert "nothing came back (yet)" in out
    assert "not judged (yet)" in out


def test_json_of_a_run(monitor: Monitor) -> None:
    shape = monitor("show", RUN, "--json").json
    assert set(shape) == {"format", "run_id", "state", "start", "resumes", "end", "queued", "subcalls", "redactions"}
    assert (shape["format"], shape["run_id"], shape["state"]) == ("monitor.run/1", RUN, "ok")
    assert [item["span_id"] for item in shape["subcalls"]] == [PLAN, PART, RETRY]
    assert [item["name"] for item in shape["subcalls"][0]["findings"]] == ["hiding_from_oversight", "price"]
    assert shape["subcalls"][2]["verdict"] is None
    assert shape["end"]["answer"] == f"the answer {HOSTILE}", "JSON keeps the text word for word"


def test_json_of_a_subcall_has_the_whole_record(monitor: Monitor) -> None:
    shape = monitor("show", RUN, "--subcall", PLAN, "--json").json
    assert set(shape) == {
        "format",
        "state",
        "released_before_final",
        "call",
        "released",
        "observation",
        "judgement",
        "decisions",
    }
    assert shape["call"]["messages"][1]["content"] == HOSTILE
    assert len(shape["judgement"]["findings"]) == 3


def test_list(monitor: Monitor) -> None:
    out = monitor("list").out
    assert RUN[:8] in out
    shape = monitor("list", "--json").json
    assert shape["format"] == "monitor.runs/1"
    assert [(run["run_id"], run["state"], run["verdict"]) for run in shape["runs"]] == [(RUN, "ok", "flag")]


def test_what_is_not_there_is_an_error_that_says_so(monitor: Monitor) -> None:
    assert monitor("show", "bbbb").code == 2
    missing = monitor("show", RUN, "--subcall", "ffff")
    assert (missing.code, "no such subcall" in missing.err) == (2, True)
    ambiguous = monitor("show", RUN, "--subcall", "")
    assert (ambiguous.code, "3 subcalls begin so" in ambiguous.err) == (2, True)


def test_a_store_that_is_not_there(monitor: Monitor) -> None:
    gone = monitor("list", "--db", "nowhere.db", "--json")
    assert (gone.code, gone.json["format"], gone.json["exit_code"]) == (6, "monitor.error/1", 6)
    assert not Path("nowhere.db").exists(), "looking must not make one"


def test_a_file_that_is_no_store(monitor: Monitor) -> None:
    Path("text.db").write_text("this is no database\n" * 100, encoding="utf-8")
    refused = monitor("show", "latest", "--db", "text.db")
    assert refused.code == 6
    assert "Traceback" not in refused.err
