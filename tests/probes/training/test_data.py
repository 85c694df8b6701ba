"""Labelled texts from files: what is read, and every way a file can be wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from monitor.errors import ProbeDataError
from monitor.probes.data import Columns, Origin, fingerprint, join, read, read_steps
from monitor.probes.words import Labelled

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(error: pytest.ExceptionInfo[ProbeDataError], path: Path) -> list[str]:
    return [line.removeprefix(f"{path}:") for line in str(error.value).splitlines()]


def test_a_csv_file_is_read_by_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", 'statement,label,city,kind\n"Paris, we say.",1,Paris,a\nRome is.,FALSE,Rome,b\n')
    columns = Columns(text="statement", group="city", tags={"sort": "kind"})
    found = read(path, columns=columns, tags={"set": "cities"}, origin=Origin("MIT", "somewhere"))
    assert found.rows == (
        Labelled("Paris, we say.", True, "Paris", tags={"set": "cities", "sort": "a"}),
        Labelled("Rome is.", False, "Rome", tags={"set": "cities", "sort": "b"}),
    )
    assert (found.name, found.licence, found.source) == ("t", "MIT", "somewhere")
    assert found.sha256 == fingerprint(found.rows)


def test_a_jsonl_file_is_read_with_context_and_labels_of_every_spelling(tmp_path: Path) -> None:
    labels = [True, 1, "1", "True", False, 0, "0", "false"]
    lines = [
        json.dumps({"text": f"t{n}", "label": label, "group": n, "context": "asked"}) for n, label in enumerate(labels)
    ]
    found = read(write(tmp_path, "t.jsonl", "\n".join(lines) + "\n\n"))
    assert found.labels.tolist() == [True] * 4 + [False] * 4
    assert found.groups == tuple("01234567")
    assert {row.context for row in found.rows} == {"asked"}


def test_a_pattern_finds_groups_in_the_text(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "text,label\nThe word 'con' means 'with'.,1\nThe word 'uno' means 'two'.,0\n")
    assert read(path, columns=Columns(group_pattern="word '([^']+)'")).groups == ("con", "uno")


def test_the_label_that_is_looked_for_can_be_the_other_one(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "text,label,group\na,1,x\nb,0,y\n")
    assert read(path, columns=Columns(positive=False)).labels.tolist() == [False, True]


def test_groups_that_share_a_text_are_one_group(tmp_path: Path) -> None:
    """Else a split has the same text on both sides. The third group hangs on by the second."""
    path = write(tmp_path, "t.csv", "text,label,group\na,1,x\nb,0,y\na,0,y\nc,0,z\nb,1,z\nd,1,w\n")
    assert read(path).groups == ("x", "x", "x", "x", "x", "w")


def test_hostile_text_is_escaped_where_it_enters(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", '{"text": "a\\u0000\\ud800b", "label": 1, "group": "\\udfff"}')
    row = read(path).rows[0]
    assert (row.text, row.group) == ("a␛0000␛d800b", "␛dfff")


def test_every_fault_of_a_csv_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", 'text,label,group\n"two\nlines",2,x\n,1,x\nshort,1\nc,0,\nd,,y\n')
    with pytest.raises(ProbeDataError) as error:
        read(path)
    assert faults_of(error, path) == [
        '2:1: `label` is "2". A label is 0, 1, false or true.',
        "4:1: `text` has no text. Write the text, or take the row out.",
        "5:1: the row has 2 fields, the header 3. A text with a comma or a line break stands in double quotes.",
        "6:1: `group` is empty here. Every text needs a group: what its twins share, and no other text does.",
        "7:1: `label` is nothing. A label is 0, 1, false or true.",
    ]


def test_every_fault_of_a_jsonl_file_is_told_with_its_line(tmp_path: Path) -> None:
    lines = [
        '{"text": "a", "label": 1, "group": "x"',
        "[1]",
        '{"text": "a", "label": [1], "group": "x"}',
        '{"text": "a", "text": "b", "label": 1, "group": "x"}',
        '{"text": "a", "lable": 1, "group": {}}',
        '{"text": 3, "label": 1, "group": true, "context": 4}',
    ]
    path = write(tmp_path, "t.jsonl", "\n".join(lines))
    with pytest.raises(ProbeDataError) as error:
        read(path)
    assert [fault.partition(". ")[0] for fault in faults_of(error, path)] == [
        "1:39: this is no JSON: Expecting ',' delimiter",
        "2:1: this is no JSON object",
        "3:1: `label` is [1]",
        "4:1: this cannot be read: the key 'text' is there twice",
        "5:1: there is no `label` (did you mean 'lable'?)",
        "6:1: `text` has no text",
        "6:1: `context` is not text",
    ]


def test_a_missing_column_is_told_once_with_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "statement,label,city\na,1,x\n")
    with pytest.raises(ProbeDataError) as error:
        read(path, columns=Columns(text="statment", group="city"))
    assert faults_of(error, path) == [
        "1:1: there is no column `statment` (did you mean 'statement'?); there are: `statement`, `label`, `city`. "
        "Name the column that is meant."
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "text,label,group\n", "the file has no rows"),
        ("t.csv", "", "there is no column `text`"),
        ("t.csv", "text,text,label,group\na,b,1,x\n", "two columns are named `text`"),
        ("t.csv", 'text,label,group\n"a"b,1,x\n', "this is no CSV"),
        ("t.txt", "a", "the kind of file is not known"),
        ("t.jsonl", "[" * 100_000, "nested too deep"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ProbeDataError, match=said):
        read(write(tmp_path, name, text))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeDataError, match="cannot be read: No such file"):
        read(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"text,label,group\n\xff,1,x\n")
    with pytest.raises(ProbeDataError, match=r"b.csv:2:1: the file is not UTF-8 text"):
        read(tmp_path / "b.csv")


def test_a_file_of_nothing_but_faults_costs_no_more_than_its_first_hundred(tmp_path: Path) -> None:
    with pytest.raises(ProbeDataError) as error:
        read(write(tmp_path, "t.jsonl", "x\n" * 5_000))
    assert len(str(error.value).splitlines()) == 101
    assert "there are more faults than these 100" in str(error.value)


def test_a_wrong_pattern_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "text,label\na,1\n")
    with pytest.raises(ProbeDataError, match="no regular expression of RE2"):
        read(path, columns=Columns(group_pattern="(?=a)"))
    with pytest.raises(ProbeDataError, match="the pattern for groups matches nothing here"):
        read(path, columns=Columns(group_pattern="word"))


def test_harmless_texts_need_neither_label_nor_group(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", '{"text": "a"}\n{"text": "b", "label": 1}\n')
    found = read(path, benign=True)
    assert found.labels.tolist() == [False, True]
    assert found.groups == ("t.jsonl:1", "t.jsonl:2")


def test_a_chain_is_read_as_far_as_its_first_mistake(tmp_path: Path) -> None:
    chains = [
        {"input": "1+1+1=", "steps": ["1+1=2", "2+1=4", "so 4"], "mistake_index": 1},
        {"input": "2+2=", "steps": ["2+2=4", "so 4"], "mistake_index": None},
    ]
    found = read_steps(write(tmp_path, "t.jsonl", "\n".join(map(json.dumps, chains))), tags={"set": "sums"})
    assert found.rows == (
        Labelled("1+1=2", False, "1+1+1=", context="1+1+1=", tags={"set": "sums", "step": "first"}),
        Labelled("2+1=4", True, "1+1+1=", context="1+1+1=\n1+1=2", tags={"set": "sums", "step": "later"}),
        Labelled("2+2=4", False, "2+2=", context="2+2=", tags={"set": "sums", "step": "first"}),
        Labelled("so 4", False, "2+2=", context="2+2=\n2+2=4", tags={"set": "sums", "step": "later"}),
    )


def test_every_fault_of_a_chain_is_told(tmp_path: Path) -> None:
    chains = [
        {"input": "", "steps": ["a"], "mistake_index": 1},
        {"input": "x", "steps": [], "mistake_index": None},
        {"input": "x", "steps": ["a"], "mistake_index": True},
        {"input": "x", "steps": ["a"]},
    ]
    path = write(tmp_path, "t.jsonl", "\n".join(map(json.dumps, chains)))
    with pytest.raises(ProbeDataError) as error:
        read_steps(path)
    assert [fault.partition(". ")[0] for fault in faults_of(error, path)] == [
        "1:1: `input` has no text",
        "1:1: `mistake_index` is 1, and there are 1 steps",
        "2:1: `steps` is not a list of texts",
        "3:1: `mistake_index` is no whole number",
        "4:1: there is no `mistake_index`",
    ]


def test_joined_sets_share_their_groups_and_say_where_they_are_from(tmp_path: Path) -> None:
    one = read(write(tmp_path, "a.csv", "text,label,group\nyes,1,x\n"), origin=Origin("MIT", "here"))
    two = read(write(tmp_path, "b.csv", "text,label,group\nnot yes,0,x\n"), origin=Origin("MIT", "there"))
    both = join([one, two])
    assert (both.name, both.groups, both.licence, both.source) == ("a+b", ("x", "x"), "MIT", "here; there")
    assert both.sha256 not in {one.sha256, two.sha256}
    with pytest.raises(ProbeDataError, match="found none"):
        join([])


def test_the_fingerprint_sees_texts_labels_groups_contexts_and_order() -> None:
    rows = [Labelled("a", True, "x"), Labelled("b", False, "y")]
    others = [
        [Labelled("a ", True, "x"), rows[1]],
        [Labelled("a", False, "x"), rows[1]],
        [Labelled("a", True, "z"), rows[1]],
        [Labelled("a", True, "x", context="c"), rows[1]],
        rows[::-1],
        rows[:1],
    ]
    assert len({fingerprint(rows), *map(fingerprint, others)}) == 7
    assert fingerprint(rows) == fingerprint([Labelled("a", True, "x", tags={"t": "u"}), rows[1]])
