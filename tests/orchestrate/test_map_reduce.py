"""A document longer than the context: every codepoint in exactly one piece, proved from the record; every call bounded."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import monitor
from bench.map_reduce_coverage import FACT, FOUND, QUESTION, planted
from monitor.canonical import ESCAPE, escape_text
from monitor.errors import RecipeError
from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate.pieces import Piece, coverage, split
from monitor.records import Limits, Message, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from monitor.models.base import ModelRequest
    from monitor.orchestrate.ending import RunResult
    from tests.orchestrate.conftest import Desk

CONTEXT = 4096
THOUGHT = "I looked for the answer in what I was given."
ENOUGH = Limits(calls=1000, seconds=600)


def reader(request: ModelRequest) -> Reply:
    """Notes the fact where it stands, and half of the time something beside the point; merges by picking the fact."""
    asked = request.messages[-1].content
    if asked.startswith("Notes:"):
        answer = "in a blue teapot" if FOUND in asked else "nobody knows"
        return Reply(text=json.dumps({"reasoning": THOUGHT, "answer": answer}))
    beside = f"This piece has {len(asked)} codepoints and no hotel." if len(asked) % 2 else ""
    return Reply(text=json.dumps({"reasoning": THOUGHT, "note": FACT if FACT in asked else beside}))


def small(answer: Callable[[ModelRequest], Reply] = reader) -> ScriptedModel:
    return ScriptedModel(answer, context_tokens=CONTEXT)


def asked_about(desk: Desk, text: str, model: ScriptedModel | None = None, **options: Any) -> RunResult:
    chosen = {"text": text, **options}
    return desk.run("map_reduce", model or small(), QUESTION, options=chosen, budget=ENOUGH)


def test_200_kb_on_a_context_of_4k_are_covered_and_every_call_is_bounded(desk: Desk) -> None:
    """The record alone shows it: pieces, sizes, levels."""
    document = planted()
    assert 199_000 < len(document.encode()) <= 200_000
    model = small()
    result = asked_about(desk, document, model)
    assert (result.outcome, result.error) == ("ok", None)
    answer = json.loads(result.answer)
    assert answer["answer"] == "in a blue teapot"
    subcalls = desk.subcalls()
    proof = coverage(subcalls, document)
    assert proof.is_exact
    assert len(proof.pieces) == answer["pieces"] > 200_000 // CONTEXT
    assert "".join(document[start:end] for start, end in proof.pieces) == document
    for subcall in subcalls:
        assert subcall.call.max_output_tokens is not None
        assert subcall.call.reserved.input_tokens + subcall.call.max_output_tokens <= CONTEXT
    merges = len(subcalls) - answer["pieces"]
    assert 1 < merges < answer["notes"]
    assert result.usage.calls == len(subcalls) == model.calls


def test_cuts_are_made_between_paragraphs_where_there_are_some(desk: Desk) -> None:
    document = "\n\n".join(f"Paragraph {n} is about nothing. " * 4 for n in range(100))
    asked_about(desk, document)
    pieces = coverage(desk.subcalls(), document).pieces
    assert len(pieces) > 5
    assert all(document[:end].endswith("\n\n") for _, end in pieces[:-1])


def test_what_nobody_found_is_said_and_not_invented(desk: Desk) -> None:
    silent = small(lambda _request: Reply(text=json.dumps({"reasoning": THOUGHT, "note": " "})))
    result = asked_about(desk, "One line.\nAnother one.", silent)
    assert (result.outcome, json.loads(result.answer)) == (
        "ok",
        {"answer": None, "found": False, "notes": 0, "pieces": 1},
    )


def test_a_note_cannot_pass_for_several(desk: Desk) -> None:
    note = json.dumps({"reasoning": THOUGHT, "note": "one\n2. two\r\n3. three"})
    merged = json.dumps({"reasoning": THOUGHT, "answer": "four"})
    asked_about(desk, "One line.\nAnother one.", ScriptedModel([note, merged], context_tokens=CONTEXT))
    assert desk.subcalls()[-1].call.messages[-1].content.startswith("Notes:\n1. one 2. two 3. three\n\n")


def test_the_document_is_a_file_or_a_text(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "hotel.txt"
    document = f"\ufeffFirst.\r\n\r\n{FACT}\r\n\r\nNUL \0, escape {ESCAPE}, 漢字."
    path.write_bytes(document.encode())
    assert json.loads(desk.run("map_reduce", small(), QUESTION, options={"document": str(path)}).answer)["found"]
    assert coverage(desk.subcalls(), document).is_exact
    assert json.loads(desk.run("map_reduce", small(), QUESTION, options={"document": document}).answer)["found"]
    assert coverage(desk.subcalls(), document).is_exact


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "give one of document=PATH and text=TEXT"),
        ({"text": "a", "document": "b"}, "give one of document=PATH and text=TEXT"),
        ({"document": "no such file.txt"}, "cannot be read as UTF-8"),
        ({"text": "a" * 9000, "max_pieces": 2}, "2 pieces reach to codepoint"),
        ({"text": "a", "context": 500}, "a context of 500 tokens is too small"),
    ],
)
def test_what_cannot_be_read_whole_is_refused_before_anything_is_called(
    desk: Desk, options: dict[str, object], problem: str
) -> None:
    model = small()
    result = desk.run("map_reduce", model, QUESTION, options=options)
    assert (result.outcome, result.answer, model.calls) == ("failed", "", 0)
    assert result.error is not None
    assert problem in result.error.message


def test_a_model_of_unknown_context_needs_to_be_told(desk: Desk) -> None:
    unknown = ScriptedModel(reader)
    result = asked_about(desk, f"a\n{FACT}", unknown)
    assert result.error is not None
    assert "say how many tokens with context=N" in result.error.message
    assert asked_about(desk, f"a\n{FACT}", unknown, context=CONTEXT).outcome is Outcome.OK


def test_a_piece_that_was_withheld_is_not_covered(desk: Desk, policy: Callable[..., str]) -> None:
    """The run ends as blocked, and the proof says what nobody read."""
    document = "\n\n".join(f"Paragraph {n} is about nothing. " * 4 for n in range(40))
    model = small(
        lambda request: Reply(
            text=json.dumps({"reasoning": THOUGHT, "note": "bomb" if "Paragraph 20 " in str(request.messages) else "x"})
        )
    )
    result = desk.run(
        "map_reduce", model, QUESTION, options={"text": document}, policies=[policy("bomb")], concurrency=1
    )
    assert (result.outcome, result.answer) == ("blocked", "")
    proof = coverage(desk.subcalls(), document)
    assert not proof.is_exact
    assert proof.missing[-1][1] == len(document)


def test_malformed_attempts_cover_nothing_twice(desk: Desk) -> None:
    seen: set[str] = set()

    def twice(request: ModelRequest) -> Reply:
        asked = request.messages[-1].content
        if asked in seen:
            return reader(request)
        seen.add(asked)
        return Reply(text="no JSON")

    document = planted(10_000)
    result = asked_about(desk, document, small(twice))
    assert result.outcome is Outcome.OK
    assert coverage(desk.subcalls(), document).is_exact
    assert len(desk.subcalls()) == 2 * len([one for one in desk.subcalls() if one.state == "ok"])


def test_a_resumed_run_reads_the_rest_and_nothing_twice(desk: Desk) -> None:
    document = planted(10_000)
    first = small()
    stopped = desk.run("map_reduce", first, QUESTION, options={"text": document}, budget=Limits(calls=2))
    assert (stopped.outcome, first.calls) == (Outcome.BUDGET_EXCEEDED, 2)
    assert len(coverage(desk.subcalls(), document).pieces) == 2
    second = small()
    resumed = monitor.resume_sync(stopped.run_id, model=second, db=desk.db, budget=ENOUGH, retry_failed=True)
    assert (resumed.outcome, json.loads(resumed.answer)["answer"]) == ("ok", "in a blue teapot")
    assert coverage(desk.subcalls(), document).is_exact
    assert resumed.usage.calls == first.calls + second.calls


def test_labels_prove_nothing_by_themselves(desk: Desk) -> None:
    """A task, or a document, that is full of labels; and a document that is not the one that was read."""
    document = "\n".join(f"[codepoints {n} to {n + 9} of 999]\nfake" for n in range(400))
    task = f"[codepoints 0 to {len(document)} of {len(document)}]\nfake"
    desk.run("map_reduce", small(), task, options={"text": document}, budget=ENOUGH)
    subcalls = desk.subcalls()
    proof = coverage(subcalls, document)
    assert proof.is_exact
    assert len(proof.pieces) > 1
    other = coverage(subcalls, document.replace("fake", "true"))
    assert (other.pieces, other.missing) == ((), ((0, len(document)),))
    assert len(other.foreign) == len(proof.pieces)


def test_the_proof_sees_what_is_missing_and_what_is_there_twice(desk: Desk) -> None:
    document = planted(10_000)
    asked_about(desk, document)
    subcalls = [subcall for subcall in desk.subcalls() if subcall.call.role == "read_piece"]
    whole = coverage(subcalls, document)
    assert len(whole.pieces) > 2
    for index, subcall in enumerate(sorted(subcalls, key=lambda one: coverage([one], document).pieces)):
        rest = [one for one in subcalls if one is not subcall]
        assert coverage(rest, document).missing == (whole.pieces[index],)
        assert coverage([*subcalls, subcall], document).repeated == (whole.pieces[index],)
        last = subcall.call.messages[-1]
        at = last.content.index("]") + 2
        changed = last.content[:at] + "§" + last.content[at + 1 :]
        messages = (*subcall.call.messages[:-1], Message(role="user", content=changed))
        altered = subcall.model_copy(update={"call": subcall.call.model_copy(update={"messages": messages})})
        assert coverage([*rest, altered], document).foreign == (subcall.call.span_id,)


def cut(document: str, room: int, size: Callable[[str], int] = len, max_pieces: int = 10_000) -> Sequence[Piece]:
    async def tokens(piece: Piece) -> int:
        return size(piece.text)

    return asyncio.run(split(document, tokens, room, max_pieces=max_pieces))


@given(
    st.text(st.sampled_from("ab .\n!?。é漢" + ESCAPE + "\0\ud800"), min_size=1, max_size=400),
    st.integers(5, 60),
    st.sampled_from(
        [len, lambda text: len(text.encode("utf-8", "surrogatepass")) + 3, lambda text: len(text.split(" "))]
    ),
)
def test_pieces_are_the_whole_document_and_fit(document: str, room: int, size: Callable[[str], int]) -> None:
    """For any text and for tokenizers of several kinds, among them one for which a shorter text need not be smaller."""
    room = max(room, 12)
    text = escape_text(document)
    pieces = cut(text, room, size)
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.start for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == len(text)
    assert all(size(piece.text) <= room and piece.text == text[piece.start : piece.end] for piece in pieces)


@given(st.text(st.sampled_from("a" + ESCAPE + "\0"), min_size=1, max_size=200), st.integers(9, 30))
def test_an_escape_is_never_cut(document: str, room: int) -> None:
    assert all(ESCAPE not in piece.text[-4:] for piece in cut(escape_text(document), room))


def test_what_does_not_fit_at_all_is_refused() -> None:
    with pytest.raises(RecipeError, match="not one codepoint fits"):
        cut("abc", 0)
    with pytest.raises(RecipeError, match="the document is empty"):
        cut("", 10)


@pytest.mark.embedded
def test_the_embedded_model_reads_every_piece_within_its_context(desk: Desk, tmp_path: Path) -> None:
    """By its own exact tokenizer. That it finds the fact is not asserted: bench/map_reduce_coverage.py reports it."""
    path = tmp_path / "document.txt"
    path.write_text(planted(3000), encoding="utf-8")
    context = 900
    options = {"document": str(path), "context": context}
    result = desk.run("map_reduce", "embedded", QUESTION, options=options, budget=ENOUGH)
    assert result.outcome is Outcome.OK, result.error
    subcalls = desk.subcalls()
    proof = coverage(subcalls, path.read_text(encoding="utf-8"))
    assert proof.is_exact
    assert len(proof.pieces) > 1
    for subcall in subcalls:
        assert subcall.observation is not None
        assert subcall.call.max_output_tokens is not None
        assert subcall.observation.usage.input_tokens == subcall.call.reserved.input_tokens
        assert subcall.call.reserved.input_tokens + subcall.call.max_output_tokens <= context
