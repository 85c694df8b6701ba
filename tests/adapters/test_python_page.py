"""The guide to any Python says what is so: its programs run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, Block, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "wrapping" / "python.md"


@pytest.mark.sqlite("the programs write monitor.db where they run")
@pytest.mark.parametrize("block", blocks("python", "", on=PAGE), ids=str)
def test_programs_run(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a reader runs them."""
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
    assert (tmp_path / "monitor.db").exists()


def test_there_are_programs() -> None:
    assert len(blocks("python", "", on=PAGE)) == 5
