"""Data whose label is in the text, on real activations: what a probe finds there adds nothing. And labels by chance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from monitor.probes.candidates import Candidate
from monitor.probes.evaluation.added import Verdict
from monitor.probes.evaluation.base import Task
from monitor.probes.evaluation.baselines import Evidence, discriminant
from monitor.probes.evaluation.effort import QUICK
from monitor.probes.evaluation.folds import grouped, run
from monitor.probes.evaluation.judging import judge
from monitor.probes.evaluation.metrics import measure
from monitor.probes.evaluation.page import page
from monitor.probes.evaluation.report import sentences as said
from monitor.probes.evaluation.tables import markdown
from monitor.probes.evaluation.work import Judged
from monitor.probes.features import Reading
from monitor.probes.pooling import Pooling
from monitor.probes.words import Dataset, Labelled
from tests.probes.evaluation.worlds import sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.evaluation.report import Report
    from monitor.probes.evaluation.survey import Survey
    from monitor.probes.local_model import LocalModel

pytestmark = pytest.mark.embedded

BRIEF = replace(QUICK, draws=300, permutations=9, asked=12, causal_texts=3, randoms=2, inner=2)


def _planted(kind: str) -> Dataset:
    dice = np.random.default_rng(1)
    rows = []
    for number, text in enumerate(sentences(dice, 200)):
        label = number % 2 == 0
        if kind == "keyword":
            words = text.split(" ")
            place = int(dice.integers(1, len(words)))
            words.insert(place, "indeed" if label else str(dice.choice(["maybe", "also", "then", "soon"])))
            written = " ".join(words)
        else:
            written = f"{text[:-1]} and then, after that, went all the way home." if label else text
        rows.append(Labelled(written, label, f"g{number}"))
    return Dataset(kind, tuple(rows), licence="none", source="made here", sha256=f"{kind}")


def _judged(model: LocalModel, dataset: Dataset) -> Judged:
    candidates = (Candidate(9, "lda", Pooling("mean"), {}),)
    return Judged("planted", "a planted mark", model, dataset, Reading(max_tokens=64), (dataset,), candidates)


@pytest.fixture(scope="module")
def keyword(embedded: LocalModel) -> Report:
    def evidence(texts: Sequence[str]) -> list[Evidence]:
        at = [text.find("indeed") for text in texts]
        return [Evidence(2.0, ((place, place + 6),)) if place >= 0 else Evidence(0.0) for place in at]

    return judge(_judged(embedded, _planted("keyword")), evidence=evidence, effort=BRIEF)


def test_a_planted_keyword_ends_in_adds_nothing_measurable(keyword: Report) -> None:
    """The probe finds it too, and so does the trace."""
    assert keyword.probe.auroc.value > 0.9
    assert keyword.added.trace.value > 0.99
    assert keyword.added.verdict == Verdict.NOTHING


def test_a_planted_length_ends_in_adds_nothing_measurable(embedded: LocalModel) -> None:
    report = judge(_judged(embedded, _planted("length")), effort=BRIEF)
    assert report.probe.auroc.value > 0.9
    by_name = {one.name: one.auroc.value for one in report.baselines}
    assert by_name["length"] > 0.99
    assert report.added.verdict == Verdict.NOTHING
    assert any("policy rules were not run" in note for note in report.notes)


def test_the_score_falls_without_the_word_that_fired_the_rule(keyword: Report) -> None:
    found = keyword.filtered
    assert found.fired == 100
    assert found.bare == 0
    assert found.changes[1] < -0.5
    assert found.changes[0] < -0.5
    assert found.cut_out.value < found.scored.value - 0.05  # not chance: the other texts keep a word put in


def test_every_baseline_of_the_design_is_there_on_the_same_rows(keyword: Report) -> None:
    names = [one.name for one in keyword.baselines]
    assert names == [
        "word TF-IDF",
        "character TF-IDF",
        "length",
        "policy rules",
        "layer-0 embedding",
        "mean log probability",
        "activation norm",
        "the model asked, yes or no",
    ]
    rows = {one.name: one.rows for one in keyword.baselines}
    assert rows.pop("the model asked, yes or no") == 12  # said in the notes
    assert set(rows.values()) == {200}
    assert any("asked about 12 of 200" in note for note in keyword.notes)
    assert any(note.startswith("quick:") for note in keyword.notes)


def test_the_report_is_written_as_json_markdown_and_a_page_that_fetches_nothing(keyword: Report) -> None:
    shown = keyword.as_json()
    assert shown["verdict"] == "adds nothing measurable"
    assert shown["probe"]["auroc"]["low"] < shown["probe"]["auroc"]["value"]
    assert {"auroc", "interval", "null", "control", "added"} <= set(shown["how"])
    text = markdown(keyword)
    assert "adds nothing measurable" in text
    assert "UNGROUPED" in text
    html = page(keyword)
    assert html.count("<svg") >= 2
    for asked in ("<script", "src=", "@import", 'href="http'):
        assert asked not in html
    ids = [part.split('"')[0] for part in html.split(' id="')[1:]]
    assert len(ids) == len(set(ids))


def test_a_probe_that_is_no_better_than_text_is_said_to_be(keyword: Report) -> None:
    assert any("no better than the best baseline" in line for line in said(keyword))
    assert any("adds nothing measurable" in line for line in said(keyword))


def test_with_random_labels_the_interval_on_real_activations_covers_chance(read_once: tuple[list[str], Survey]) -> None:
    """A hundred fixed seeds, half with labels by row, half with one label for each group."""
    _, surveyed = read_once
    groups = np.repeat(np.arange(120), 2)
    probe = discriminant(surveyed, ["last", "mean"], folds=3, seed=0)
    covered = 0
    for seed in range(100):
        dice = np.random.default_rng(seed)
        labels = dice.random(240) < 0.5 if seed % 2 else (dice.random(120) < 0.5)[groups]
        task = Task(labels, groups)
        found = measure(task, run(probe, task, grouped(task, 5, seed % 5)), draws=300, seed=seed).auroc
        covered += found.low <= 0.5 <= found.high
    assert 89 <= covered <= 99
