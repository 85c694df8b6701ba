"""Full text search on both databases: words, phrases, prefixes, boolean; the index follows the log, and forgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.records import Message, Reasoning, ReasoningState
from monitor.store import Store
from monitor.store.location import is_postgres, parse_url
from monitor.store.search.finding import Filters, TextSearch
from monitor.store.search.index import OVERLAP, PART_WORDS, PostgresWords, SqliteWords, forget_text
from monitor.store.search.syntax import LONGEST_PHRASE, SearchError, parse
from monitor.store.search.words import words_of
from tests.audit import known
from tests.store.events import observed, run_started, started

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = {
    getattr(known, name): name for name in ("A1", "A2", "A3", "A4", "A5", "A6", "B1", "B2", "B3", "ROOT_A", "ROOT_B")
}


@pytest.fixture
def record(new_database: Callable[[], str]) -> str:
    address = new_database()
    with Store.open(address) as store:
        known.fill(store)
    return address


def places(address: str, words: str, **filters: object) -> set[tuple[str, str]]:
    index = TextSearch(address)
    index.update()
    found = index.search(words, Filters(**filters), limit=100)  # type: ignore[arg-type]
    assert found.total == len(found.hits)
    assert found.unindexed == 0
    return {(NAMES[hit.span_id], hit.surface) for hit in found.hits}


FOUND: list[tuple[str, set[tuple[str, str]]]] = [
    ("vault", {("A2", "output"), ("A4", "prompt")}),
    ("VAULT code", {("A2", "output"), ("A4", "prompt")}),
    ('"vault code"', {("A2", "output"), ("A4", "prompt")}),
    ('"code vault"', set()),
    ('"hide the code"', {("A2", "reasoning")}),
    ("hid*", {("A2", "reasoning")}),
    ('"the cod"*', {("A2", "reasoning"), ("A2", "prompt"), ("A5", "output"), ("A5", "decision")}),
    ("code NOT vault NOT hide", {("A5", "output"), ("A2", "prompt"), ("A5", "decision")}),
    ("(vault OR hide) AND code NOT nobody", {("A2", "reasoning")}),
    ("reserves OR twelve", {("A3", "output"), ("A4", "prompt")}),
    ("mine say", {("A6", "decision")}),
    ("notes.txt", {("B1", "tool_calls")}),
    ("dear customer", {("B3", "released")}),
    ('"test value"', {("A2", "review")}),
    ('"calls left"', {("B2", "error")}),
    ('"plan the year"', {("ROOT_A", "task"), ("A1", "prompt")}),
    ("events", set()),
]


def test_what_is_found(record: str) -> None:
    assert [(words, places(record, words)) for words, _ in FOUND] == FOUND


def test_filters_narrow(record: str) -> None:
    assert places(record, "code", surfaces=("reasoning",)) == {("A2", "reasoning")}
    assert places(record, "code", role="judge") == {("A4", "prompt"), ("A5", "output"), ("A5", "decision")}
    assert places(record, "agent OR it", run_id=known.B) == {("B1", "review")}
    assert places(record, "task", since="2026-11-02") == {("B1", "task"), ("B2", "task"), ("B3", "task")}


def test_a_hit_says_where_in_the_text(record: str) -> None:
    index = TextSearch(record)
    index.update()
    (hit,) = index.search("seven* OR 7431", Filters(run_id=known.A, surfaces=("output",), role="worker")).hits
    assert (hit.run_id, hit.span_id, hit.role, hit.at) == (known.A, known.A2, "worker", known.at(5))
    assert [known.SECRET[start:end] for start, end in hit.marks] == ["7431"]
    assert hit.snippet == known.SECRET[hit.start : hit.start + len(hit.snippet)]


def test_the_better_text_comes_first(new_database: Callable[[], str]) -> None:
    address = new_database()
    filler = " ".join(f"word{number}" for number in range(120))
    with Store.open(address) as store:
        store.append_sync(run := run_started())
        for output in (f"budget {filler}", "budget budget budget, only the budget", filler):
            store.append_sync(call := started(run.run_id), observed(call, output=output))
        store.sequence()
    index = TextSearch(address)
    index.update()
    found = index.search("budget")
    assert [hit.codepoints for hit in found.hits] == [37, len(filler) + 7]
    assert index.search("budget", limit=1).total == 2


def test_the_index_follows_the_log_and_is_made_anew(record: str) -> None:
    index = TextSearch(record)
    assert index.search("vault").unindexed > 0
    assert index.update() > 0
    assert index.update() == 0
    with Store.open(record) as store:
        store.append_sync(call := started(known.A, role="late"), observed(call, output="a vault again"))
        store.sequence()
    assert index.search("vault").unindexed == 2
    assert index.update() == 2
    before = {(hit.span_id, hit.surface) for hit in index.search("vault").hits}
    assert len(before) == 3
    told: list[tuple[int, int]] = []
    assert index.rebuild(lambda done, total: told.append((done, total))) == len(NAMES) + index_only(record)
    assert told[-1][0] == told[-1][1]
    assert {(hit.span_id, hit.surface) for hit in index.search("vault").hits} == before


def index_only(address: str) -> int:
    """How many events there are beyond one for each name."""
    with Store.open(address) as store:
        return sum(len(store.events(run)) for run in (known.A, known.B)) - len(NAMES)


def test_a_text_that_is_forgotten_is_found_nowhere(record: str) -> None:
    index = TextSearch(record)
    index.update()
    (hit,) = index.search("vault", Filters(surfaces=("output",))).hits
    with index._transaction() as execute:
        words = PostgresWords(execute) if is_postgres(record) else SqliteWords(execute)
        assert forget_text(execute, words, hit.commitment)
        assert not forget_text(execute, words, hit.commitment)
    assert {one.surface for one in index.search("vault").hits} == {"prompt"}
    assert index.search('"should hide"').total == 1


@pytest.mark.sqlite("the bytes of its file")
def test_what_is_forgotten_is_in_no_byte_of_the_index(new_database: Callable[[], str]) -> None:
    """``secure-delete`` of FTS5 and of SQLite: the words are gone from the pages, and the record is not looked at here."""
    address = new_database()
    with Store.open(address) as store:
        store.append_sync(run := run_started(task="quixotic zyzzyva"))
        for number in range(200):
            store.append_sync(started(run.run_id, task=f"ordinary words number {number}"))
    index = TextSearch(address)
    index.update()
    (hit,) = index.search("zyzzyva").hits
    with index._transaction() as execute:
        execute("PRAGMA secure_delete = ON")
        assert forget_text(execute, SqliteWords(execute), hit.commitment)
    with index._transaction() as execute:
        blocks = [bytes(block) for (block,) in execute("SELECT block FROM search_words_data")]
    assert blocks
    assert not [block for block in blocks if b"zyzzyva" in block or b"quixotic" in block or b"yzzyva" in block]


def test_long_texts_hostile_texts_and_all_scripts(new_database: Callable[[], str]) -> None:
    """Phrases are found across the parts of a text; what is no word separates; scripts without spaces are searched too."""
    address = new_database()
    long = " ".join(f"w{number}" for number in range(3 * PART_WORDS))
    texts = {
        "long": long,
        "hostile": '\'; DROP TABLE events; -- "NEAR(a b)" column:x ^caret {brace} ␛0000 half ␛d83d end',
        "scripts": "Grüße aus Köln, straße; Привет мир; 漢字を読む; שלום עולם; नमस्ते दुनिया; ＡＢＣ ﬁne",
        "repeated": "again " * 1000,
    }
    with Store.open(address) as store:
        store.append_sync(run := run_started())
        for text in texts.values():
            store.append_sync(call := started(run.run_id), observed(call, output=text))
        store.sequence()
    index = TextSearch(address)
    index.update()

    def found(words: str) -> set[str]:
        names = {len(text): name for name, text in texts.items()}
        return {names[hit.codepoints] for hit in index.search(words).hits}

    for start in range(PART_WORDS - LONGEST_PHRASE, PART_WORDS + 1, 4):
        phrase = " ".join(f"w{number}" for number in range(start, start + LONGEST_PHRASE))
        assert found(f'"{phrase}"') == {"long"}, start
    assert found(f"w0 w{3 * PART_WORDS - 1}") == {"long"}
    assert found(f"w0 NOT w{3 * PART_WORDS - 1}") == set()
    assert found('"drop table events"') == {"hostile"}
    for words in ("grusse", "STRASSE", "привет", "漢字", '"漢字を読む"', "読", "שלום", "नमस्ते", "abc fine"):
        assert found(words) == {"scripts"}, words
    assert found('"again again again"') == {"repeated"}
    assert LONGEST_PHRASE <= OVERLAP


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("", "found nothing"),
        ('"open', "does not end"),
        ("(a", r"has no \) that closes"),
        ("a)", "nothing that it closes"),
        ("NOT a", "NOT alone"),
        ("a OR NOT b", "NOT alone"),
        ("a NOT", "NOT needs words"),
        ("AND a", "needs something before"),
        ("a AND", "needs something behind"),
        ("a OR", "expected words beside OR"),
        ("()", "expected words"),
        ("?!", "no letter and no digit"),
        ('"' + "a " * 33 + '"', "at most 32 words"),
        ("a " * 65, "at most 64"),
        ("(" * 40 + "a" + ")" * 40, "32 deep"),
    ],
)
def test_what_cannot_be_read_says_so(words: str, problem: str) -> None:
    with pytest.raises(SearchError, match=problem):
        parse(words)


@given(st.text(max_size=40))
def test_whatever_is_typed_is_read_or_refused(words: str) -> None:
    try:
        parse(words)
    except SearchError:
        return


def test_whatever_is_typed_is_answered(record: str) -> None:
    """What the databases' own languages would take for syntax is only words here."""
    index = TextSearch(record)
    index.update()
    for words in (
        "a:b",
        "^a",
        "a*b",
        '"a"*',
        "NEAR(a b)",
        "{a}",
        "a & !b",
        "a <-> b",
        "a:*",
        "'",
        "\\a",
        "%s ?",
        "col : x",
        "-code",
        "a\0b",
        "\ud800a",
    ):
        try:
            index.search(words)
        except SearchError:
            continue


@given(st.text(max_size=60))
def test_words_are_where_they_are_said_to_be(text: str) -> None:
    found = list(words_of(text))
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert [one.start for one in found] == sorted(one.start for one in found)
    assert all(" " not in one.text and "'" not in one.text for one in found)


def test_a_message_is_found_once_in_each_run(new_database: Callable[[], str]) -> None:
    address = new_database()
    history = tuple(Message(role="user", content=f"step number {number}") for number in range(30))
    with Store.open(address) as store:
        for _ in range(2):
            store.append_sync(run := run_started())
            for length in range(1, 31):
                store.append_sync(started(run.run_id, messages=history[:length]))
        store.sequence()
    index = TextSearch(address)
    index.update()
    assert index.search('"number 3"', Filters(surfaces=("prompt",))).total == 2


@pytest.mark.sqlite("a file that may only be read")
def test_what_could_not_be_indexed_is_counted(record: str) -> None:
    index = TextSearch(record)
    found = index.search("vault")
    assert (found.total, found.unindexed > 20) == (0, True)
    assert parse_url(record).exists()


def test_reasoning_that_is_absent_is_no_text(new_database: Callable[[], str]) -> None:
    address = new_database()
    with Store.open(address) as store:
        store.append_sync(run := run_started())
        store.append_sync(call := started(run.run_id), observed(call, reasoning=Reasoning(state=ReasoningState.ABSENT)))
        store.sequence()
    index = TextSearch(address)
    assert index.update() == 3
    assert index.search("42").total == 1
