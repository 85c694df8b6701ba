"""``monitor probe``: training, calibrating, scoring and looking, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from monitor import catalog
from monitor.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HARMLESS = "text,group\n" + "\n".join(f"Room {number} did that terribly badly.,{number}" for number in range(70))


class Result:
    """What a call of the command gave."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(arguments)
        return Result(code, *capsys.readouterr())

    return call


def test_shipped_probes_are_listed_and_shown(monitor: Callable[..., Result]) -> None:
    listed = {one["name"]: one for one in monitor("probe", "list", "--json").json["probes"]}
    assert set(listed) == {"truth", "wrong_step"}
    assert listed["truth"]["auroc"] > 0.85
    shown = monitor("probe", "show", "truth")
    assert shown.code == 0
    for part in ("layer ", "held out, polarity negated", "MIT", "1 % false positives", "counted from 1"):
        assert part in shown.out
    assert monitor("probe", "show", "truth", "--json").json["probe"]["name"] == "truth"


def test_a_probe_that_is_not_there_or_broken_is_told(monitor: Callable[..., Result], tmp_path: Path) -> None:
    found = monitor("probe", "show", "truht")
    assert found.code == 2
    assert "did you mean 'truth'?" in found.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "probe.json").write_bytes(b"\x80\x04K\x01.")
    assert "is a pickle" in monitor("probe", "show", "./mine").err
    assert "broken: " in monitor("probe", "list", "./mine").out


@pytest.mark.embedded
def test_train_calibrate_and_score(monitor: Callable[..., Result], praise: Callable[..., Path], tmp_path: Path) -> None:
    """From labelled texts to a rate, and to the reason why there is none."""
    assert praise(("probe: praise", "probe: praise\noutput: out")).name == "train.yaml"
    dry = monitor("probe", "train", "train.yaml", "--dry-run", "--device", "cpu")
    assert (dry.code, (tmp_path / "out").exists()) == (0, False)
    assert "nothing was written" in dry.out
    trained = monitor("probe", "train", "train.yaml", "--device", "cpu", "--json").json
    assert (trained["probe"]["name"], len(trained["choices"]), trained["path"]) == ("praise", 12, "out")
    high = monitor("probe", "score", "./out", "Zoe did that wonderfully well!", "--device", "cpu", "--json").json
    low = monitor("probe", "score", "./out", "Zoe did that terribly badly!", "--device", "cpu", "--json").json
    assert high["score"] > low["score"]
    assert (high["mode"], high["surface"], high["cause"]) == ("reader", "text", None)
    assert high["fpr"] < low["fpr"]
    elsewhere = ("probe", "score", "./out", "Zoe did that well!", "--device", "cpu", "--surface", "output")
    assert "rate: unknown: calibrated on text (plain), and this is output (plain)" in monitor(*elsewhere).out

    (tmp_path / "harmless.csv").write_text(HARMLESS)
    command = ("probe", "calibrate", "./out", "--data", "harmless.csv", "--surface", "output", "--device", "cpu")
    refused = monitor(*command, "--rate", "0.01")
    assert refused.code == 2
    assert "0.01 needs 299, found 70" in refused.err
    done = monitor(*command, "--rate", "0.05", "--output", "calibrated")
    assert done.code == 0
    assert "5 % false positives: from " in done.out
    rate = monitor("probe", "score", "./calibrated", *elsewhere[3:])
    assert "of harmless score as high" in rate.out
    (tmp_path / "text.txt").write_text("Zoe did that wonderfully well!")
    tokens = monitor("probe", "score", "./out", "text.txt", "--device", "cpu", "--tokens")
    assert f"{high['score']:.4g}" in tokens.out
    assert "'Zoe'" in tokens.out or "' did'" in tokens.out


def test_what_is_wrong_is_told_before_a_model_is_loaded(
    monitor: Callable[..., Result], praise: Callable[..., Path], tmp_path: Path
) -> None:
    praise(("layers: [6, 0.5]", "layer: [6]"))
    found = monitor("probe", "train", "train.yaml")
    assert found.code == 2
    assert "train.yaml:11:1: `layer` is not known (did you mean 'layers'?)" in found.err
    praise()
    with (tmp_path / "praise.csv").open("a") as file:
        file.write("x,7,y,z\n")
    found = monitor("probe", "train", "train.yaml", "--json")
    assert found.code == 2
    assert 'praise.csv:66:1: `label` is \\"7\\"' in found.out
    data = ("--data", "praise.csv", "--surface", "output")
    assert "came with the package: say with --output" in monitor("probe", "calibrate", "truth", *data).err
    assert "no such surface" in monitor("probe", "score", "truth", "x", "--surface", "outptu").err


WITHOUT = """\
import sys
for name in ("torch", "transformers", "sklearn", "safetensors", "numpy", "scipy"):
    sys.modules[name] = None
from monitor.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where none of the packages for probes can be imported."""
    command = [sys.executable, "-c", WITHOUT, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_without_torch_probes_are_listed_and_everything_else_says_what_to_install() -> None:
    assert "truth" in without_torch("probe", "list").stdout
    assert "layer" in without_torch("probe", "show", "truth").stdout
    config = str(catalog.shipped("probe") / "truth" / "train.yaml")
    for arguments in (("score", "truth", "text"), ("train", config)):
        done = without_torch("probe", *arguments)
        assert done.returncode == 2
        assert 'pip install "factored-monitor[probes]"' in done.stderr
        assert "make probes" in done.stderr


@pytest.mark.parametrize("arguments", [["probe", "--help"], ["probe", "train", "--help"], ["probe", "list"]])
def test_help_and_lists_load_neither_torch_nor_numpy(arguments: list[str]) -> None:
    program = f"import sys; from monitor.cli import main; main({arguments!r}); print('modules:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert {"torch", "numpy", "sklearn", "scipy"} & set(done.stdout.rpartition("modules:")[2].split()) == set()
