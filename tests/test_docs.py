"""Docs that cannot lie: links lead somewhere, generated parts are fresh, code blocks are what they claim to be."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import re2

from monitor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
LINK = re2.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """Every fenced block of a language, with the line on which it begins."""
    lines: list[str] | None = None
    first = 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if lines is not None and line.strip() == "```":
            yield first, "\n".join(lines)
            lines = None
        elif lines is not None:
            lines.append(line)
        elif line.strip() == f"```{language}":
            lines, first = [], number + 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = [target for target, _ in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_are_python(page: Path) -> None:
    for line, block in blocks(page, "python"):
        compile(block, f"{page}:{line}", "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_in_the_docs_are_settings(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every TOML block is a ``monitor.toml`` that is read without a fault."""
    monkeypatch.chdir(tmp_path)
    for _, block in blocks(page, "toml"):
        tomllib.loads(block)
        Path("monitor.toml").write_text(block, encoding="utf-8")
        assert Settings().config_file


def test_generated_parts_are_fresh() -> None:
    command = [sys.executable, "-m", "cogapp", "--check", "--check-fail-msg=run: cog -r docs/cli.md", "docs/cli.md"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
