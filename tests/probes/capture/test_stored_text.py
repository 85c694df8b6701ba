"""From a reply, word for word, to the stored reasoning and output: every codepoint that is placed is placed right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.canonical import canonical_text, escape_text
from monitor.errors import ProbeError
from monitor.models.base import ModelReply
from monitor.orchestrate.replies import observe_reply
from monitor.probes.json_spans import leaves
from monitor.probes.stored_text import places
from monitor.probes.words import Surface
from monitor.records import Call, ReasoningState, Usage

CALL = Call(run_id="r", span_id="s", key="k", role="clerk")
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


def stored(text: str, schema: dict[str, Any] | None = None, **others: Any) -> tuple[str, str, str]:
    """Reasoning, output and raw as a run stores them of this reply."""
    thought = {"reasoning": "", "reasoning_state": ReasoningState.ABSENT} | others
    reply = ModelReply(text=text, finish_reason="stop", **thought)
    seen = observe_reply(CALL, reply, schema, Usage())
    return seen.reasoning.text, seen.output, seen.raw


def shown(decoded: str, reasoning: str, output: str, raw: str) -> dict[Surface, str]:
    """What of the reply is placed on each surface, checked codepoint by codepoint against the stored texts."""
    texts = {Surface.REASONING: reasoning, Surface.OUTPUT: output}
    found = {Surface.REASONING: "", Surface.OUTPUT: ""}
    where = places(decoded, reasoning=reasoning, output=output, raw=raw)
    assert len(where) == len(decoded)
    for char, place in zip(decoded, where, strict=True):
        if place is not None:
            surface, start, end = place
            assert 0 <= start < end <= len(texts[surface])
            if not raw.startswith("{"):
                assert texts[surface][start:end] == escape_text(char)
            found[surface] += char
    return found


@given(WORDS, WORDS, WORDS, st.sampled_from(["", "\n", "  "]))
def test_thoughts_in_tags_are_found(first: str, second: str, answer: str, blank: str) -> None:
    text = f"{blank}<think>{first}{blank}</think>{answer}<think>{second}</think>{blank}"

    reasoning, output, raw = stored(text)
    found = shown(text, reasoning, output, raw)

    assert escape_text(found[Surface.OUTPUT]) == output
    assert (
        escape_text(found[Surface.REASONING]) == reasoning.replace("\n", "", 1)
        or "\n" in first + second
        or (escape_text(found[Surface.REASONING]) == reasoning)
    )


@given(WORDS, WORDS)
def test_a_thought_whose_tag_the_template_opened_is_found(thought: str, answer: str) -> None:
    text = f"{thought}</think>{answer}"

    found = shown(text, *stored(text))

    assert found[Surface.REASONING] == thought.strip()
    assert found[Surface.OUTPUT] == answer.strip()


@given(WORDS, WORDS)
def test_a_providers_thought_is_found_before_the_answer(thought: str, answer: str) -> None:
    reasoning, output, raw = stored(answer, reasoning=thought, reasoning_state=ReasoningState.PLAIN)

    found = shown(f"<think>{thought}</think>\n{answer}", reasoning, output, raw)

    assert found == {Surface.REASONING: thought, Surface.OUTPUT: answer}


@given(
    st.dictionaries(WORDS, VALUES, max_size=4),
    WORDS,
    st.booleans(),
    st.booleans(),
)
def test_keys_and_values_of_an_answer_in_json_are_found(
    data: dict[str, Any], thought: str, ascii_only: bool, spaced: bool
) -> None:
    schema = {"type": "object", "properties": {"reasoning": {"type": "string"}}}
    data.pop("reasoning", None)
    text = json.dumps({"reasoning": thought, **data}, ensure_ascii=ascii_only, indent=2 if spaced else None)

    reasoning, output, raw = stored(text, schema)
    where = places(text, reasoning=reasoning, output=output, raw=raw)

    assert output == canonical_text(data)
    if thought.strip():
        covered = {
            (start, end) for place in where if place for surface, start, end in [place] if surface == "reasoning"
        }
        assert sum(end - start for start, end in covered) == len(reasoning)
    for (is_key, path), leaf in leaves(text).items():
        if path == ("reasoning",) or any(isinstance(part, str) and part.startswith("$") for part in path):
            continue
        placed = [where[number] for span in leaf.spans for number in range(*span)]
        if isinstance(leaf.value, str) or leaf.value is None or isinstance(leaf.value, bool):
            assert all(place and place[0] is Surface.OUTPUT for place in placed)
            spans = sorted({(place[1], place[2]) for place in placed if place})
            assert "".join(output[start:end] for start, end in spans) == (
                canonical_text(leaf.value)[1:-1]
                if isinstance(leaf.value, str) or is_key
                else canonical_text(leaf.value)
            )


@given(VALUES)
def test_the_leaves_of_json_are_those_that_python_reads(value: Any) -> None:
    def walk(value: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
        if isinstance(value, dict):
            return {k: v for key, inner in value.items() for k, v in walk(inner, (*path, key)).items()}
        if isinstance(value, list):
            return {k: v for number, inner in enumerate(value) for k, v in walk(inner, (*path, number)).items()}
        return {path: value}

    text = json.dumps(value)

    assert repr({path: leaf.value for (is_key, path), leaf in leaves(text).items() if not is_key}) == repr(walk(value))


@pytest.mark.parametrize("text", ["", "{", "[1,]", '"', "nul", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        leaves(text)


def test_what_escapes_is_placed_where_it_is_stored() -> None:
    text = "a\0b␛c"
    reasoning, output, raw = stored(text)

    assert output == "a␛0000b␛241bc"
    assert places(text, reasoning=reasoning, output=output, raw=raw) == [
        (Surface.OUTPUT, start, end) for start, end in [(0, 1), (1, 6), (6, 7), (7, 12), (12, 13)]
    ]


def test_an_answer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ProbeError, match="do not say what the stored text says"):
        places("The sky is blue.", reasoning="", output="The sky is green.")
    with pytest.raises(ProbeError, match="in no way"):
        places("The sky is blue.", reasoning="", output="The sky", raw="The sky is blue.")
