"""The guide to OpenTelemetry says what is so: its programs run, and send to a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, Block, blocks
from tests.stubs.openai_stub import OpenAIStub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.adapters.serve.conftest import Served

PAGE = ROOT / "docs" / "wrapping" / "opentelemetry.md"
PROGRAMS = blocks("python", "", on=PAGE)


def settings() -> dict[str, str]:
    """The variables that the page exports."""
    lines = [line for block in blocks("sh", on=PAGE) for line in block.text.splitlines()]
    pairs = [line.removeprefix("export ").partition("=") for line in lines if line.startswith("export ")]
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_programs_run_and_are_recorded(
    block: Block, serve: Callable[..., Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openai_v2", "langchain"):
        if name in block.text:
            home = "opentelemetry" if name == "openai_v2" else "openinference"
            pytest.importorskip(f"{home}.instrumentation.{name}")
    monkeypatch.chdir(tmp_path)
    server = serve("--policy", "core", "--settle", "30")
    for name, value in settings().items():
        monkeypatch.setenv(name, server.url if name.endswith("_ENDPOINT") else value)
    with OpenAIStub() as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
    assert server.end() == 0
    (subcall,) = server.subcalls()
    assert [message.content for message in subcall.call.messages] == ["How far is the Moon?"]
    assert subcall.judgement is not None
    assert subcall.judgement.verdict.value == "pass"


def test_there_are_programs() -> None:
    assert len(PROGRAMS) == 2
    assert settings()["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
