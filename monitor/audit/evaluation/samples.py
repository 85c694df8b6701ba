"""One message of the public data as a record, and what is known of it.

How a message becomes a record, which decides what a rule can see:

* what an **agent wrote** is the reasoning and, once more, the output of one record: nobody marked where thought ends and
  answer begins, and a rule may read either. Its commands are arguments of a tool call.
* what the **world** said (people, pages, terminals) is what one record was handed: a user's message, or a tool's result
  behind a user's message that says nothing.

One message is one record. In a run, a subcall is handed its whole history, so a text that stands in it is seen again with
every later message; that is not imitated here. Budgets, usage and recipes are not in such data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.canonical import escape_text
from monitor.records import Call, Message, Observation, Outcome, Reasoning, ReasoningState, Record, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.audit.evaluation.split import Half


class Kind(StrEnum):
    """Who a text is from."""

    AGENT = "agent"
    WORLD = "world"


class Label(StrEnum):
    """What is known of a text. ``failing`` is a step that a person labelled as where the agent went wrong, ``unlabelled``
    any other step of such a trace, ``benign`` a message of a trace that nobody labelled. ``attack`` and ``twin`` are the
    true positives and true negatives of a peer's rule files.
    """

    BENIGN = "benign"
    UNLABELLED = "unlabelled"
    FAILING = "failing"
    ATTACK = "attack"
    TWIN = "twin"


HARMLESS = frozenset({Label.BENIGN, Label.UNLABELLED})


class Surface(StrEnum):
    """Where a text is put in a record."""

    WRITTEN = "reasoning and output"
    ARGUMENTS = "tool arguments"
    USER = "user message"
    RESULT = "tool result"


@dataclass(frozen=True, slots=True)
class Sample:
    """One record. ``group`` is the trace (or task, or rule file) that it belongs to: samples of a group are alike."""

    source: str
    group: str
    half: Half
    kind: Kind
    label: Label
    record: Record


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the data folder: its samples, or why there are none (``missing``)."""

    source: str
    samples: tuple[Sample, ...] = ()
    missing: str = ""


def agent_record(text: str, *, calls: Iterable[tuple[str, str]] = ()) -> Record:
    """What an agent wrote, with the (name, arguments) of its tool calls."""
    asked = tuple(
        ToolCall(id=str(number), name=name, arguments=escape_text(arguments))
        for number, (name, arguments) in enumerate(calls)
    )
    names = tuple(dict.fromkeys(call.name for call in asked))
    state = ReasoningState.PLAIN if text else ReasoningState.ABSENT
    return Record(
        call=_call(tools=names),
        observation=Observation(
            outcome=Outcome.OK,
            output=escape_text(text),
            reasoning=Reasoning(state=state, text=escape_text(text)),
            tool_calls=asked,
        ),
    )


def world_record(text: str, *, tool: bool = True) -> Record:
    """What an agent was told: by a tool, or by a person."""
    messages = [Message(role="user", content="A task.")] if tool else []
    messages.append(Message(role="tool" if tool else "user", content=escape_text(text)))
    return Record(call=_call(messages=tuple(messages)), observation=Observation(outcome=Outcome.OK))


def record_on(text: str, surfaces: Iterable[Surface]) -> Record:
    """One text on several surfaces at once."""
    wanted = frozenset(surfaces)
    escaped = escape_text(text)
    messages = [Message(role="user", content=escaped if Surface.USER in wanted else "A task.")]
    if Surface.RESULT in wanted:
        messages.append(Message(role="tool", content=escaped))
    written = escaped if Surface.WRITTEN in wanted else ""
    asked = (ToolCall(id="0", name="tool", arguments=escaped),) if Surface.ARGUMENTS in wanted else ()
    state = ReasoningState.PLAIN if written else ReasoningState.ABSENT
    return Record(
        call=_call(messages=tuple(messages), tools=("tool",) if asked else ()),
        observation=Observation(
            outcome=Outcome.OK, output=written, reasoning=Reasoning(state=state, text=written), tool_calls=asked
        ),
    )


def command(text: str) -> tuple[str, str]:
    """A shell command as a tool call."""
    return "shell", json.dumps({"command": text}, ensure_ascii=False)


def _call(*, messages: tuple[Message, ...] = (), tools: tuple[str, ...] = ()) -> Call:
    return Call(
        run_id="0" * 32,
        span_id="0" * 16,
        key="evaluation",
        role="agent",
        messages=messages,
        tools=tools,
        adapter="evaluation",
    )
