"""Every field that a rule can name: where its text or value stands in a record, and when there is none.

A field gives a ``Reading``. Besides its texts or its value it says whether something is missing (``gap``):

* ``not_applicable``: this run does not have such a thing (no tools, no such limit, a role that need not show its thought);
* ``unknown``: it exists, and cannot be read here (reasoning that the provider encrypted, a price that nobody knows).

Nothing missing and nothing there is different again: an empty output is read, and is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from monitor.policy.logic import Truth
from monitor.records import LimitName, Outcome, ReasoningState, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.records import Record

Gap: TypeAlias = Literal[Truth.UNKNOWN, Truth.ABSENT]


class FieldType(StrEnum):
    """What kind of thing a field holds, and so which modifiers it takes."""

    TEXT = "text"
    WORD = "word"
    NUMBER = "number"
    BOOLEAN = "true/false"


class Passage(NamedTuple):
    """A text and where it is stored (see ``records.Span``); ``surface`` is "" for a text that evidence cannot point to."""

    surface: str
    text: str


class Reading(NamedTuple):
    """What a field holds in one record. ``gap`` says that something is missing, and ``cause`` what.

    ``present`` answers ``exists``: there is something there, readable or not.
    """

    passages: tuple[Passage, ...] = ()
    value: str | float | bool | None = None
    gap: Gap | None = None
    cause: str = ""
    present: bool = True


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity: there is one object for each field
class Field:
    """One field: ``meaning`` is for the reference, ``words`` are the only values of a word that has few."""

    name: str
    type: FieldType
    meaning: str
    read: Callable[[Record], Reading]
    words: tuple[str, ...] = ()


def _texts(*passages: Passage) -> Reading:
    present = False
    for passage in passages:  # a loop, for this is made for several fields of every record
        if passage.text:
            present = True
    return Reading(passages, present=present)


def _missing(cause: str, *, present: bool = False) -> Reading:
    return Reading(gap=Truth.ABSENT, cause=cause, present=present)


def _unknown(cause: str, *passages: Passage, present: bool = True) -> Reading:
    return Reading(passages=passages, gap=Truth.UNKNOWN, cause=cause, present=present)


def _known(value: str | float | bool) -> Reading:
    return Reading(value=value, present=value != "")


def _task(record: Record) -> Reading:
    return _texts(Passage("task", record.call.task))


def _prompt(record: Record) -> Reading:
    return _texts(*_history(record))


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
    return lambda record: _texts(*_messages_of(role, record))


def _reasoning(record: Record) -> Reading:
    reasoning = record.observation.reasoning
    passage = Passage("reasoning", reasoning.text)
    if record.call.kind == "tool":
        return _missing("a tool does not reason")
    if reasoning.state in {ReasoningState.REDACTED, ReasoningState.ENCRYPTED}:
        return _unknown(f"the reasoning is {reasoning.state.value}", *([passage] if reasoning.text else ()))
    if reasoning.state is ReasoningState.ABSENT and not record.call.requires_reasoning and not reasoning.text:
        return _missing("there is no reasoning, and the role need not show any")
    return _texts(passage)


def _reasoning_state(record: Record) -> Reading:
    if record.call.kind == "tool":
        return _missing("a tool does not reason")
    return _known(record.observation.reasoning.state.value)


def _output(record: Record) -> Reading:
    return _texts(Passage("output", record.observation.output))


def _raw(record: Record) -> Reading:
    seen = record.observation
    return _texts(Passage("raw", seen.raw) if seen.raw else Passage("output", seen.output))


def _data(record: Record) -> Reading:
    return _texts(*_messages_of("user", record), *_tool_results(record))


def _written(record: Record) -> Reading:
    if record.call.kind == "tool":
        return _missing("a tool's result was not written by a model")
    reasoning = _reasoning(record)
    passages = (*reasoning.passages, Passage("output", record.observation.output), *_tool_arguments(record))
    if reasoning.gap is Truth.UNKNOWN:
        return _unknown(reasoning.cause, *passages)
    return _texts(*passages)


def _error(record: Record) -> Reading:
    error = record.observation.error
    return _texts(Passage("error", error.message if error else ""))


def _has_tools(record: Record) -> bool:
    handed_results = any(message.role == "tool" for message in record.call.messages)
    return bool(record.call.tools or record.observation.tool_calls or handed_results)


def _of_tools(read: Callable[[Record], Iterator[Passage]]) -> Callable[[Record], Reading]:
    def read_if_any(record: Record) -> Reading:
        return _texts(*read(record)) if _has_tools(record) else _missing("the subcall has no tools")

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
        return _unknown("the price of this model is not known", present=False)
    return _known(cost) if record.observation.usage_reported else _unknown(_UNREPORTED, present=False)


def _tokens(name: str) -> Callable[[Record], Reading]:
    def read(record: Record) -> Reading:
        if not record.observation.usage_reported:
            return _unknown(_UNREPORTED, present=False)
        return _known(float(getattr(record.observation.usage, name)))

    return read


def _budget_left(name: str) -> Callable[[Record], Reading]:
    def read(record: Record) -> Reading:
        left = getattr(record.call.budget_left, name)
        return _missing(f"no limit on {name} was given") if left is None else _known(float(left))

    return read


_UNREPORTED = "the provider did not report its usage"
_LIMIT_UNITS = {"cost": "US dollars", "seconds": "seconds", "depth": "levels of subcalls"}


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
    yield Field("role", word, "the role's name", lambda r: _known(r.call.role))
    yield Field("trust", word, "whether the role is trusted", lambda r: _known(r.call.trust), get_args(Trust))
    yield Field("model", word, "the model's name, as the run gave it", lambda r: _known(r.call.model))
    yield Field("recipe", word, "the recipe that made the subcall", lambda r: _known(r.call.recipe))
    yield Field("kind", word, "a model's answer or a tool's", lambda r: _known(r.call.kind), ("model", "tool"))
    yield Field("adapter", word, "through what the record came in", lambda r: _known(r.call.adapter))
    yield Field("outcome", word, "how the subcall ended", lambda r: _known(r.observation.outcome.value), outcomes)
    yield Field(
        "finish_reason", word, "the provider's word for why it ended", lambda r: _known(r.observation.finish_reason)
    )
    yield Field(
        "requires_reasoning", boolean, "whether the role must think aloud", lambda r: _known(r.call.requires_reasoning)
    )
    yield Field("usage.reported", boolean, "whether the provider did", lambda r: _known(r.observation.usage_reported))
    yield Field("depth", number, "levels below the run, from 1", lambda r: _known(float(r.call.depth)))
    yield Field("attempt", number, "which attempt this is, from 1", lambda r: _known(float(r.call.attempt)))
    yield Field("seconds", number, "how long the subcall took", lambda r: _known(r.observation.seconds))
    for name, meaning in (
        ("input_tokens", "tokens of the prompt, cached ones included"),
        ("output_tokens", "tokens of the answer, reasoning included"),
        ("cached_tokens", "tokens of the prompt that came from the provider's cache"),
    ):
        yield Field(f"usage.{name}", number, meaning, _tokens(name))
    yield Field("usage.cost", number, "US dollars", _cost)
    yield Field("usage.calls", number, "model calls", lambda r: _known(float(r.observation.usage.calls)))
    yield Field("usage.tool_calls", number, "tool calls", lambda r: _known(float(r.observation.usage.tool_calls)))
    for limit in get_args(LimitName):
        unit = _LIMIT_UNITS.get(limit, limit.replace("_", " "))
        yield Field(f"budget_left.{limit}", number, f"{unit} left when the subcall began", _budget_left(limit))


FIELDS: dict[str, Field] = {field.name: field for field in _fields()}
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
    return rows
