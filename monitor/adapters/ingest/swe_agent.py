"""SWE-agent trajectories: ``{"history": [...], "trajectory": [...], "info": {...}}``, https://github.com/SWE-agent/SWE-agent.

``history`` has the messages, ``trajectory`` the steps with their thoughts, actions and observations. Either may be
missing (a demonstration has only messages). Each answer of the model is a subcall, and below it one for what the world said
to its action. An action of which no tool call is recorded is one of the tool ``shell``.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.adapters.ingest.messages import Said, kind_of, last_task, read_message
from monitor.adapters.ingest.traces import (
    Broken,
    Step,
    Trace,
    Tree,
    content_hash,
    count_of,
    number_of,
    seconds_of,
    tool_usage,
)
from monitor.canonical import escape_text
from monitor.records import Message, Observation, Outcome, ToolCall, Usage, now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ADAPTER = "swe-agent"
SHELL = "shell"


class _Turn(NamedTuple):
    """One answer: where it stands, what was said before it, and what came of its action (None: nothing is recorded)."""

    place: str
    role: str
    said: Said
    before: int
    observation: str | None
    seconds: float


def is_one(value: Any) -> bool:
    """Whether a JSON value is a trajectory."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("trajectory"), list):
        return True
    history = value.get("history")
    return isinstance(history, list) and all(isinstance(one, dict) and "role" in one for one in history)


def read(value: Mapping[str, Any], file: str) -> Trace:
    """Read one trajectory. Raises Broken."""
    history = _list(value, "history")
    steps = [_step(step, index) for index, step in enumerate(_list(value, "trajectory"))]
    said = tuple(_message(item, index) for index, item in enumerate(history))
    first = next((i for i, one in enumerate(history) if _is_own(one)), len(said))
    turns = (*_turns_of_history(history, said, steps), *_turns_of_steps(_not_in(history, steps), first))
    if not turns:
        raise Broken("history: no message of an assistant and no step, so there is nothing to check")
    content = content_hash(value)
    tree = Tree.of_content(ADAPTER, content)
    task, messages = last_task(said), tuple(one.message for one in said)

    def give() -> Iterator[Step]:
        for turn in turns:
            yield from _steps_of(tree, turn, messages[: turn.before], task)

    info = value["info"] if isinstance(value.get("info"), dict) else {}
    answer = info.get("submission")
    return Trace(
        tree,
        file,
        "",
        content,
        give,
        task=task,
        answer=escape_text(answer) if isinstance(answer, str) else "",
        usage=_usage(info.get("model_stats")),
    )


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise Broken(f"{name}: expected a list, found {kind_of(found)}")
    return found


def _step(step: Any, index: int) -> Mapping[str, Any]:
    if not isinstance(step, dict) or not isinstance(step.get("response"), str):
        raise Broken(f"trajectory[{index}].response: expected a text, found {kind_of(step)}")
    return step


def _message(item: Any, index: int) -> Said:
    """A message of the history. Where its tool call is not recorded as one, its action is."""
    said = read_message(item, f"history[{index}]")
    if said.message.role != "assistant" or said.message.tool_calls:
        return said
    return _with_action(said, item.get("action"))


def _with_action(said: Said, action: Any) -> Said:
    if not isinstance(action, str) or not action.strip():
        return said
    command = json.dumps({"command": action}, ensure_ascii=False)
    call = ToolCall(id="0", name=SHELL, arguments=escape_text(command))
    return said._replace(message=said.message.model_copy(update={"tool_calls": (call,)}))


def _turns_of_history(history: list[Any], said: tuple[Said, ...], steps: list[Mapping[str, Any]]) -> Iterator[_Turn]:
    """The answers among the messages."""
    own = [i for i, one in enumerate(history) if _is_own(one)]
    fits = len(own) == len(steps) and all(
        step["response"] == _plain(history[i].get("content")) for i, step in zip(own, steps, strict=True)
    )
    for number, index in enumerate(own):
        step = steps[number] if fits else {}
        after = said[index + 1].message if index + 1 < len(said) else None
        seen = after.content if after and after.role in {"tool", "user"} else _text(step, "observation")
        agent = history[index].get("agent")
        role = agent if isinstance(agent, str) and agent else "agent"
        yield _Turn(f"message {index}", role, said[index], index, seen, seconds_of(step.get("execution_time")))


def _is_own(item: Mapping[str, Any]) -> bool:
    """Whether a message is an answer, and not one of a demonstration, which is only shown to the model."""
    return item.get("role") == "assistant" and not item.get("is_demo")


def _not_in(history: list[Any], steps: list[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """The steps whose answers are not among the messages: where the history has none, or was cut short, or begun anew."""
    own = Counter(repr(_plain(one.get("content"))) for one in history if _is_own(one))
    missing = []
    for index, step in enumerate(steps):
        said = repr(step["response"])
        if own[said]:
            own[said] -= 1
        else:
            missing.append((index, step))
    return missing if len(missing) > own.total() else []  # else they are there, written in another way


def _turns_of_steps(steps: list[tuple[int, Mapping[str, Any]]], messages: int) -> Iterator[_Turn]:
    """The steps by themselves, where the history does not have their answers."""
    for index, step in steps:
        said = read_message(
            {"role": "assistant", "content": step["response"], "thought": step.get("thought")}, f"trajectory[{index}]"
        )
        said = _with_action(said, step.get("action"))
        yield _Turn(
            f"step {index}", "agent", said, messages, _text(step, "observation"), seconds_of(step.get("execution_time"))
        )


def _steps_of(tree: Tree, turn: _Turn, before: tuple[Message, ...], task: str) -> Iterator[Step]:
    said, span = turn.said, tree.span_id(turn.place)
    yield Step(
        tree.call(turn.place, turn.role, task=task, messages=before),
        Observation(
            outcome=Outcome.OK,
            output=said.output,
            raw=said.raw,
            reasoning=said.reasoning,
            tool_calls=said.message.tool_calls,
            usage=Usage(calls=1),
            usage_reported=False,
            at=now(),
        ),
    )
    asked = said.message.tool_calls[:1]
    if asked and turn.observation is not None:
        (action,) = asked
        call = tree.call(
            f"{turn.place}, action",
            action.name,
            kind="tool",
            below=span,
            depth=2,
            task=action.arguments,
            tools=(action.name,),
        )
        yield Step(
            call,
            Observation(
                outcome=Outcome.OK, output=turn.observation, usage=tool_usage(), seconds=turn.seconds, at=now()
            ),
        )


def _usage(stats: Any) -> Usage | None:
    """What the trajectory reports of the whole run. Zeros are what SWE-agent writes where it does not know."""
    if not isinstance(stats, dict):
        return None
    sent, received, calls = (count_of(stats.get(name)) or 0 for name in ("tokens_sent", "tokens_received", "api_calls"))
    cost = number_of(stats.get("instance_cost"))
    if not (sent or received):
        return None
    return Usage(
        calls=calls,
        input_tokens=sent,
        output_tokens=received,
        cost=cost if cost is not None and cost > 0 else None,
    )


def _text(step: Mapping[str, Any], name: str) -> str | None:
    return escape_text(step[name]) if isinstance(step.get(name), str) else None


def _plain(content: Any) -> Any:
    """A content as text where it is one, also in a list of one part, as newer versions write it."""
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        return content[0].get("text")
    return content
