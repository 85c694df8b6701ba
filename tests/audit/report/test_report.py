"""``monitor audit report`` on stores whose answers are known, on both databases; what fails is unmeasured, by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from monitor.audit.page.blocks import as_html, as_markdown
from monitor.audit.report.audit_page import audit_page
from monitor.audit.report.gathering import QUERIES, Gathered, Unanswered, gather
from monitor.audit.report.people import agreement_of
from monitor.audit.reviews import event_of, make_review
from monitor.audit.saved import saved_queries
from monitor.cli import main
from monitor.records import (
    Call,
    Event,
    Finding,
    Judgement,
    Level,
    Limits,
    Message,
    Observation,
    Outcome,
    ProbeScore,
    Reasoning,
    ReasoningState,
    RunEnd,
    RunStart,
    Status,
    Usage,
    Verdict,
    VerdictValue,
    new_run_id,
    new_span_id,
)
from monitor.store import Store
from monitor.store.asking import grant
from monitor.store.location import is_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pytest

HOSTILE = "<script>document.title='ran'</script>|[x](javascript:1)"
RULE = {"rule_id": "2c0fb6a1-6d0e-4a55-9f2b-000000000001", "rule_hash": "a" * 64, "pack": "house"}


def finding(status: Status, **fields: Any) -> Finding:
    return Finding(**{"check": "rule", "name": "hides", "status": status, "level": Level.HIGH, **RULE, **fields})


def fill(store: Store) -> None:
    """One run on each of two days: a catch, an outage, a pass and what is unmeasured; labels, a probe, budgets."""
    for day in ("2026-03-01", "2026-03-03"):
        run, span = new_run_id(), new_span_id()

        def at(second: int, day: str = day) -> str:
            return f"{day}T10:00:{second:02d}.000000Z"

        limits = Limits(calls=4, output_tokens=1000)
        start = RunStart(run_id=run, span_id=span, recipe="answer", task="t", model="m", limits=limits, at=at(0))
        store.append_sync(Event.of(run, span, start))
        said: tuple[tuple[str, VerdictValue, tuple[Finding, ...], float], ...] = (
            ("clerk", VerdictValue.FLAG, (finding(Status.MATCH),), 2.0),
            ("clerk", VerdictValue.BLOCK, (finding(Status.UNKNOWN, name=HOSTILE, cause="it broke"),), 1.0),
            (HOSTILE, VerdictValue.PASS, (finding(Status.NO_MATCH),), 0.5),
            ("clerk", VerdictValue.UNMEASURED, (), -1.0),
        )
        for number, (role, value, findings, score) in enumerate(said, 1):
            sub = new_span_id()
            state = ReasoningState.ABSENT if number == 4 else ReasoningState.PLAIN
            text = "" if number == 4 else "a thought"
            caught = tuple(one.name for one in findings if one.status is Status.MATCH)
            broken = tuple(one.name for one in findings if one.status is Status.UNKNOWN)
            probe = ProbeScore(probe="truth", artefact="c" * 64, score=score, mode="reader", threshold=1.5, rate=0.05)
            for event in (
                Call(
                    run_id=run,
                    span_id=sub,
                    parent_id=span,
                    key=str(number),
                    role=role,
                    model="m",
                    at=at(number),
                    messages=(Message(role="user", content="do it"),),
                ),
                Observation(
                    outcome=Outcome.OK,
                    output="so",
                    reasoning=Reasoning(state=state, text=text),
                    at=at(number),
                    usage=Usage(calls=1, input_tokens=10, output_tokens=5, cost=0.25 if number < 4 else None),
                ),
                Judgement(
                    findings=findings,
                    verdict=Verdict(value=value, catches=caught, outages=broken),
                    outcome=Outcome.OK,
                    probes=(probe,),
                    at=at(number),
                ),
            ):
                store.append_sync(Event.of(run, sub, event))
            if caught:
                for person in ("ann", HOSTILE):
                    store.append_sync(event_of(run, make_review(sub, findings[0], "true", why="seen", by=person)))
        ended = RunEnd(
            outcome=Outcome.OK,
            verdict=Verdict(value=VerdictValue.BLOCK),
            usage=Usage(calls=4, output_tokens=20),
            at=at(9),
        )
        store.append_sync(Event.of(run, span, ended))


def reported(url: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    if is_postgres(url):
        grant(url)
    code = main(["audit", "report", "--db", url, "--out", str(folder), "--json", *more])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == 0, found
    return found


def test_every_figure_of_a_known_store(
    new_database: Callable[[], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = new_database()
    with Store.open(url) as store:
        fill(store)
    found = reported(url, tmp_path, capsys)
    answers = found["answers"]
    (totals,) = answers["report-totals"]
    assert {name: totals[name] for name in ("subcalls", "runs", "block", "flag", "pass", "unmeasured", "unjudged")} == {
        "subcalls": 8,
        "runs": 2,
        "block": 2,
        "flag": 2,
        "pass": 2,
        "unmeasured": 2,
        "unjudged": 0,
    }
    assert (totals["without_reasoning"], totals["cost"], totals["cost_unknown"]) == (2, 1.5, 2)
    assert [(row["day"], row["flag"]) for row in answers["report-verdicts-by-day"]] == [
        ("2026-03-01", 1),
        ("2026-03-03", 1),
    ]
    assert [(row["high"], row["unknowns"]) for row in answers["report-findings-by-day"]] == [(1, 1), (1, 1)]
    roles = {row["role"]: row for row in answers["report-verdicts-by-role"]}
    assert {name: roles["clerk"][name] for name in ("subcalls", "with_catches", "outages_alone")} == {
        "subcalls": 6,
        "with_catches": 2,
        "outages_alone": 2,
    }
    (rule,) = answers["report-rules"]
    assert (rule["name"], rule["matches"], rule["right_matches"], rule["wrong_matches"]) == ("hides", 2, 2, 0)
    limits = {row["limit_name"]: row for row in answers["report-budgets"]}
    assert (limits["calls"]["nearly"], limits["output_tokens"]["little"]) == (2, 2)
    (probe,) = answers["report-probes"]
    assert [probe[name] for name in ("subcalls", "both_speak", "probe_alone", "rules_alone", "neither")] == [
        8,
        2,
        0,
        0,
        6,
    ]
    assert sum(row["with_match"] for row in answers["report-probe-tenths"]) == 2
    assert [(row["name"], row["cause"], row["times"]) for row in answers["report-unknowns"]] == [
        (HOSTILE, "it broke", 2)
    ]
    assert len(answers["report-labels"]) == 4
    assert answers["report-decisions"] == []
    html, text = ((tmp_path / f"audit-report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))
    assert "<script" not in html
    assert "2 of 8 subcalls (25.0 %) are unmeasured" in text
    assert "](javascript" not in text


def test_a_period_is_what_is_asked_for(
    new_database: Callable[[], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = new_database()
    with Store.open(url) as store:
        fill(store)
    found = reported(url, tmp_path, capsys, "--since", "2026-03-02", "--until", "2026-03-04")
    assert found["answers"]["report-totals"][0]["subcalls"] == 4
    assert [row["day"] for row in found["answers"]["report-verdicts-by-day"]] == ["2026-03-03"]
    assert "--param since=2026-03-02" in (tmp_path / "audit-report.md").read_text(encoding="utf-8")


def test_an_empty_store_is_nothing_measured(
    new_database: Callable[[], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = new_database()
    Store.open(url).close()
    reported(url, tmp_path, capsys)
    text = (tmp_path / "audit-report.md").read_text(encoding="utf-8")
    assert "there is nothing to report, and nothing was measured" in text
    assert text.count("unmeasured") > 4
    assert " 0.0 %" not in text


def test_what_cannot_be_answered_is_unmeasured_by_name() -> None:
    def ask(name: str, given: Mapping[str, str]) -> tuple[list[dict[str, Any]], bool]:
        if name == "report-rules":
            raise Unanswered("it took too long")
        return [], name == "report-unknowns"

    found = gather(ask)
    page = audit_page(found, made_at="now", database="x")
    text = as_markdown(page)
    assert not found.is_whole
    assert "report\\-rules could not be answered \\(it took too long\\)" in text
    assert "The answer to report-unknowns was cut" in text
    assert "Part of this report could not be had" in as_html(page)


def test_each_query_can_be_asked_alone() -> None:
    known = saved_queries()
    assert set(QUERIES) <= set(known)
    assert all(set(known[name].parameters) == {"since", "until"} for name in QUERIES)


def test_labels_that_agree_are_compared() -> None:
    row = {"run_id": "r", "name": "n", "rule_id": "", "rule_hash": "h", "status": "match"}
    labels = [
        {**row, "span_id": span, "label": label, "reviewed_by": by}
        for span, said in (("1", ("true", "true")), ("2", ("false", "false")), ("3", ("unsure", "true")))
        for by, label in zip(("ann", "bob"), said, strict=True)
    ]
    (found,) = agreement_of(labels)
    assert (found.both, found.unsure, found.kappa) == (2, 1, 1.0)


def test_long_answers_are_shown_in_part_and_counted() -> None:
    rows = [
        {"check_kind": "rule", "name": f"r{n}", "cause": "", "times": 1, "runs": 1, "last_at": "2026-01-01T00:00"}
        for n in range(25)
    ]
    text = as_markdown(audit_page(Gathered("", "", {"report-unknowns": rows}), made_at="now", database="x"))
    assert "5 more are not shown." in text
    assert "no cause given" in text
