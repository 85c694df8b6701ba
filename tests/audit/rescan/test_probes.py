"""Scans with a probe: a reader of what is stored, asked once for each text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("torch", reason="torch is not installed: make probes")

from monitor import catalog
from monitor.probes.attached import Prober
from tests.audit.conftest import rule
from tests.audit.rescan.conftest import Bench, fill

if TYPE_CHECKING:
    from monitor.audit.rescan.job import Job

pytestmark = pytest.mark.embedded


def job(bench: Bench, *packs: Any) -> Job:
    return bench.job(*packs, probes=(str(catalog.find("probe", "truth")),))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The subcalls that a probe's model was asked about."""
    spans: list[str] = []
    scores = Prober.scores

    def noted(self: Prober, call: Any, observation: Any) -> Any:
        spans.append(call.span_id)
        return scores(self, call, observation)

    monkeypatch.setattr(Prober, "scores", noted)
    return spans


def test_a_probe_s_findings_are_kept_its_rules_act_and_its_model_is_asked_once(bench: Bench, asked: list[str]) -> None:
    fill(bench.store, 3)
    hot = bench.pack(rule(5, "probe.truth.score|gt: -1000"), name="hot")
    summary = bench.scan(job(bench, hot))
    rows = bench.rows(summary.scan_id)
    assert (len(asked), summary.is_whole, [row.verdict for row in rows]) == (3, True, ["flag"] * 3)
    assert [check["name"] for check in summary.header["checks"]] == ["rule_5", "truth"]
    of_probe = [found for row in rows for found in json.loads(row.findings) if found["n"] == 1]
    assert {found["status"] for found in of_probe} <= {"match", "not_applicable"}  # no_match is not written out
    again = bench.scan(job(bench, hot), fresh=True)
    assert (len(asked), again.evaluated) == (3, 3)
    assert bench.rows(again.scan_id) == rows


def test_a_probe_that_fails_on_one_subcall_is_a_failed_result(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from monitor.errors import ProbeError
    from monitor.probes.scoring import Scorer

    run_id = fill(bench.store, 3)
    bad = bench.store.subcalls(run_id)[1].call.span_id
    score = Scorer.score

    def failing(self: Scorer, call: Any, observation: Any) -> Any:
        if call.span_id == bad:
            raise ProbeError("it cannot be read")
        return score(self, call, observation)

    monkeypatch.setattr(Scorer, "score", failing)
    summary = bench.scan(job(bench))
    assert [row.status for row in bench.rows(summary.scan_id)] == ["done", "failed", "done"]
    assert summary.failures[0].problem == "probe truth: it cannot be read"
    assert not summary.is_whole
    monkeypatch.setattr(Scorer, "score", score)
    assert bench.scan(job(bench), fresh=True).is_whole  # a failure is not remembered
