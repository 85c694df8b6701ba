"""``from agents import Agent`` is OpenAI's SDK beside us: from the checkout and from the wheel, run and type-checked."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.packaging.test_wheel import ROOT, build

pytest.importorskip("agents.tracing")  # "agents" alone is also a folder of this project

PROGRAM = """
from agents import Agent
import monitor
from monitor import catalog
from monitor.adapters.agents_sdk import run

assert Agent(name="x").name == "x"
assert callable(run)
assert "answer" in catalog.names("recipe")
print(Agent.__module__, monitor.__file__)
"""
TYPED = """
from agents import Agent
import monitor
from monitor.adapters.agents_sdk import run

agent: Agent[None] = Agent(name="x")
reveal_type(agent)
wrong: int = agent.name
"""
CONFIG = """
[mypy]
strict = True
[mypy-monitor.*]
follow_imports = skip
[mypy-openai.*]
follow_imports = skip
"""
"""What is in them is not looked at, for that takes minutes; that they are there is."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and with what this one has installed but for ourselves.

    Where this environment has us as an editable install, a ``.pth`` file in it says so; one that is named by a ``.pth``
    file of another environment has its own not read.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    found = folder / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(subprocess.run([found, "-c", asked], check=True, capture_output=True, text=True).stdout.strip())
    installed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "installed.pth").write_text("\n".join(installed) + "\n")
    with zipfile.ZipFile(build("wheel", folder)) as wheel:
        wheel.extractall(site)
    return found


def asked(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What a command says, without the variables that would lead it back to this checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "MYPYPATH"}}
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def test_both_are_imported_from_the_wheel(python: Path, tmp_path: Path) -> None:
    done = asked([str(python), "-c", PROGRAM], tmp_path)
    assert done.returncode == 0, done.stderr
    module, ours = done.stdout.split()
    assert module == "agents.agent"
    assert Path(ours).is_relative_to(python.parents[1])


def test_the_sdk_is_imported_from_inside_the_checkout_with_the_wheel_installed(python: Path) -> None:
    done = asked([str(python), "-c", PROGRAM], ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["agents.agent", str(ROOT / "monitor" / "__init__.py")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy found out of the SDK, which is the same file for all that ask."""
    return tmp_path_factory.mktemp("cache")


def checked(folder: Path, place: Path, cache: Path, *more: str) -> list[str]:
    """What mypy says of the program, run in ``place``."""
    (folder / "program.py").write_text(TYPED)
    (folder / "mypy.ini").write_text(CONFIG)
    config = ["--config-file", str(folder / "mypy.ini"), "--cache-dir", str(cache)]
    program = ["program.py"] if place == folder else ["-c", TYPED]  # as if it lay there
    said = asked([sys.executable, "-m", "mypy", *config, *more, *program], place)
    assert not said.stderr
    return [line.split(": ", 1)[1] for line in said.stdout.splitlines() if ": " in line]


RIGHT = [
    'note: Revealed type is "agents.agent.Agent[None]"',
    'error: Incompatible types in assignment (expression has type "str", variable has type "int")  [assignment]',
]


def test_both_are_type_checked_from_the_wheel(python: Path, tmp_path: Path, cache: Path) -> None:
    assert checked(tmp_path, tmp_path, cache, "--python-executable", str(python))[:2] == RIGHT


def test_the_sdk_is_type_checked_from_inside_the_checkout(tmp_path: Path, cache: Path) -> None:
    assert checked(tmp_path, ROOT, cache)[:2] == RIGHT
