"""``monitor probe eval``: a probe that was trained on one polarity, tried on the other, and what becomes of it."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from monitor.cli.app import app
from monitor.errors import ProbeError
from monitor.probes.artefact import load, read_sidecar, refuse_alarms

if TYPE_CHECKING:
    from monitor.probes.local_model import LocalModel

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[3]
CONFIG = """\
probe: one_sided
finds: a true statement
max_tokens: 32
data:
  - {file: plain.csv, licence: MIT, source: here}
held_out: {share: 0.3}
folds: 3
layers: [0.5]
poolings: [last]
kinds: {difference_of_means: {standardise: true}}
"""


def _extract(source: str, target: Path, cities: int) -> None:
    with (ROOT / "probes" / "data" / "truth" / source).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = list(dict.fromkeys(row["city"] for row in rows))[:cities]
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "group"])
        writer.writerows((row["statement"], row["label"], row["city"]) for row in rows if row["city"] in kept)


@pytest.fixture(scope="module")
def trained(embedded: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a probe that was trained on affirmative statements alone, with both files beside it."""
    folder = tmp_path_factory.mktemp("one_sided")
    _extract("cities.csv", folder / "plain.csv", 50)
    _extract("neg_cities.csv", folder / "negated.csv", 50)
    (folder / "train.yaml").write_text(CONFIG, encoding="utf-8")
    before = os.environ.get("MONITOR_CACHE")
    os.environ["MONITOR_CACHE"] = str(folder / "cache")
    try:
        from monitor.probes.config import read_config
        from monitor.probes.training import train

        train(read_config(folder / "train.yaml"), embedded)
    finally:
        if before is None:
            del os.environ["MONITOR_CACHE"]
        else:
            os.environ["MONITOR_CACHE"] = before
    return folder


@pytest.fixture
def _small(embedded: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that is loaded already, and less of what takes long."""
    from dataclasses import replace

    from monitor.probes import local_model
    from monitor.probes.evaluation import effort

    monkeypatch.setenv("MONITOR_CACHE", str(tmp_path))
    monkeypatch.setattr(local_model.LocalModel, "load", classmethod(lambda *_args, **_options: embedded))
    small = replace(effort.QUICK, draws=300, permutations=9, asked=20, causal_texts=3, randoms=2)
    monkeypatch.setattr(effort, "QUICK", small)


@pytest.mark.usefixtures("_small")
def test_the_one_sided_probe_raises_the_alarm_and_is_not_attached(trained: Path, tmp_path: Path) -> None:
    arguments = ["probe", "eval", str(trained), "--data", str(trained / "negated.csv"), "--quick"]
    html = tmp_path / "report.html"
    result = CliRunner().invoke(app, [*arguments, "--json", "--html", str(html)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["probe"]["auroc"]["high"] < 0.5
    assert shown["alarms_written"] is True
    sidecar = read_sidecar(trained)
    assert [alarm.blocks for alarm in sidecar.alarms] == [True]
    with pytest.raises(ProbeError, match="inverted under another data set, trained on plain, tested on negated"):
        refuse_alarms(sidecar)
    assert len(refuse_alarms(sidecar, force=True)) == 1
    load(trained)  # the tensors are as they were
    assert "Alarm." in html.read_text(encoding="utf-8")
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "ALARM: inverted" in again.stdout
    assert len(read_sidecar(trained).alarms) == 1


@pytest.mark.usefixtures("_small")
def test_the_recipe_is_tried_on_negations_written_by_rule(trained: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    arguments = ["probe", "eval", str(trained / "train.yaml"), "--negate", "--quick", "--no-keep"]
    result = CliRunner().invoke(app, [*arguments, "--markdown", str(report)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "ALARM: inverted under negation, trained on one_sided, tested on one_sided, negated by rule" in result.stdout
    assert "ALARM: inverted" in report.read_text(encoding="utf-8")


@pytest.mark.usefixtures("_small")
def test_what_the_probe_was_trained_on_is_refused(trained: Path) -> None:
    result = CliRunner().invoke(app, ["probe", "eval", str(trained), "--data", str(trained / "plain.csv")])
    assert result.exit_code != 0
    assert "was trained on" in str(result.exception)
