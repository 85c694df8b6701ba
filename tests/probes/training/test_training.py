"""Training on the embedded model: what is chosen where, what is written, and that it is the same each time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from monitor import catalog
from monitor.errors import CalibrationError, ProbeDataError, ProbeError
from monitor.probes import data, metrics, splits
from monitor.probes.applying import Applied
from monitor.probes.artefact import SIDECAR, TENSORS, load
from monitor.probes.candidates import Candidate, choose, fit_candidate, score_rows
from monitor.probes.config import read_config
from monitor.probes.features import Reading, features, read_text
from monitor.probes.pooling import Pooling
from monitor.probes.training import train
from monitor.probes.words import Dataset, Surface

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.probes.local_model import LocalModel

pytestmark = pytest.mark.embedded
WORKING = Reading(max_tokens=64)


def test_a_probe_is_trained_judged_written_and_applied(embedded: LocalModel, praise: Callable[..., Path]) -> None:
    seen: list[tuple[str, int, int]] = []
    trained = train(read_config(praise()), embedded, progress=lambda *step: seen.append(step))
    sidecar = trained.sidecar
    stages = {stage for stage, _, _ in seen} | {"reading activations"}  # which is skipped where they are remembered
    assert stages == {"reading activations", "choosing in the training folds", "fitting and judging"}
    assert all(done <= total for _, done, total in seen)
    assert len(trained.choices) == 2 * 2 * 3
    assert trained.choices[0].auroc == max(choice.auroc or 0 for choice in trained.choices)
    assert (sidecar.kind, sidecar.layer) == (trained.choices[0].candidate.kind, trained.choices[0].candidate.layer)
    figures = {(one.name, one.on): one.value for one in sidecar.metrics}
    assert figures["auroc", "held out"] > 0.9
    assert {where for _, where in figures} == {"held out", "held out, sort calm", "held out, sort loud"}
    assert (sidecar.data[0].texts, sidecar.data[0].groups, sidecar.data[0].positives) == (64, 16, 32)
    assert sidecar.data[0].licence == "CC0-1.0"
    assert sidecar.split.train_groups + sidecar.split.test_groups == 16
    assert sidecar.calibrations[0].negatives == sidecar.split.test_texts / 2
    folder = read_config(praise()).output
    applied = Applied.load(folder, embedded)
    row = int(trained.split.test[0])
    scored = applied.score(trained.dataset.rows[row].text)
    assert scored.score == pytest.approx(trained.scores[row], abs=1e-3)  # another batch: rounding
    assert scored.rate.value is not None
    assert scored.rate.calibration == "praise, held out, label false"
    text = trained.dataset.rows[row].text
    assert "".join(text[token.start : token.end] for token in scored.tokens) == text[scored.tokens[0].start :]
    assert scored.unread == 0


def test_the_same_seed_gives_the_same_bytes(
    embedded: LocalModel, praise: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the activations are captured anew: each training has a cache of its own."""
    kinds = "kinds:\n  logistic_regression: {C: [0.01, 1]}\n  attention: {epochs: 5}\n"
    written = []
    for folder in ("one", "two"):
        monkeypatch.setenv("MONITOR_CACHE", str(tmp_path / f"cache-{folder}"))
        config = read_config(praise(("kinds:\n", kinds), ("probe: praise", f"probe: praise\noutput: {folder}")))
        found = train(config, embedded)
        written.append([(tmp_path / folder / name).read_bytes() for name in (TENSORS, SIDECAR)])
    assert written[0] == written[1]
    assert (tmp_path / "cache-two" / "probes" / "activations").is_dir()
    other = train(read_config(praise(("probe: praise", "probe: praise\nseed: 5"))), embedded, keep=False)
    assert other.split.test.tolist() != found.split.test.tolist()


def test_nothing_held_out_takes_part_in_a_choice_or_a_fit(embedded: LocalModel, praise: Callable[..., Path]) -> None:
    """With other labels on the held-out texts, the very same probe is trained."""
    config = read_config(praise(("calibrate: [0.4]", "")))
    one = train(config, embedded, keep=False)
    path = config.folder / "praise.csv"
    lines = path.read_text().splitlines()
    for row in one.split.test:
        text, label, group, sort = lines[row + 1].split(",")
        lines[row + 1] = f"{text},{1 - int(label)},{group},{sort}"
    path.write_text("\n".join(lines))
    two = train(config, embedded, keep=False)
    assert one.split.test.tolist() == two.split.test.tolist()
    assert all(np.array_equal(one.probe.tensors()[name], two.probe.tensors()[name]) for name in one.probe.tensors())
    assert two.sidecar.metrics[0].value == pytest.approx(1 - one.sidecar.metrics[0].value)


@pytest.mark.parametrize("pooling", ["max", "rolling_mean_max(3)", "ema(2)"])
def test_poolings_of_scores_are_trained_on_means_and_judged_as_they_are_applied(
    embedded: LocalModel, praise: Callable[..., Path], pooling: str
) -> None:
    trained = train(read_config(praise(("[last, mean]", f"[{pooling}]"))), embedded)
    applied = Applied.load(read_config(praise()).output, embedded)
    assert trained.sidecar.pooling == pooling
    row = int(trained.split.test[0])
    assert applied.score(trained.dataset.rows[row].text).score == pytest.approx(trained.scores[row], abs=1e-3)


def test_novelty_is_trained_on_harmless_texts_alone(embedded: LocalModel, praise: Callable[..., Path]) -> None:
    start = "kinds:\n  difference_of_means:\n  lda: {shrinkage: [auto, 0.5]}\n"
    changes = [(start, "kinds:\n  mahalanobis:\n"), ("[last, mean]", "[mean]"), ("[6, 0.5]", "[6]")]
    path = praise(*changes)
    table = path.parent / "praise.csv"
    table.write_text("text\n" + "\n".join(line.split(",")[0] for line in table.read_text().splitlines()[1:]) + "\n")
    path.write_text(path.read_text().replace("    tag_columns: {sort: sort}\n", ""))
    trained = train(read_config(path), embedded)
    assert (trained.sidecar.kind, trained.sidecar.chosen_by) == ("mahalanobis", "the only candidate")
    applied = Applied.load(path.parent, embedded)
    usual = applied.score("Ada did that wonderfully well.").score
    assert applied.score("import os; os.remove('/etc/passwd')").score > 2 * usual
    path.write_text(path.read_text().replace("[6]", "[6, 7]"))
    with pytest.raises(ProbeError, match="2 candidates, and no texts of label True to choose by"):
        train(read_config(path), embedded)


def test_what_cannot_be_trained_is_told(embedded: LocalModel, praise: Callable[..., Path]) -> None:
    with pytest.raises(CalibrationError, match=r"0.01 needs 299, found \d"):
        train(read_config(praise(("[0.4]", "[0.01]"))), embedded)
    with pytest.raises(ProbeDataError, match="no text has the group 'Zoe'"):
        train(read_config(praise(("{share: 0.5}", "{groups: [Zoe]}"))), embedded)
    with pytest.raises(ProbeError, match="layer 31 is not in"):
        train(read_config(praise(("[6, 0.5]", "[31]"))), embedded)
    with pytest.raises(ProbeError, match=r"text 1 of 64 .* its context alone has 4 tokens, raise max_tokens"):
        train(read_config(praise(("max_tokens: 64", "max_tokens: 4\nformat: chat\nsurface: output"))), embedded)
    with pytest.raises(ProbeError, match="has no place in a chat"):
        train(read_config(praise(("max_tokens: 64", "max_tokens: 64\nformat: chat\nsurface: tool"))), embedded)


def test_a_chat_puts_the_text_after_its_context(embedded: LocalModel) -> None:
    for surface in (Surface.OUTPUT, Surface.REASONING):
        read = read_text(embedded, "It is four.", "What is 2 + 2?", Reading(surface, "chat", 256))
        spelled = embedded.tokenizer.decode([token.id for token in read.tokens if token.surface is surface])
        asked = embedded.tokenizer.decode([token.id for token in read.tokens if token.surface is Surface.PROMPT])
        assert (spelled.strip(), asked.strip()) == ("It is four.", "What is 2 + 2?")
    prompt = read_text(embedded, "What is 2 + 2?", "", Reading(Surface.PROMPT, "chat", 256))
    assert prompt.mask(Surface.PROMPT).any()
    with pytest.raises(ProbeError, match="has no place in a chat"):
        read_text(embedded, "x", "", Reading(Surface.TOOL, "chat", 256))
    with pytest.raises(ProbeError, match="a prompt has no context"):
        read_text(embedded, "x", "y", Reading(Surface.PROMPT, "chat", 256))


def cities(count: int) -> tuple[Dataset, Dataset]:
    """The first ``count`` cities of the shipped data, affirmative and negated."""
    folder = catalog.shipped("probe") / "data" / "truth"
    columns = data.Columns(text="statement", group="city")
    both = [data.read(folder / f"{name}.csv", columns=columns) for name in ("cities", "neg_cities")]
    kept = set(list(dict.fromkeys(both[0].groups))[:count])
    one, two = (replace(part, rows=tuple(row for row in part.rows if row.group in kept)) for part in both)
    return one, two


def test_fitted_on_both_polarities_a_probe_of_truth_holds_on_held_out_cities(embedded: LocalModel) -> None:
    """And one that is fitted on affirmative statements alone is the wrong way round on negated ones."""
    affirmative, negated = cities(250)
    both = data.join([affirmative, negated])
    count, labels = len(affirmative.rows), both.labels
    found = features(embedded, both, WORKING, layers=[18])
    split = splits.hold_out(labels, both.groups, share=0.25, seed=0)
    candidates = [Candidate(18, "logistic_regression", Pooling(), {"C": strength}) for strength in (0.001, 0.01)]
    best = choose(found, labels, both.groups, candidates, rows=split.train)[0].candidate
    probe = fit_candidate(best, found, labels, split.train)
    for test in (split.test[split.test < count], split.test[split.test >= count]):
        assert metrics.auroc(score_rows(probe, 18, found, test), labels[test]) >= 0.88
    one_sided = fit_candidate(best, found, labels, split.train[split.train < count])
    inverted = split.test[split.test >= count]
    where = [both.groups[row] for row in inverted]
    found_there = metrics.bootstrap(metrics.auroc, score_rows(one_sided, 18, found, inverted), labels[inverted], where)
    assert found_there.high < 0.5


@pytest.mark.parametrize("name", catalog.names("probe"))
def test_shipped_probes_load_and_say_where_they_are_from(embedded: LocalModel, name: str) -> None:
    found = load(catalog.find("probe", name), embedded.facts)
    assert found.sidecar.name == name
    assert all(part.licence and part.source for part in found.sidecar.data)
    config = read_config(catalog.shipped("probe") / name / "train.yaml")
    from monitor.probes.training import datasets_of

    assert [part.sha256 for part in datasets_of(config)] == [part.sha256 for part in found.sidecar.data]
    assert found.sidecar.calibrations
