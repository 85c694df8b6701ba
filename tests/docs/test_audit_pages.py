"""What the auditor's guide leads to: every command of the pages on proving, re-checking and reporting is run as it stands.

Ids and keys on a page are examples; here they stand for those of the folder's own store.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from monitor.cli import main
from monitor.store import Store
from tests.docs.pages import ROOT, blocks
from tests.docs.test_commands import commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.sqlite("the pages' commands name no database")
ELSEWHERE = {"ray"}  # tests/audit/rescan/test_ray.py starts one, and holds its findings to be the local ones


def on_page(name: str, examples: Mapping[str, str]) -> Iterator[list[str]]:
    """The arguments of each command of a page, with what its examples stand for."""
    found = [words for block in blocks("sh", on=ROOT / "docs" / name) for words in commands(block)]
    assert found
    for words in found:
        if not ELSEWHERE.intersection(words):
            yield [examples.get(word, word) for word in words[1:]]


def done(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run one command, which must end well; what it says."""
    capsys.readouterr()
    assert main(words) == 0, (words, capsys.readouterr().err)
    said = capsys.readouterr().out
    if "--json" in words:
        assert json.loads(said)["format"].startswith("monitor.")
    return said


def test_proving(audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that erase are run on what was proved before, and the whole verifies afterwards."""
    with Store.open("monitor.db") as store:
        run = store.runs()[0].start.run_id
        subcalls = store.subcalls(run)
    output = subcalls[0].observation.output if subcalls[0].observation else ""
    assert output
    (audited / "kept").mkdir()
    (audited / "address.txt").write_text("Who watches?", encoding="utf-8")
    examples = {"1f6c": run, "49f2": subcalls[0].call.span_id}
    low = {"0.95": "0.1", "reasoning=0.9": "reasoning=0.1"}  # the folder's runs fail on purpose, one unchecked
    for words in on_page("proving.md", {}):
        now = [{**examples, **low}.get(word, word) for word in words]
        if now[1] == "redact" and not {"--dry-run", "--yes"} & set(now):
            now.append("--yes")  # on the page a person is asked
        said = done(now, capsys)
        if now[:2] == ["audit", "keygen"]:
            (key,) = (word for word in said.split() if word.startswith("audit.example.org/monitor+"))
            examples["audit.example.org/monitor+0f0f0f0f+AQ=="] = key
        if now[:2] == ["audit", "purge"]:
            assert "0" in said or "nothing" in said.lower()  # all runs of the folder are of today
    with Store.open("monitor.db") as store:
        assert store.redactions(run)
    vkey = examples["audit.example.org/monitor+0f0f0f0f+AQ=="]
    assert main(["audit", "verify", "--vkey", vkey, "--against", "kept/checkpoint.txt"]) == 0


def test_rescanning(audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The evidence that is kept apart is a copy of the store; the house's own pack is one that is shipped."""
    pack = (
        (ROOT / "policies" / "legibility.yaml").read_text(encoding="utf-8").replace("pack: legibility", "pack: house")
    )
    (audited / "house.yaml").write_text(pack, encoding="utf-8")
    (audited / "evidence.db").write_bytes((audited / "monitor.db").read_bytes())
    scan = json.loads(done(["audit", "scans", "--json"], capsys))["scans"][0]["scan"]
    for words in on_page("rescanning.md", {"3f2a9c10": scan[:8]}):
        assert done(words, capsys) or {"--to", "--out"} & set(words)
    assert (audited / "findings.db").exists()
    assert (audited / "traces.parquet").exists()


def test_reporting(audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in on_page("audit-report.md", {}):
        done(words, capsys)
    assert (audited / "november" / "audit-report.html").exists()
    assert (audited / "november" / "audit-report.md").exists()
