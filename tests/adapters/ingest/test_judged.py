"""A judge that is asked about foreign traces: the questions are the monitor's, and no part of what is ingested."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.adapters.ingest.sources import files_of, read_file
from monitor.adapters.ingest.taking import Report, Taker, ingest
from monitor.adapters.ingest.traces import Trace
from monitor.loaded import load_checks
from monitor.models.scripted import ScriptedModel
from monitor.orchestrate.judge import ModelJudge
from monitor.records import Call, Event, Limits, Status, Usage, VerdictValue, new_span_id
from tests.adapters.ingest.conftest import MAGENTIC, Ingesting

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.loaded import LoadedChecks
    from monitor.models.base import ModelRequest

PACK = """\
pack: judged
version: 1.0.0
engine: 3
rules:
  - title: The answer hides something
    id: 8d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: hides
    level: high
    detection:
      said: {output|contains: e}
      judged: {judge.hides: Does the answer hide something from the reader?}
      condition: said and judged
"""
NO = json.dumps({"reasoning": "It does not.", "quotes": [], "answer": "no"})


def judged(tmp_path: Path, model: ScriptedModel) -> LoadedChecks:
    path = tmp_path / "judged.yaml"
    path.write_text(PACK, encoding="utf-8")
    return replace(load_checks([str(path)]), judge=ModelJudge(model, Limits(), seconds=5.0, concurrency=4))


def yes(request: ModelRequest) -> str:
    """Quotes the first two words of the output that it is shown."""
    quote = " ".join(request.messages[-1].content.split('name="output">\n')[1].split()[:2])
    return json.dumps({"reasoning": "It does.", "quotes": [quote], "answer": "yes"})


def test_the_order_of_the_trace_is_that_of_the_log_and_questions_do_not_count(take: Ingesting, tmp_path: Path) -> None:
    model = ScriptedModel(yes)
    report = asyncio.run(ingest(files_of([MAGENTIC]), take.store, judged(tmp_path, model)))
    every = take.subcalls()
    traced = [one for one in every if not one.call.is_monitors]
    asked = [one for one in every if one.call.is_monitors]
    assert (report.total("subcalls_taken"), len(traced)) == (4, 4)
    assert len(asked) == model.calls > 1
    ends = [one.judged_at or 0 for one in traced]
    assert all(end < (later.began_at or 0) for end, later in zip(ends, traced[1:], strict=False))
    matched = [one for one in traced if one.judgement and one.judgement.verdict.value is VerdictValue.BLOCK]
    assert len(matched) == len(asked)
    for one in matched:
        assert one.judgement is not None
        assert any(found.name == "hides" and found.status is Status.MATCH for found in one.judgement.findings)
    (run,) = take.runs
    assert (run.start.judge, run.start.source) == ("scripted", MAGENTIC.name)
    assert run.end is not None
    assert run.end.verdict.note == f"{len(asked)} of 4 subcalls too late to stop"


def test_a_run_that_grows_has_no_part_of_the_judges_words_in_its_end(take: Ingesting, tmp_path: Path) -> None:
    (trace,) = (found for found in read_file(MAGENTIC) if isinstance(found, Trace))
    steps = list(trace.steps())
    checks = judged(tmp_path, ScriptedModel(lambda _: NO))

    def part(number: int) -> Trace:
        return Trace(trace.tree, "x", "", "", lambda: iter(steps[:number]), may_grow=True)

    report, taker = Report(), Taker(take.store, checks)
    asyncio.run(taker.take(part(2), report))
    (run,) = take.runs
    call = Call(
        run_id=run.start.run_id,
        span_id=new_span_id(),
        key="judge",
        role="judge",
        adapter="monitor",
        parent_id=steps[0].call.span_id,
        checked=False,
        reserved=Usage(calls=1),
    )
    take.store.append_sync(Event.of(call.run_id, call.span_id, call))  # a question in which the process was killed
    asyncio.run(taker.take(part(4), report))
    (run,) = take.runs
    (again,) = run.resumes
    assert again.judge == "scripted"
    assert run.end is not None
    assert run.end.verdict.value is VerdictValue.PASS, "that nobody checks what the judge says is not said of the run"
    assert run.end.answer != NO
    assert run.end.usage.calls == sum(1 for one in steps if one.call.kind == "model")
    states = {one.call.span_id: one.state for one in take.subcalls() if one.call.is_monitors}
    assert states.pop(call.span_id) == "cancelled"
    assert set(states.values()) == {"ok"}
    (counts,) = report.formats.values()
    assert (counts.subcalls_taken, counts.subcalls_present) == (4, 2)
