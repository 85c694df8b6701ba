"""Progress of what is usually quick: nothing for a second, then a line or a bar."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from monitor.cli import working

if TYPE_CHECKING:
    import pytest


def test_what_is_quick_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with working.working("reading") as told:
        told(1, 2)
    assert capsys.readouterr().err == ""


def wait_for(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said until ``text`` is among it."""
    said = ""
    while text not in said:
        time.sleep(0.01)
        said += capsys.readouterr().err
    return said


def test_what_takes_long_is_said_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "_QUIET_SECONDS", 0.01)
    with working.working("reading") as told:
        said = wait_for("\n", capsys)
        told(1, 2)
        told(2, 2)
    assert said + capsys.readouterr().err == "reading …\n"


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "_QUIET_SECONDS", 0.01)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with working.working("reading") as told:
        told(1, 2)
        assert "1/2" in wait_for("1/2", capsys)


def test_with_json_nothing_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "_QUIET_SECONDS", 0.01)
    with working.working("reading", quiet=True):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
