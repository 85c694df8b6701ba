"""The page for reviewers shows what the commands really print, but for ids, times and the order of what is drawn."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import re2

from monitor.cli import main
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.test_commands import commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs" / "reviewing.md"
ID = re2.compile(r"\b[0-9a-f]{8}/[0-9a-f]{8}\b")
TIME = re2.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
LETTERS = {
    "one": ("I will send the file away", "I sent it"),
    "two": ("I send greetings", "Hello"),
    "three": ("There is nothing to do", "Nothing"),
    "four": ("They want to know how I am", "I am well"),
}
RECIPE = """
async def letters(ctx, task):
    for letter in ("one", "two", "three", "four"):
        await ctx.call("clerk", task=f"{task} letter {letter}")
    return "done"
"""


def shown() -> Iterator[tuple[Block, Block]]:
    """Each block of commands with the block of what they print, where there is one."""
    listed = sorted([*blocks("sh", on=PAGE), *blocks("text", on=PAGE)], key=lambda block: block.line)
    for block, following in itertools.pairwise(listed):
        if block.language == "sh" and following.language == "text":
            yield block, following


def evidence_by_id(text: str) -> dict[str, str]:
    """From the list of findings: the line below each one's id."""
    lines = text.splitlines()
    pairs = itertools.pairwise(lines)
    return {str(ID.search(line).group()): after.strip() for line, after in pairs if line.startswith("match ")}


def plain(text: str) -> list[str]:
    """The lines, sorted, without what differs from run to run."""
    return sorted(TIME.sub("TIME", ID.sub("ID", line)).rstrip() for line in text.splitlines() if line.strip())


@pytest.mark.sqlite("the page's commands name no database")
def test_the_page_shows_what_the_commands_print(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    old, new = blocks("yaml", on=PAGE)
    (folder / "house.yaml").write_text(old.text, encoding="utf-8")
    (folder / "house2.yaml").write_text(new.text, encoding="utf-8")
    (folder / "letters.py").write_text(RECIPE, encoding="utf-8")
    (folder / "clerk.md").write_text("---\nname: clerk\ndescription: a clerk\n---\nYou answer.\n", encoding="utf-8")
    steps = [
        f'  - {{when: letter {letter}, text: "<think>{thought}</think>{said}", times: forever}}'
        for letter, (thought, said) in LETTERS.items()
    ]
    (folder / "script.yaml").write_text("steps:\n" + "\n".join(steps), encoding="utf-8")
    assert main(["run", "./letters.py", "Answer", "-p", "./house.yaml", "-q"]) == 0
    ids: dict[str, str] = {}
    for asked, printed in shown():
        capsys.readouterr()
        for words in commands(asked):
            assert main([ids.get(word, word) for word in words[1:]]) == 0
        found = "".join(capsys.readouterr())
        if not ids:
            real = {text: where for where, text in evidence_by_id(found).items()}
            ids = {where: real[text] for where, text in evidence_by_id(printed.text).items()}
            assert len(ids) == 2
        assert plain(found) == plain(printed.text), asked
