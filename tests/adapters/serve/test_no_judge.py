"""``monitor serve`` asks no judge, and says so: what is sent must not decide what is spent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from monitor.records import Status
from tests.adapters.ingest.test_otlp import FAMILY, export, span

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.adapters.serve.conftest import Served

ASKS = """\
pack: asks
version: 1.0.0
engine: 3
rules:
  - title: The answer hides something
    id: 8d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: hides
    level: medium
    detection: {judged: {judge.hides: Does the answer hide something?}, condition: judged}
"""


@pytest.mark.parametrize("judge", ["scripted:/nowhere.yaml", ""])
def test_questions_are_not_applicable_and_whoever_named_a_judge_is_told(
    serve: Callable[..., Served], tmp_path: Path, judge: str
) -> None:
    (tmp_path / "asks.yaml").write_text(ASKS, "utf-8")
    server = serve("--policy", str(tmp_path / "asks.yaml"), MONITOR_JUDGE_MODEL=judge)
    if judge:
        assert "asks no judge" in server.read("problem")["why"]
    said = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "I hide it."}]}])
    assert server.send(export(FAMILY[0], span(2, 1, gen_ai__output__messages=said))).status == 200
    server.read("recorded")
    assert [line["event"] for line in server.log] == ["listening", *["problem"] * bool(judge), "recorded"]
    (subcall,) = server.subcalls()[-1:]
    assert subcall.judgement is not None
    (found,) = (one for one in subcall.judgement.findings if one.name == "hides")
    assert found.status is Status.NOT_APPLICABLE
    assert server.runs()[0].start.judge == ""
