"""The SDK's import name is that of a folder of ours: both work in one process, from inside the checkout."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.docs.pages import ROOT

PROGRAM = """
from agents import Agent, Runner
import monitor
from monitor import catalog
from monitor.adapters.agents_sdk import run

assert Agent(name="x").name == "x"
assert "react" in catalog.names("recipe")
print(Agent.__module__)
"""


def test_the_sdk_s_agents_are_imported_from_inside_the_checkout() -> None:
    pytest.importorskip("agents.tracing")
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "agents.agent"


def test_without_the_sdk_it_is_said_how_to_install_it() -> None:
    """Our folder of recipes is not taken for the SDK."""
    hidden = "import sys; sys.modules['agents.tracing'] = None\nimport monitor.adapters.agents_sdk"
    done = subprocess.run([sys.executable, "-c", hidden], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert 'pip install "factored-monitor[agents]"' in done.stderr
