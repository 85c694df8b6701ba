"""The guide to the OpenAI SDK says what is so: its programs run, against the stub."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, Block, blocks
from tests.stubs.openai_stub import OpenAIStub

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "wrapping" / "openai.md"


@pytest.mark.sqlite("the programs write monitor.db where they run")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("block", blocks("python", "", on=PAGE), ids=str)
def test_programs_run(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a reader runs them, with the settings of the SDK from the environment; short programs close no client."""
    monkeypatch.chdir(tmp_path)
    with OpenAIStub() as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
        assert stub.requests
        gc.collect()
    assert (tmp_path / "monitor.db").exists()


def test_there_are_programs() -> None:
    assert len(blocks("python", "", on=PAGE)) == 6
