"""Fresh interpreters for tests: what locks, limits and exits are about happens between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def start_python(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start ``script`` in a fresh interpreter that can import the package and the tests; its pipes are ours."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
    )


def run_python(script: str, *arguments: object) -> str:
    """Run ``script`` to its end and return what it printed; it must succeed and be silent on stderr."""
    process = start_python(script, *arguments)
    out, err = process.communicate(timeout=120)
    assert err == ""
    assert process.returncode == 0
    return out
