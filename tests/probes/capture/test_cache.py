"""Arrays on disk: the same come back, damage is mended, and the folder keeps to its limit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("safetensors")

from monitor.probes.cache import activations_dir, remembered

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.probes.words import Array


class Maker:
    """Makes arrays, and counts how often it did."""

    def __init__(self, size: int = 10) -> None:
        self.arrays = {"a": np.arange(size, dtype=np.float32).reshape(-1, 5), "b": np.full(3, np.nan, dtype=np.float32)}
        self.calls = 0

    def __call__(self) -> dict[str, Array]:
        self.calls += 1
        return self.arrays


def the_file() -> Path:
    (path,) = activations_dir().glob("*.safetensors")
    return path


def test_what_was_made_once_is_read_with_shape_and_dtype() -> None:
    make = Maker()

    first = remembered({"model": "x", "ids": [1, 2]}, make)
    again = remembered({"ids": [1, 2], "model": "x"}, make)

    assert make.calls == 1
    for arrays in (first, again):
        shapes = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
        assert shapes == {"a": ((2, 5), "float32"), "b": ((3,), "float32")}
        np.testing.assert_array_equal(arrays["a"], make.arrays["a"])


@pytest.mark.parametrize(
    "other", [{"model": "y", "k": 1}, {"model": "x", "k": 2}, {"model": "x"}, {"model": "x", "k": "1"}]
)
def test_another_key_is_made_anew(other: dict[str, str | int]) -> None:
    make = Maker()

    remembered({"model": "x", "k": 1}, make)
    remembered(other, make)

    assert make.calls == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other", "folder"])
def test_a_damaged_file_is_made_again(damage: str) -> None:
    make = Maker()
    remembered({"k": 1}, make)
    path = the_file()
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-4])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        content[-30] ^= 1
        path.write_bytes(content)
    elif damage == "other":
        path.write_bytes(b"not tensors at all, but long enough to look at")
    else:
        path.unlink()
        path.mkdir()

    found = remembered({"k": 1}, make)

    np.testing.assert_array_equal(found["a"], make.arrays["a"])
    assert make.calls == 2


def test_what_was_not_used_for_longest_goes_first() -> None:
    make = Maker(size=1000)
    for number in range(3):
        remembered({"k": number}, make)
        for path in activations_dir().glob("*.safetensors"):  # as if an hour had passed
            status = path.stat()
            os.utime(path, (status.st_atime, status.st_mtime - 3600))
    remembered({"k": 0}, make)  # used again, now the newest
    assert make.calls == 3

    remembered({"k": 3}, make, most_bytes=13_000)

    assert sum(path.stat().st_size for path in activations_dir().glob("*.safetensors")) <= 13_000
    for number in (0, 3, 2):
        remembered({"k": number}, make)
    assert make.calls == 4
    remembered({"k": 1}, make)
    assert make.calls == 5


def test_what_is_larger_than_the_limit_is_not_kept() -> None:
    make = Maker(size=1000)

    remembered({"k": 1}, make, most_bytes=100)

    assert list(activations_dir().glob("*.safetensors")) == []


def test_the_cache_is_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_CACHE", str(tmp_path / "elsewhere"))

    remembered({"k": 1}, Maker())

    assert the_file().is_relative_to(tmp_path / "elsewhere")


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MONITOR_CACHE", str(tmp_path / "file"))
    make = Maker()

    remembered({"k": 1}, make)
    remembered({"k": 1}, make)

    assert make.calls == 2
