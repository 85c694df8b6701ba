"""Every field that a rule can name: where its text or value stands in a record, and when there is none.

``FIELDS`` has those with a fixed name. ``field_named`` also finds those whose name has a part of the reviewer's:
``tool.arguments.PATH`` and ``probe.NAME.score`` or ``.fpr``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, get_args

import re2

from monitor.policy.arguments import ArgumentPath
from monitor.policy.logic import Truth
from monitor.policy.readings import Field, FieldType, Passage, Reading, known, missing, texts, unknown
from monitor.records import LimitName, Outcome, ReasoningState, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.records import ProbeScore, Record


def _task(record: Record) -> Reading:
    return texts(Passage("task", record.call.task))


def _prompt(record: Record) -> Reading:
    return texts(*_history(record))


def _history(record: Record) -> Iterator[Passage]:
    for index, message in enumerate(record.call.messages):
        yield Passage(f"messages[{index}].content", message.content)
        for number, asked in enumerate(message.tool_calls):
            yield Passage(f"messages[{index}].tool_calls[{number}].name", asked.name)
            yield Passage(f"messages[{index}].tool_calls[{number}].arguments", asked.arguments)


def _messages_of(role: str, record: Record) -> list[Passage]:
    messages = enumerate(record.call.messages)
    return [Passage(f"messages[{i}].content", m.content) for i, m in messages if m.role == role]


def _of_role(role: str) -> Callable[[Record], Reading]:
    return lambda record: texts(*_messages_of(role, record))


def _reasoning(record: Record) -> Reading:
    reasoning = record.observation.reasoning
    passage = Passage("reasoning", reasoning.text)
    if record.call.kind == "tool":
        return missing("a tool does not reason")
    if reasoning.state in {ReasoningState.REDACTED, ReasoningState.ENCRYPTED}:
        return unknown(f"the reasoning is {reasoning.state.value}", *([passage] if reasoning.text else ()))
    if reasoning.state is ReasoningState.ABSENT and not record.call.requires_reasoning and not reasoning.text:
        return missing("there is no reasoning, and the role need not show any")
    return texts(passage)


def _reasoning_state(record: Record) -> Reading:
    if record.call.kind == "tool":
        return missing("a tool does not reason")
    return known(record.observation.reasoning.state.value)


def _output(record: Record) -> Reading:
    return texts(Passage("output", record.observation.output))


def _raw(record: Record) -> Reading:
    seen = record.observation
    return texts(Passage("raw", seen.raw) if seen.raw else Passage("output", seen.output))


def _data(record: Record) -> Reading:
    return texts(*_messages_of("user", record), *_tool_results(record))


def _written(record: Record) -> Reading:
    if record.call.kind == "tool":
        return missing("a tool's result was not written by a model")
    reasoning = _reasoning(record)
    passages = (*reasoning.passages, Passage("output", record.observation.output), *_tool_arguments(record))
    if reasoning.gap is Truth.UNKNOWN:
        return unknown(reasoning.cause, *passages)
    return texts(*passages)


def _error(record: Record) -> Reading:
    error = record.observation.error
    return texts(Passage("error", error.message if error else ""))


def _has_tools(record: Record) -> bool:
    handed_results = any(message.role == "tool" for message in record.call.messages)
    return bool(record.call.tools or record.observation.tool_calls or handed_results)


def _of_tools(read: Callable[[Record], Iterator[Passage]]) -> Callable[[Record], Reading]:
    def read_if_any(record: Record) -> Reading:
        return texts(*read(record)) if _has_tools(record) else missing("the subcall has no tools")

    return read_if_any


def _tool_names(record: Record) -> Iterator[Passage]:
    if record.call.kind == "tool":
        yield from (Passage("", name) for name in record.call.tools)
    yield from (Passage(f"tool_calls[{i}].name", asked.name) for i, asked in enumerate(record.observation.tool_calls))


def _tool_arguments(record: Record) -> Iterator[Passage]:
    if record.call.kind == "tool":
        yield Passage("task", record.call.task)
    for index, asked in enumerate(record.observation.tool_calls):
        yield Passage(f"tool_calls[{index}].arguments", asked.arguments)


def _tool_results(record: Record) -> Iterator[Passage]:
    if record.call.kind == "tool":
        yield Passage("output", record.observation.output)
        if record.observation.error is not None:  # the text of a tool that failed reaches the model as well
            yield Passage("error", record.observation.error.message)
    yield from _messages_of("tool", record)


def _tool_refusals(record: Record) -> Iterator[Passage]:
    yield from (Passage("", asked.refused) for asked in record.observation.tool_calls if asked.refused is not None)


def _tools_unlisted(record: Record) -> Iterator[Passage]:
    """An adapter may not know the list: a call that ran although no list is known is not called unlisted."""
    listed = record.call.tools
    for index, asked in enumerate(record.observation.tool_calls):
        if asked.name not in listed and (listed or asked.refused is not None):
            yield Passage(f"tool_calls[{index}].name", asked.name)


def _cost(record: Record) -> Reading:
    cost = record.observation.usage.cost
    if cost is None:
        return unknown("the price of this model is not known", present=False)
    return known(cost) if record.observation.usage_reported else unknown(_UNREPORTED, present=False)


def _tokens(name: str) -> Callable[[Record], Reading]:
    def read(record: Record) -> Reading:
        if not record.observation.usage_reported:
            return unknown(_UNREPORTED, present=False)
        return known(float(getattr(record.observation.usage, name)))

    return read


def _budget_left(name: str) -> Callable[[Record], Reading]:
    def read(record: Record) -> Reading:
        left = getattr(record.call.budget_left, name)
        return missing(f"no limit on {name} was given") if left is None else known(float(left))

    return read


_UNREPORTED = "the provider did not report its usage"
_LIMIT_UNITS = {"cost": "US dollars", "seconds": "seconds", "depth": "levels of subcalls"}


def _model_reported(record: Record) -> Reading:
    if record.call.kind == "tool":
        return missing("a tool's answer is of no model")
    if not record.observation.model_reported:
        return unknown("the provider did not say which model answered", present=False)
    return known(record.observation.model_reported)


def _fields() -> Iterator[Field]:
    text, word, number, boolean = FieldType.TEXT, FieldType.WORD, FieldType.NUMBER, FieldType.BOOLEAN
    yield Field("task", text, "what the subcall was asked (for a tool: its arguments)", _task)
    yield Field(
        "prompt", text, "every message that was handed over, the whole history, tool calls in it included", _prompt
    )
    yield Field("system", text, "the system messages among them: the role's instructions", _of_role("system"))
    yield Field("user", text, "the user messages among them", _of_role("user"))
    yield Field("data", text, "what came from outside: the user messages and every tool result", _data)
    yield Field("reasoning", text, "the reasoning, as far as it can be read", _reasoning)
    yield Field(
        "output", text, "the answer without its reasoning (JSON text for a role with an output schema)", _output
    )
    yield Field("written", text, "all that the model wrote: reasoning, output and tool arguments", _written)
    yield Field("raw", text, "the reply word for word, before reasoning and answer were told apart", _raw)
    yield Field("error", text, "the error message, if the subcall failed", _error)
    yield Field("tool.name", text, "the names of the tools that the subcall called", _of_tools(_tool_names))
    yield Field("tool.arguments", text, "the arguments of those calls, as JSON text", _of_tools(_tool_arguments))
    yield Field("tool.result", text, "what tools answered: every tool result handed over", _of_tools(_tool_results))
    yield Field("tool.refused", text, "why calls were refused (a refused call never ran)", _of_tools(_tool_refusals))
    yield Field("tool.unlisted", text, "names of called tools outside the subcall's list", _of_tools(_tools_unlisted))

    states = tuple(state.value for state in ReasoningState)
    outcomes = tuple(outcome.value for outcome in Outcome)
    yield Field("reasoning.state", word, "what is known of the reasoning", _reasoning_state, states)
    yield Field("role", word, "the role's name", lambda r: known(r.call.role))
    yield Field("trust", word, "whether the role is trusted", lambda r: known(r.call.trust), get_args(Trust))
    yield Field("model", word, "the model's name, as the run gave it", lambda r: known(r.call.model))
    yield Field(
        "model_reported",
        word,
        "the model's name, as the provider gave it",
        _model_reported,
    )
    yield Field("recipe", word, "the recipe that made the subcall", lambda r: known(r.call.recipe))
    yield Field("kind", word, "a model's answer or a tool's", lambda r: known(r.call.kind), ("model", "tool"))
    yield Field("adapter", word, "through what the record came in", lambda r: known(r.call.adapter))
    yield Field("outcome", word, "how the subcall ended", lambda r: known(r.observation.outcome.value), outcomes)
    yield Field(
        "error.kind",
        word,
        "what kind of failure it was, if the subcall failed",
        lambda r: known(r.observation.error.kind if r.observation.error else ""),
    )
    yield Field(
        "finish_reason", word, "the provider's word for why it ended", lambda r: known(r.observation.finish_reason)
    )
    yield Field(
        "requires_reasoning", boolean, "whether the role must think aloud", lambda r: known(r.call.requires_reasoning)
    )
    yield Field("usage.reported", boolean, "whether the provider did", lambda r: known(r.observation.usage_reported))
    yield Field("depth", number, "levels below the run, from 1", lambda r: known(float(r.call.depth)))
    yield Field("attempt", number, "which attempt this is, from 1", lambda r: known(float(r.call.attempt)))
    yield Field("seconds", number, "how long the subcall took", lambda r: known(r.observation.seconds))
    for name, meaning in (
        ("input_tokens", "tokens of the prompt, cached ones included"),
        ("output_tokens", "tokens of the answer, reasoning included"),
        ("cached_tokens", "tokens of the prompt that came from the provider's cache"),
    ):
        yield Field(f"usage.{name}", number, meaning, _tokens(name))
    yield Field("usage.cost", number, "US dollars", _cost)
    yield Field("usage.calls", number, "model calls", lambda r: known(float(r.observation.usage.calls)))
    yield Field("usage.tool_calls", number, "tool calls", lambda r: known(float(r.observation.usage.tool_calls)))
    for limit in get_args(LimitName):
        unit = _LIMIT_UNITS.get(limit, limit.replace("_", " "))
        yield Field(f"budget_left.{limit}", number, f"{unit} left when the subcall began", _budget_left(limit))


FIELDS: dict[str, Field] = {field.name: field for field in _fields()}
_PATH = re2.compile(r"tool\.arguments\.([^.]+(?:\.[^.]+)*)")
_PROBE = re2.compile(r"probe\.([a-z0-9_-]{1,64})\.(score|fpr)")
_PATTERNS = {
    "tool.arguments.PATH": (
        "text, number or true/false",
        "one argument of those calls by its path, such as `tool.arguments.file.path`; goes into lists by itself",
    ),
    "probe.NAME.score": ("number", "what the probe NAME that is attached to the run says of the subcall"),
    "probe.NAME.fpr": (
        "number",
        "the share of harmless texts that score at least as high, where that was calibrated for text of this kind",
    ),
    "judge.NAME": ("question", "holds where a judge answers yes to the question that follows it"),
}
"""Names with a part of the reviewer's: (type, meaning) of each, for the reference."""


@cache
def field_named(name: str, type_: FieldType = FieldType.TEXT) -> Field | None:
    """The field of that name, or None. For the same name and type it is always the same object.

    ``type_`` is for an argument of a tool, which may be any: what the rule compares it with says what.
    """
    if name in FIELDS:
        return FIELDS[name]
    if path := _PATH.fullmatch(name):
        read = ArgumentPath(tuple(path[1].split(".")), type_, _tool_arguments, _has_tools)
        return Field(name, type_, f"the argument `{path[1]}` of the tools that the subcall called", read)
    if probe := _PROBE.fullmatch(name):
        return Field(name, FieldType.NUMBER, f"the {probe[2]} of the probe `{probe[1]}`", _of_probe(probe[1], probe[2]))
    return None


def _of_probe(name: str, what: str) -> Callable[[Record], Reading]:
    def read(record: Record) -> Reading:
        found: ProbeScore | None = next((score for score in record.probes if score.probe == name), None)
        if found is None:
            return missing(f"no probe `{name}` is attached")
        value = found.score if what == "score" else found.fpr
        if value is None or value != value:  # noqa: PLR0124 - a score that is no number says nothing
            return unknown(f"the probe `{name}` has no {what}" + (f": {found.cause}" if found.cause else ""))
        return known(float(value))

    return read


TEXT_FIELDS = tuple(field for field in FIELDS.values() if field.type is FieldType.TEXT)


def _everything(record: Record) -> Reading:
    readings = [field.read(record) for field in TEXT_FIELDS]
    passages = dict.fromkeys(passage for reading in readings for passage in reading.passages)
    cause = next((reading.cause for reading in readings if reading.gap is Truth.UNKNOWN), "")
    return Reading(tuple(passages), gap=Truth.UNKNOWN if cause else None, cause=cause)


KEYWORDS = Field("keywords", FieldType.TEXT, "every text of the subcall", _everything)
"""What a selection without field names searches. No rule names it."""


def fields_table() -> list[tuple[str, str, str]]:
    """Every field as (name, type, meaning), for the reference; the values of a word with few are in its meaning."""
    rows = []
    for field in FIELDS.values():
        values = f": {', '.join(f'`{value}`' for value in field.words)}" if field.words else ""
        rows.append((field.name, field.type.value, field.meaning + values))
    return [*rows, *((name, kind, meaning) for name, (kind, meaning) in _PATTERNS.items())]
