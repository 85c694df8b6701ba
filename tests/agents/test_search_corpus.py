"""The shipped tool ``search_corpus``: passages with all the words, best first, with file and line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import catalog

if TYPE_CHECKING:
    from pathlib import Path

found = catalog.load_tool("search_corpus")
search_corpus = found.function


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "corpus"
    (root / "deep" / ".hidden").mkdir(parents=True)
    (root / "bees.md").write_text("# Bees\n\nBees make honey.\nThey keep it in the hive.\n\nHoney, honey, honey.\n")
    (root / "deep" / "moon.txt").write_text("\n\nThe Moon is far.\r\nIt has no honey bees.\n")
    (root / "deep" / ".hidden" / "x.txt").write_text("honey of the hidden\n")
    (root / "code.py").write_text("honey = 1\n")
    (tmp_path / "outside.txt").write_text("honey from outside\n")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "linked").symlink_to(tmp_path)
    return root


def places(answer: str) -> list[str]:
    return [part.partition("\n")[0] for part in answer.split("\n\n")]


def test_passages_are_found_by_all_words_with_file_and_line(folder: Path) -> None:
    assert search_corpus("honey bees", folder=folder) == (
        "bees.md:3\n«Bees» make «honey».\nThey keep it in the hive.\n\n"
        "deep/moon.txt:3\nThe Moon is far.\nIt has no «honey» «bees»."
    )


def test_the_best_comes_first_and_no_more_than_asked_for(folder: Path) -> None:
    assert places(search_corpus("honey", folder=folder)) == ["bees.md:6", "bees.md:3", "deep/moon.txt:3"]
    assert places(search_corpus("honey", 1, folder=folder)) == ["bees.md:6"]
    assert places(search_corpus("honey", -5, folder=folder)) == ["bees.md:6"]


def test_phrases_and_beginnings(folder: Path) -> None:
    assert places(search_corpus('"honey bees"', folder=folder)) == ["deep/moon.txt:3"]
    assert places(search_corpus("“make honey”", folder=folder)) == ["bees.md:3"]
    assert places(search_corpus("hiv*", folder=folder)) == ["bees.md:3"]
    assert places(search_corpus('"no hon"*', folder=folder)) == ["deep/moon.txt:3"]
    assert places(search_corpus("BÉES", folder=folder))[:1] == ["bees.md:1"]


def test_nothing_found_says_what_would_be(folder: Path) -> None:
    answer = search_corpus("honey zebra", folder=folder)
    assert answer.startswith('No passage of 2 files has it. Passages with each alone: "honey": 3, "zebra": 0.')
    assert "Try other words" in search_corpus("zebra", folder=folder)


@pytest.mark.parametrize(
    ("query", "says"),
    [("", "no words"), ('"* ()', "no words"), ("a " * 17, "17 words and phrases"), ("x" * 301, "301 characters")],
)
def test_what_cannot_be_searched_for_says_so(folder: Path, query: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        search_corpus(query, folder=folder)


def test_the_corpus_is_bounded_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "large.txt").write_text("honey " * 200_000)
    (folder / "broken.txt").write_bytes(b"honey \xff\xfe\n")
    (folder / "forbidden.txt").write_text("honey")
    (folder / "forbidden.txt").chmod(0 if os.getuid() else 0o600)
    answer = search_corpus("honey", 9, folder=folder)
    assert "large.txt" not in answer
    assert "were left out for their size or number)" in answer
    assert "broken.txt:1" in answer
    monkeypatch.setitem(search_corpus.__globals__, "MAX_FILES", 1)
    assert "(1 files were searched;" in search_corpus("honey", folder=folder)


def test_a_long_line_and_a_long_paragraph_are_cut(folder: Path) -> None:
    (folder / "long.txt").write_text("word " * 100_000 + "\n" + "\n".join(f"line {n} needle" for n in range(100)))
    answer = search_corpus("needle", 20, folder=folder)
    assert len(answer) < 20_000
    assert "long.txt:2\n" not in answer
    assert "long.txt:13" in answer


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40) | st.text('honey"*()^:-+ANDORNOTNEAR{} \0é', max_size=60))
def test_no_query_breaks_the_search(folder: Path, query: str) -> None:
    try:
        answer = search_corpus(query, folder=folder)
    except ValueError as exc:
        answer = str(exc)
    assert "outside" not in answer
    assert "hidden" not in answer
