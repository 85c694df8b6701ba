"""A conversation as a tree: each answer of the model is a subcall, and below it each result of a tool that it asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.adapters.ingest.traces import Step, tool_usage
from monitor.records import Observation, Outcome, Usage, now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.adapters.ingest.messages import Said
    from monitor.adapters.ingest.traces import Tree
    from monitor.records import Message, ToolCall


@dataclass(frozen=True, slots=True)
class Conversation:
    """A list of messages of one agent. Those before ``begin`` are only handed over: examples, or another run's.

    Nothing says what each answer used, so no usage is reported.
    """

    tree: Tree
    said: tuple[Said, ...]
    role: str
    model: str = ""
    model_reported: str = ""
    task: str = ""
    tools: tuple[str, ...] = ()
    begin: int = 0

    def steps(self) -> Iterator[Step]:
        """The subcalls in the order of the messages. Each message has one place: its number, from 0."""
        before: list[Message] = []
        asked: dict[str, tuple[str, ToolCall]] = {}
        for number, one in enumerate(self.said):
            place = f"message {number}"
            if number < self.begin:
                pass
            elif one.message.role == "assistant":
                span = self.tree.span_id(place)
                yield self._answer(place, one, tuple(before))
                asked.update({call.id: (span, call) for call in one.message.tool_calls})
            elif one.message.role == "tool":
                yield self._result(place, one, *asked.get(one.message.tool_call_id or "", ("", None)))
            before.append(one.message)

    def _answer(self, place: str, one: Said, before: tuple[Message, ...]) -> Step:
        call = self.tree.call(
            place, self.role, messages=before, task=self.task, tools=self.tools, model=self.model, depth=1
        )
        observation = Observation(
            outcome=Outcome.OK,
            output=one.output,
            raw=one.raw,
            reasoning=one.reasoning,
            tool_calls=one.message.tool_calls,
            usage=Usage(calls=1),
            usage_reported=False,
            model_reported=self.model_reported,
            at=now(),
        )
        return Step(call, observation)

    def _result(self, place: str, one: Said, span: str, asked: ToolCall | None) -> Step:
        name = (asked.name if asked else "") or one.name or "tool"
        call = self.tree.call(
            place,
            name,
            kind="tool",
            below=span,
            depth=2 if span else 1,
            task=asked.arguments if asked else "",
            tools=(name,),
        )
        output = one.message.content
        return Step(call, Observation(outcome=Outcome.OK, output=output, usage=tool_usage(), at=now()))

    @property
    def answer(self) -> str:
        """The last answer that is one: with a text, and not only a request for a tool."""
        last = next((one for one in reversed(self.said) if one.message.role == "assistant"), None)
        return last.output if last else ""
