"""Probes attached to traces that other programs stored: they read what another model wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch", reason="torch is not installed: make probes")

from monitor.cli import main
from monitor.store import Store
from tests.adapters.ingest.conftest import DATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.probes.attached.conftest import Make

pytestmark = pytest.mark.embedded
FILE = DATA / "otlp/openinference-langchain-0.1.80.jsonl"


def test_each_answer_of_a_model_is_scored_by_a_reader(probe: Make, new_database: Callable[[], str]) -> None:
    db = new_database()
    assert main(["ingest", str(FILE), "--no-policy", "--probe", str(probe()), "--db", db]) == 0
    with Store.open(db) as store:
        (run,) = store.runs()
        assert [one.name for one in run.start.probes] == ["sample"]
        first, tool, last = store.subcalls(run.start.run_id)
    assert tool.call.probes == ()
    assert first.call.probes == last.call.probes == ("sample",)
    assert last.judgement is not None
    (score,) = last.judgement.probes
    assert (score.probe, score.mode, score.surface) == ("sample", "reader", "output")
    assert score.score is not None


def test_a_probe_that_is_not_there_is_told_before_anything_is_stored(new_database: Callable[[], str]) -> None:
    assert main(["ingest", str(FILE), "--probe", "nowhere", "--db", new_database()]) == 2
    assert main(["serve", "--port", "0", "--probe", "nowhere", "--db", new_database()]) == 2
