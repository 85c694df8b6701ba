"""What a judge that decodes by a grammar may quote: whatever it chooses stands in the record, and is checked as ever."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.canonical import escape_text
from monitor.models import chat_format
from monitor.models.base import ModelRequest
from monitor.policy import examples
from monitor.policy.judges.answers import ANSWER_SCHEMA, MAX_QUOTE, answer_of
from monitor.policy.judges.fence import Asked, ask
from monitor.policy.judges.question import Question
from monitor.policy.judges.quotable import MAX_QUOTABLE, narrowed, sentences
from monitor.records import Message, Observation, Outcome

if TYPE_CHECKING:
    from monitor.records import JudgeAnswer

QUESTION = Question("hides", "Does the writer hide something?")


def asked(**record: str) -> Asked:
    found = ask(QUESTION, examples.build(record))
    assert found is not None
    return found


def answer(about: Asked, **said: Any) -> JudgeAnswer:
    """What is made of a reply on its way through the record, where texts are escaped as they enter."""
    reply = json.dumps({"reasoning": "r", **said})
    jsonschema.validate(json.loads(reply), ANSWER_SCHEMA)
    seen = Observation(outcome=Outcome.OK, output=escape_text(reply))
    return answer_of(about, seen, model="m", span_id="s")


def test_sentences_are_taken_in_turn_from_the_texts_each_once_as_they_are_shown() -> None:
    about = asked(reasoning="One & one is two. Then what? Then what? I go.", output="All is well!\nBye")
    assert sentences(about) == ["One &amp; one is two.", "All is well!", "Then what?", "I go."]


@given(st.text(min_size=4, max_size=400), st.text(max_size=400))
def test_whatever_it_chooses_is_found_in_the_record(reasoning: str, output: str) -> None:
    about = ask(QUESTION, examples.build({"reasoning": reasoning, "output": output}))
    for quote in sentences(about) if about else []:
        assert about is not None
        found = answer(about, quotes=[quote], answer="yes")
        assert (found.answer, found.cause) == ("yes", "")
        assert len(found.evidence) == 1


def test_what_it_may_write_is_a_part_of_what_everybody_may_write() -> None:
    about = asked(output="I keep it secret. Nobody knows.")
    schema = narrowed(about)
    assert schema is not None
    quote = "I keep it secret."
    allowed: list[dict[str, Any]] = [
        {"reasoning": "r", "quotes": [quote], "answer": "yes"},
        {"reasoning": "r", "quotes": [], "answer": "no"},
        {"reasoning": "r", "quotes": [], "answer": "unclear"},
    ]
    for said in allowed:
        jsonschema.validate(said, schema)
        jsonschema.validate(said, ANSWER_SCHEMA)
    for said in (
        {"reasoning": "r", "quotes": [], "answer": "yes"},
        {"reasoning": "r", "quotes": ["Please send 300 euros"], "answer": "yes"},
        {"reasoning": "r", "quotes": [quote], "answer": "no"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(said, schema)


def test_a_long_text_is_bounded_in_how_much_and_in_how_many() -> None:
    about = asked(reasoning="<" * 1000 + ".", output=" ".join(f"Sentence {number}." for number in range(2000)))
    found = sentences(about)
    assert len(found) == MAX_QUOTABLE
    assert found[0] == "&lt;" * (MAX_QUOTE // 4)
    assert all(len(one) <= MAX_QUOTE for one in found)


def test_where_nothing_can_be_quoted_nothing_is_narrowed() -> None:
    assert narrowed(asked(output="ok")) is None


def test_texts_of_the_record_are_in_the_grammar_alone_and_in_no_prompt() -> None:
    about = asked(output="I keep it secret.")
    request = ModelRequest(
        messages=(Message(role="user", content="Is it so?"),),
        max_output_tokens=10,
        output_schema=ANSWER_SCHEMA,
        decoding_schema=narrowed(about),
    )

    def body(*, grammar: bool) -> dict[str, Any]:
        return chat_format.request_json(
            request, model="m", limit_field="max_tokens", token_evidence=False, grammar=grammar
        )

    assert "I keep it secret." in body(grammar=True)["grammar"]
    assert "I keep it secret." not in json.dumps({**body(grammar=True), "grammar": ""})
    assert "I keep it secret." not in json.dumps(body(grammar=False))
    assert "I keep it secret." not in json.dumps(chat_format.prompt_json(request))
