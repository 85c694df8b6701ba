"""``train.yaml``: what is read, and every way it can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import catalog
from monitor.errors import ProbeDataError
from monitor.probes.config import read_config
from monitor.probes.pooling import Pooling

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
probe: mine
finds: what it finds
data:
  - file: texts.csv
    tags: {set: one}
    licence: MIT
    source: here
held_out: {share: 0.25}
layers: [0, 12, 0.5, 1.0]
poolings: [last, ema(4)]
kinds:
  difference_of_means:
  logistic_regression: {C: [0.1, 1]}
  lda: {shrinkage: auto}
  attention: {heads: [1, 2]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts.csv").write_text("text,label,group\na,1,x\n")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "train.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_configuration_is_read_with_its_defaults(folder: Path) -> None:
    found = read_config(write(folder, GOOD))
    assert found.written.layers == (0, 12, 0.5, 1.0)
    assert [type(layer) for layer in found.written.layers] == [int, int, float, float]
    assert (found.written.format, found.written.surface, found.written.seed, found.written.folds) == (
        "plain",
        "text",
        0,
        5,
    )
    assert found.output == folder
    assert found.labelled


def test_every_combination_is_a_candidate_in_the_order_of_the_file(folder: Path) -> None:
    last, ema = Pooling("last"), Pooling("ema", halflife=4)
    assert list(read_config(write(folder, GOOD)).grid()) == [
        ("difference_of_means", last, {}),
        ("difference_of_means", ema, {}),
        *(("logistic_regression", pooling, {"C": strength}) for pooling in (last, ema) for strength in (0.1, 1)),
        ("lda", last, {"shrinkage": "auto"}),
        ("lda", ema, {"shrinkage": "auto"}),
        ("attention", Pooling("attention"), {"heads": 1}),
        ("attention", Pooling("attention"), {"heads": 2}),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("probe: mine", "prob: mine", ["1:1: `probe` is missing", "1:1: `prob` is not known (did you mean 'probe'?)"]),
        ("probe: mine", "probe: My Probe", ["1:1: `probe`: string should match pattern"]),
        ("    licence: MIT\n", "", ["4:5: `licence` is missing"]),
        ("texts.csv", "no.csv", ["4:5: there is no file `no.csv`"]),
        ("{share: 0.25}", "{share: 25}", ["8:12: `share`: input should be less than 1"]),
        ("{share: 0.25}", "{share: 0.25, groups: [a]}", ["8:1: one of `share` and `groups`"]),
        ("{share: 0.25}", "{}", ["8:1: one of `share` and `groups`"]),
        ("0.5, 1.0]", "0.5, 1.5]", ["9:22: 1.5 is no share of the depth"]),
        ("[last, ema(4)]", "[first, attention]", ["10:12: no pooling 'first'", "10:19: `attention` is the pooling of"]),
        ("{C: [0.1, 1]}", "{c: 1}", ["13:25: logistic_regression has no hyper-parameter `c`. Known: C"]),
        ("{C: [0.1, 1]}", "{C: []}", ["13:25: `C` has no value to choose from"]),
        ("  attention: {heads: [1, 2]}", "  svm: {}", ["15:3: `[key]`"]),
        ("  attention: {heads: [1, 2]}", "  mahalanobis:", ["11:1: kinds that learn from labels and kinds of novelty"]),
        ("finds: what it finds", "finds: 3\nmax_tokens: many", ["2:1: `finds`: input", "3:1: `max_tokens`: input"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(folder: Path, old: str, new: str, said: list[str]) -> None:
    path = write(folder, GOOD.replace(old, new))
    with pytest.raises(ProbeDataError) as error:
        read_config(path)
    lines = [line.removeprefix(f"{path}:") for line in str(error.value).splitlines()]
    assert len(lines) == len(said)
    for line, begin in zip(lines, said, strict=True):
        assert line.startswith(begin)


@pytest.mark.parametrize(
    ("text", "said"), [("[1]", "is a map"), ("a: 1\na: 2", "a second time"), ("", "there is nothing here")]
)
def test_what_is_no_map_is_refused(folder: Path, text: str, said: str) -> None:
    with pytest.raises(ProbeDataError, match=said):
        read_config(write(folder, text))


def test_a_configuration_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ProbeDataError, match="cannot be read"):
        read_config(folder / "none.yaml")


@pytest.mark.parametrize("name", ["truth", "wrong_step"])
def test_the_configurations_of_the_shipped_probes_are_read(name: str) -> None:
    from monitor.probes.training import datasets_of

    found = read_config(catalog.shipped("probe") / name / "train.yaml")
    assert found.written.probe == name
    assert all(dataset.licence and dataset.source for dataset in datasets_of(found))
