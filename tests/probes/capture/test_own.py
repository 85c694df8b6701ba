"""Answers that the embedded model really gave, through llama.cpp: own where all is as it was, a reader where not."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xllamacpp")

from monitor.models.base import ModelRequest, Progress
from monitor.models.embedded import EmbeddedModel
from monitor.orchestrate.replies import observe_reply
from monitor.probes.local_model import LocalModel
from monitor.probes.own import LARGEST_NATS, MEAN_NATS, Forced, teacher_force
from monitor.probes.words import Mode, Surface
from monitor.records import Call, Message, Observation, Outcome, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.embedded

SCHEMA = {
    "type": "object",
    "properties": {"reasoning": {"type": "string", "maxLength": 200}, "answer": {"type": "string", "maxLength": 60}},
    "required": ["reasoning", "answer"],
    "additionalProperties": False,
}
QUESTIONS: dict[str, tuple[str, dict[str, Any] | None, float]] = {
    "story": ("Write two sentences about a dog in the snow.", None, 1.0),
    "sky": ("Why is the sky blue?", None, 0.0),
    "cities": ("Which of Paris and Rome is further north? Think first.", SCHEMA, 0.7),
}


def call_of(question: str, schema: Mapping[str, Any] | None, temperature: float) -> Call:
    return Call(
        run_id="r",
        span_id="s",
        key="k",
        role="clerk",
        messages=(Message(role="user", content=question),),
        temperature=temperature,
        output_schema="x" if schema else "",
    )


@pytest.fixture(scope="module")
def answers() -> dict[str, tuple[Call, Observation]]:
    """Each question with its answer, as a run would store it."""

    async def ask() -> dict[str, tuple[Call, Observation]]:
        model, found = EmbeddedModel(), {}
        for name, (question, schema, temperature) in QUESTIONS.items():
            call = call_of(question, schema, temperature)
            request = ModelRequest(call.messages, 70, output_schema=schema, temperature=temperature, seed=3)
            reply = await model.complete(request, Progress())
            found[name] = (call, observe_reply(call, reply, schema, Usage()))
        await model.aclose()
        return found

    return asyncio.run(ask())


def tampered(observation: Observation, **changes: Any) -> Observation:
    assert observation.tokens is not None
    tokens = observation.tokens.model_copy(update=changes)
    return observation.model_copy(update={"tokens": tokens})


def forced(model: LocalModel, answer: tuple[Call, Observation], **changes: Any) -> Forced:
    call, observation = answer
    return teacher_force(model, call, tampered(observation, **changes) if changes else observation, [18])


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_the_model_wrote_is_its_own(
    embedded: LocalModel, answers: dict[str, tuple[Call, Observation]], name: str
) -> None:
    _, observation = answers[name]
    found = forced(embedded, answers[name])

    assert (found.mode, found.cause) == (Mode.OWN, "")
    assert found.mean_difference is not None
    assert found.largest_difference is not None
    assert found.mean_difference < MEAN_NATS
    assert found.largest_difference < LARGEST_NATS
    text, tokens = found.activations.text, observation.tokens
    assert tokens is not None
    assert text.ids == tokens.prompt_ids + tokens.output_ids
    assert found.activations.layers[18].shape == (len(text.ids), 576)
    assert text.mask(Surface.PROMPT).sum() > 5
    assert text.mask(Surface.OUTPUT).any()
    assert text.mask(Surface.REASONING).any() == bool(observation.reasoning.text)
    for surface, stored in ((Surface.REASONING, observation.reasoning.text), (Surface.OUTPUT, observation.output)):
        ends = [token.end for token in text.tokens if token.surface is surface]
        assert ends == sorted(ends)
        assert max(ends, default=0) <= len(stored)


def test_the_reasoning_of_an_answer_in_json_is_all_there(
    embedded: LocalModel, answers: dict[str, tuple[Call, Observation]]
) -> None:
    _, observation = answers["cities"]
    text = forced(embedded, answers["cities"]).activations.text

    assert observation.reasoning.source == "schema"
    covered = {n for t in text.tokens if t.surface is Surface.REASONING for n in range(t.start, t.end)}
    assert covered == set(range(len(observation.reasoning.text)))


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_record_with_one_id_changed_is_read(
    embedded: LocalModel, answers: dict[str, tuple[Call, Observation]], name: str
) -> None:
    """Each of the answer's ids in turn for another, and not the one that says the same."""
    tokens = answers[name][1].tokens
    assert tokens is not None
    for position in range(0, len(tokens.output_ids), 25):
        ids = list(tokens.output_ids)
        ids[position] = (ids[position] + 1000) % 49152
        found = forced(embedded, answers[name], output_ids=tuple(ids))
        assert (found.mode, found.cause) == (Mode.READER, "the stored token ids do not say what the stored text says")


def test_log_probabilities_that_are_not_the_models_make_a_reader(
    embedded: LocalModel, answers: dict[str, tuple[Call, Observation]]
) -> None:
    tokens = answers["story"][1].tokens
    assert tokens is not None
    logprobs = tokens.logprobs
    for changed in (
        logprobs[::-1],
        tuple(value - 0.3 for value in logprobs),
        (logprobs[0] - 1.5, *logprobs[1:]),
        (math.nan, *logprobs[1:]),
        (0.0,) * len(logprobs),
    ):
        found = forced(embedded, answers["story"], logprobs=changed)
        assert found.mode is Mode.READER
        assert found.cause.startswith("recomputed log probabilities differ from the recorded ones by ")


def test_another_prompt_makes_a_reader(embedded: LocalModel, answers: dict[str, tuple[Call, Observation]]) -> None:
    other = answers["sky"][1].tokens
    assert other is not None

    found = forced(embedded, answers["story"], prompt_ids=other.prompt_ids)

    assert found.mode is Mode.READER
    assert found.mean_difference is not None
    assert found.mean_difference > MEAN_NATS


def test_another_models_record_is_read(embedded: LocalModel, answers: dict[str, tuple[Call, Observation]]) -> None:
    """Weights of which a third differ by a tenth of their size are another model's."""
    import copy

    weights = copy.deepcopy(embedded.model)
    with torch.no_grad():
        torch.manual_seed(0)
        for block in weights.model.layers:
            block.mlp.down_proj.weight.mul_(1 + 0.1 * torch.randn_like(block.mlp.down_proj.weight))
    other = LocalModel.of(weights, embedded.tokenizer, name="other")

    assert forced(other, answers["story"]).mode is Mode.READER


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"prompt_ids": ()}, "the record has no token ids of the prompt"),
        ({"output_ids": (), "logprobs": ()}, "the record has no token ids of the answer and no log probabilities"),
        ({"logprobs": ()}, "the record has no log probabilities"),
        ({"logprobs": (-1.0,)}, " token ids of the answer and 1 log probabilities"),
        (
            {"prompt_ids": (10**6,)},
            "token id 1000000 is not in the vocabulary of embedded: another model wrote these ids",
        ),
    ],
)
def test_a_record_that_lacks_evidence_is_read(
    embedded: LocalModel, answers: dict[str, tuple[Call, Observation]], changes: dict[str, Any], cause: str
) -> None:
    found = forced(embedded, answers["sky"], **changes)

    assert found.mode is Mode.READER
    assert cause in found.cause
    assert found.mean_difference is None


def test_a_text_without_token_ids_is_read_in_the_chat_template(embedded: LocalModel) -> None:
    call = call_of("Why?", None, 0.0)
    remote = Observation(outcome=Outcome.OK, output="Because of light.")

    found = teacher_force(embedded, call, remote, [3, 18])

    assert (found.mode, found.cause) == (Mode.READER, "the record has no token ids")
    assert found.activations.text.mask(Surface.OUTPUT).sum() == 4
    assert sorted(found.activations.layers) == [3, 18]
    assert found.activations.logprobs is None


def test_ids_beyond_the_cap_are_not_forced(embedded: LocalModel, answers: dict[str, tuple[Call, Observation]]) -> None:
    call, observation = answers["sky"]

    found = teacher_force(embedded, call, observation, [1], max_tokens=50)

    assert found.mode is Mode.READER
    assert found.cause.endswith("tokens, and only 50 are read")
    assert len(found.activations.text.tokens) == 50
    assert found.activations.text.unread > 0
    assert np.isfinite(found.activations.layers[1]).all()
