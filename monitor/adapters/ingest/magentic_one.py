"""Magentic-One message lists: ``[{"role": "Orchestrator (-> WebSurfer)", "content": …}, …]``, as in Microsoft's AgentRx,
https://github.com/microsoft/AgentRx.

Each message is one subcall of whoever speaks. ``Orchestrator (thought)`` is reasoning and nothing else. A worker hangs
below the message of the orchestrator that asked it. Of what each was handed, the list says only what was said to it last;
no more is put down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.adapters.ingest.messages import kind_of
from monitor.adapters.ingest.traces import Broken, Step, Trace, Tree, content_hash, tool_usage
from monitor.canonical import escape_text
from monitor.records import Message, Observation, Outcome, Reasoning, ReasoningState, Usage, now

if TYPE_CHECKING:
    from collections.abc import Iterator

ADAPTER = "magentic-one"
ORCHESTRATOR, HUMAN, TERMINAL = "Orchestrator", "human", "ComputerTerminal"
_THOUGHT, _END, _ASKS = "thought", "termination condition", "->"


class _Line(NamedTuple):
    speaker: str
    manner: str
    text: str


def is_one(value: Any) -> bool:
    """Whether a JSON value is such a list: messages of a role and a content, the orchestrator's among them."""
    return (
        isinstance(value, list)
        and bool(value)
        and any(isinstance(one, dict) and str(one.get("role", "")).startswith(f"{ORCHESTRATOR} (") for one in value)
    )


def read(value: Any, file: str) -> Trace:
    """Read one list. Raises Broken."""
    lines = tuple(_line(item, index) for index, item in enumerate(value))
    content = content_hash(value)
    tree = Tree.of_content(ADAPTER, content)
    task = next((line.text for line in lines if line.speaker == HUMAN), "")

    def steps() -> Iterator[Step]:
        return _steps(tree, lines, task)

    ends = [line.text for line in lines if line.speaker == ORCHESTRATOR and line.manner == _END]
    return Trace(tree, file, "", content, steps, task=task, answer=ends[-1] if ends else "")


def _line(item: Any, index: int) -> _Line:
    if not isinstance(item, dict) or not isinstance(item.get("role"), str) or not isinstance(item.get("content"), str):
        found = kind_of(item) if not isinstance(item, dict) else "one without"
        raise Broken(f"[{index}]: expected a message with the texts `role` and `content`, found {found}")
    speaker, opened, manner = escape_text(item["role"]).partition(" (")
    return _Line(speaker, manner.removesuffix(")") if opened else "", escape_text(item["content"]))


def _steps(tree: Tree, lines: tuple[_Line, ...], task: str) -> Iterator[Step]:
    """Each message but the human's. Places count messages from 1, as the labels of AgentRx do."""
    heard: tuple[Message, ...] = ()  # what somebody else said to the orchestrator last
    asked: dict[str, tuple[str, str]] = {}  # worker -> the span that asked it last, and what for
    for number, (speaker, manner, text) in enumerate(lines, start=1):
        place = f"message {number}"
        if speaker == HUMAN:
            heard = (Message(role="user", content=text),)
        elif speaker == ORCHESTRATOR:
            yield Step(
                tree.call(place, speaker, task=task, messages=heard), _spoken(text, is_thought=manner == _THOUGHT)
            )
            if manner.startswith(_ASKS):
                asked[manner.removeprefix(_ASKS).strip()] = tree.span_id(place), text
        else:
            yield _worker(tree, place, lines[number - 1], *asked.get(speaker, ("", "")))
            heard = (Message(role="user", content=text),)


def _worker(tree: Tree, place: str, line: _Line, span: str, request: str) -> Step:
    """What a worker did. The terminal only executes: it is a tool, and no model."""
    speaker, _, text = line
    depth = 2 if span else 1
    if speaker == TERMINAL:
        call = tree.call(place, speaker, kind="tool", below=span, depth=depth, task=request, tools=(speaker,))
        return Step(call, Observation(outcome=Outcome.OK, output=text, usage=tool_usage(), at=now()))
    messages = (Message(role="user", content=request),) if request else ()
    return Step(
        tree.call(place, speaker, below=span, depth=depth, task=request, messages=messages),
        _spoken(text, is_thought=False),
    )


def _spoken(text: str, *, is_thought: bool) -> Observation:
    thought = Reasoning(state=ReasoningState.PLAIN, text=text, source="provider") if is_thought else Reasoning()
    return Observation(
        outcome=Outcome.OK,
        output="" if is_thought else text,
        reasoning=thought,
        usage=Usage(calls=1),
        usage_reported=False,
        at=now(),
    )
