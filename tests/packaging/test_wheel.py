"""What the wheel and the sdist carry. ``scripts/smoke_wheel.sh`` installs and uses the wheel."""

from __future__ import annotations

import runpy
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BUILD = "from hatchling.build import build_{0} as build; print(build({1!r}))"


def build(kind: str, folder: Path) -> Path:
    """Build with the pinned backend itself: no network, no environment of its own."""
    command = [sys.executable, "-c", BUILD.format(kind, str(folder))]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return folder / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        return archive.namelist()


def test_the_wheel_carries_every_recipe_role_tool_policy_and_probe(wheel: list[str]) -> None:
    for pattern in (
        "agents/recipes/*.py",
        "agents/roles/*.md",
        "agents/tools/*.py",
        "policies/*.yaml",
        "policies/*.json",
        "probes/*/probe.*",
        "probes/*/train.yaml",
        "probes/data/*/*",
    ):
        shipped = {f"monitor/_bundled/{path.relative_to(ROOT)}" for path in ROOT.glob(pattern)}
        assert shipped
        assert shipped <= set(wheel)


def test_the_wheel_has_no_package_named_agents(wheel: list[str]) -> None:
    """``agents`` is the import name of OpenAI's Agents SDK, with and without ours installed beside it."""
    assert {name.split("/")[0] for name in wheel if not name.startswith("factored_monitor-")} == {"monitor"}
    assert not [name for name in wheel if "_bundled" in name and name.endswith("__init__.py")]


def test_the_wheel_has_the_migrations_and_the_type_marker(wheel: list[str]) -> None:
    assert "monitor/py.typed" in wheel
    assert [name for name in wheel if name.startswith("monitor/store/migrations/versions/")]
    assert not [name for name in wheel if "__pycache__" in name or name.endswith(".db")]


@pytest.mark.parametrize(("version", "bundled"), [("standard", True), ("editable", False)])
def test_an_editable_install_keeps_no_frozen_copies(version: str, bundled: bool) -> None:
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["BundleHook"](str(ROOT), {}, None, None, "", "wheel")
    build_data: dict[str, dict[str, str]] = {"force_include": {}}
    hook.initialize(version, build_data)
    assert bool(build_data["force_include"]) is bundled


def test_the_sdist_has_all_that_a_wheel_is_built_from(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"hatch_build.py", "pyproject.toml", "LICENSE", "policies/core.yaml", "agents/recipes/answer.py"} <= names


def test_a_wheel_without_its_recipes_is_not_built(tmp_path: Path) -> None:
    """A folder that went missing must fail the build, not ship a wheel that knows no recipe."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "monitor").mkdir()
    (tmp_path / "monitor/__init__.py").touch()
    command = [sys.executable, "-c", BUILD.format("wheel", str(tmp_path / "dist"))]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "expected the files that the wheel carries, found none" in done.stderr
