"""What looking at the command costs: no database, no model, no framework is loaded for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {
    "alembic",
    "langchain",
    "langchain_core",
    "langgraph",
    "openai",
    "pyarrow",
    "ray",
    "sqlalchemy",
    "sqlmodel",
    "torch",
    "xllamacpp",
}


def loaded(code: str) -> set[str]:
    """The top-level modules that are loaded after ``code`` in a fresh interpreter."""
    program = f"import sys\n{code}\nprint('modules:', *{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(done.stdout.rpartition("modules:")[2].split())


def test_importing_the_package_loads_next_to_nothing() -> None:
    assert loaded("import monitor; monitor.__version__") & (HEAVY | {"pydantic", "typer", "rich"}) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["models", "pull", "--help"], ["version"]])
def test_help_loads_no_database_and_no_model(arguments: list[str]) -> None:
    assert loaded(f"from monitor.cli import main; assert main({arguments!r}) == 0") & HEAVY == set()


def test_help_says_what_the_exit_codes_mean() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "monitor", "run", "--help"], check=True, capture_output=True, text=True
    )
    assert "130  cancelled (Ctrl-C, SIGTERM); the run can be resumed" in done.stdout


def test_without_arguments_the_help_is_shown_and_that_is_a_usage_error() -> None:
    done = subprocess.run([sys.executable, "-m", "monitor"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


def test_a_reader_that_goes_away_is_no_crash() -> None:
    """``monitor … | head -1``: the pipe breaks, and nobody wants a traceback for it."""
    command = f"{sys.executable} -m monitor policy list --json | head -1"
    done = subprocess.run(["/bin/sh", "-c", command], check=False, capture_output=True, text=True)
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_a_terminal_without_unicode_still_gets_everything() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    program = "import sys; from monitor.cli import main; main(['version']); sys.stdout.write('\\u00e9')"
    done = subprocess.run([sys.executable, "-c", program], check=True, env=environment, capture_output=True, text=True)
    assert done.stdout.endswith("\\xe9")
