"""The set-up: pins for everything, torch without CUDA or not at all, clear words where a part is missing."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def requirements() -> list[Requirement]:
    texts = list(PROJECT["project"]["dependencies"])
    for extra in PROJECT["project"]["optional-dependencies"].values():
        texts += extra
    texts += PROJECT["dependency-groups"]["dev"]
    return [Requirement(text) for text in texts if not text.startswith("factored-monitor")]


def test_every_dependency_is_pinned_to_a_version_that_is_allowed() -> None:
    pinned = pins()
    for requirement in requirements():
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in constraints.txt: scripts/refresh_constraints.py"
        assert requirement.specifier.contains(version), f"{requirement} does not allow the pinned {version}"


def test_nothing_of_cuda_is_pinned() -> None:
    assert not [name for name in pins() if name.startswith(("nvidia", "cuda", "triton"))]
    assert pins()["torch"] == "2.13.0"


def test_the_base_install_is_light() -> None:
    base = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    assert base & {"torch", "transformers", "langchain", "openai", "xllamacpp", "numpy"} == set()


class FakePython:
    """A stand-in for the interpreter that writes down how pip was called, and fails where the test says so."""

    def __init__(self, folder: Path, fails: str) -> None:
        self._log = folder / "calls"
        self.path = folder / "python"
        lines = ["#!/bin/sh", f'echo "$*" >>{self._log}', f'case "$*" in {fails}) exit 1;; esac', 'echo "on"', ""]
        self.path.write_text("\n".join(lines), encoding="utf-8")
        self.path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._log.read_text(encoding="utf-8").splitlines()


def install_torch(python: FakePython) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts/install_torch.sh"
    return subprocess.run([str(script), str(python.path)], check=False, capture_output=True, text=True)


def torch_calls(calls: list[str]) -> list[str]:
    return [call for call in calls if "pip install" in call and "torch==" in call]


def test_torch_as_pip_is_configured(tmp_path: Path) -> None:
    python = FakePython(tmp_path, fails="nothing")
    done = install_torch(python)
    assert done.returncode == 0
    (call,) = torch_calls(python.calls)
    assert call.endswith(" torch==2.13.0+cpu")
    assert "index-url" not in call
    assert "on" in done.stdout


def test_torch_from_the_cpu_index_where_pip_finds_none(tmp_path: Path) -> None:
    python = FakePython(tmp_path, fails='*--no-deps" torch"*|*"--no-deps torch"*')
    done = install_torch(python)
    assert done.returncode == 0
    configured, cpu = torch_calls(python.calls)
    assert "index-url" not in configured
    assert f"--index-url {CPU_INDEX} torch==2.13.0+cpu" in cpu


def test_without_torch_the_set_up_goes_on_and_says_what_is_off(tmp_path: Path) -> None:
    python = FakePython(tmp_path, fails="*torch==*")
    done = install_torch(python)
    assert done.returncode == 0
    assert "probes: off" in done.stdout
    assert len(torch_calls(python.calls)) == 2
    assert not [call for call in python.calls if "probes]" in call], "nothing that could pull another torch"


def test_no_call_can_fetch_a_cuda_build(tmp_path: Path) -> None:
    """Every request for torch names the CPU build and takes no dependencies; the rest finds torch already there."""
    for number, fails in enumerate(["nothing", '*"--no-deps torch"*', "*torch==*"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        python = FakePython(folder, fails)
        install_torch(python)
        for call in torch_calls(python.calls):
            assert "torch==2.13.0+cpu" in call
            assert "--no-deps" in call


@pytest.mark.parametrize(
    ("refused", "message"),
    [("version_info", "Python 3.11 or newer is needed"), ("ensurepip", "sudo apt-get install python3-venv")],
)
def test_make_says_what_the_machine_lacks(tmp_path: Path, refused: str, message: str) -> None:
    for name in ("Makefile", "constraints.txt", "pyproject.toml", "hatch_build.py"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = FakePython(tmp_path, fails=f"*{refused}*")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-C", str(tmp_path), "demo", f"PYTHON={python.path}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode != 0
    assert message in done.stdout
    assert not (tmp_path / ".venv").exists()
