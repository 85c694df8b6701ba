"""What the documentation points at is there: tests, modules, contracts, headings, pages."""

from __future__ import annotations

import tomllib
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import re2

from tests.docs.pages import PAGES, ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

TEST = re2.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PLACE = re2.compile(r"`((?:monitor|tests|bench|agents|policies|scripts)/[\w/.]*)`")
LINK = re2.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
NOT_OURS = frozenset({"monitor/_bundled/", "policies/mine.yaml"})
"""Places that are only in a wheel, or that the reader makes."""


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def contracts() -> dict[str, Any]:
    settings = tomllib.loads(text(ROOT / "pyproject.toml"))
    return {contract["id"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page: Path) -> None:
    named = TEST.findall(text(page))
    assert [(file, test) for file, test in named if f"def {test}(" not in text(ROOT / file)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_places_that_are_named_exist(page: Path) -> None:
    places = set(PLACE.findall(text(page))) - NOT_OURS
    assert sorted(place for place in places if not (ROOT / place).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for target, heading in LINK.findall(text(page)):
        if "://" in target:
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {target}"
        assert there.is_relative_to(ROOT)
        if heading:
            assert heading in {anchor(line) for line in text(there).splitlines() if line.startswith("#")}


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = "".join(char for char in heading.lstrip("# ").lower() if char.isalnum() or char in " -_")
    return plain.replace(" ", "-")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_page_is_in_the_index(name: str) -> None:
    index = text(ROOT / "docs" / "README.md")
    assert f"(../{name})" in index
    for page in (ROOT / "docs").rglob("*.md"):
        place = str(page.relative_to(ROOT / "docs"))
        assert place == "README.md" or f"({place})" in index, f"docs/README.md does not name {place}"


def test_every_invariant_names_a_test_or_a_contract() -> None:
    page = text(ROOT / "docs" / "architecture.md")
    table = page.partition("\n## Invariants\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert [int(row[0].strip("| ")) for row in rows] == list(range(1, len(rows) + 1))
    for number, _, *held in rows:
        contract = re2.findall(r"import contract `([\w-]+)`", " ".join(held))
        assert set(contract) <= contracts().keys()
        assert contract or TEST.search(" ".join(held)), f"invariant {number} is held by nothing"


def test_the_layers_are_those_that_are_enforced() -> None:
    page = ROOT / "docs" / "architecture.md"
    listed = [block.text.splitlines() for block in blocks("text", on=page) if block.text.startswith("__main__")]
    assert listed == [contracts()["layers"]["layers"]]


def test_every_threat_that_is_defended_names_its_test() -> None:
    page = text(ROOT / "docs" / "threat-model.md")
    table = page.partition("\n## What is defended\n")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    assert [row for row in rows if not TEST.search(row)] == []
