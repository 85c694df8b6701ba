"""One call of a role, turn by turn: a model step, the tools that it asks for, the next model step.

``Context.call`` goes through it to the end by itself. Whoever brings a loop of their own (LangChain's ``create_agent``, in
``langchain_agent``) takes the turns one by one; each is a bounded subcall all the same, in the same scope and from the same
budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from monitor.errors import RecipeError, SubcallError, SubcallFailed
from monitor.orchestrate.replies import answer_data
from monitor.orchestrate.subcall import RecipeCalls
from monitor.records import Finding, Frozen, Message, Observation, Outcome, Reasoning, StoredSubcall, ToolCall, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.models.base import ToolSpec
    from monitor.orchestrate.calls import Step
    from monitor.orchestrate.engine import Engine
    from monitor.orchestrate.roles import Role

MAX_TOOL_ROUNDS = 16
_REPLACED = Message(role="system")
"""Marks, in a step's key only, a history that does not begin with what the role was handed."""


class Answer(Frozen):
    """The released answer of one subcall.

    ``text`` is the answer as text: the field ``answer`` of a structured answer where it has one, else all of it. ``data``
    is the structured answer without its reasoning, {} for a role without an output schema. ``findings`` are all that the
    checks said of the subcall, ``no_match`` and ``not_applicable`` included.
    """

    text: str
    data: dict[str, Any] = Field(default_factory=dict)
    reasoning: Reasoning = Reasoning()
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    run_id: str
    span_id: str
    depth: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model step gave, judged and released. ``answer`` is there if it asked for no tool."""

    observation: Observation
    answer: Answer | None
    subcall: StoredSubcall

    @property
    def message(self) -> Message:
        """How it stands in the history. Its tool calls, those that are refused among them, are to be answered by
        ``Conversation.use``.
        """
        seen = self.observation
        return Message(role="assistant", content=seen.raw or seen.output, tool_calls=seen.tool_calls)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of this turn, in the order in which the model wrote them."""
        return self.observation.tool_calls


class Conversation:
    """One call of a role. ``opening`` are its first messages: instructions, examples, and what was handed.

    An error ends it: whoever swallows one gets the same error from every later turn. ``ended`` is that error.
    """

    def __init__(self, engine: Engine, step: Step) -> None:
        self._engine = engine
        self._calls = RecipeCalls(engine)
        self._step = step
        self._tools = {tool.spec.name: tool for tool in step.tools}
        self._turns = 0
        self._last: Turn | None = None
        self.ended: SubcallError | None = None

    @property
    def opening(self) -> tuple[Message, ...]:
        """The first messages: instructions, examples, and what was handed."""
        return self._step.messages

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """What the model is told of the tools that it was handed."""
        return tuple(tool.spec for tool in self._step.tools)

    @property
    def answer(self) -> Answer:
        """The answer of the last turn. Raises what ended the conversation, RecipeError if there is no answer."""
        if self.ended:
            raise self.ended
        if self._last is None or self._last.answer is None:
            raise RecipeError(f"the loop around role {self._step.role.name} ended before the role gave an answer")
        return self._last.answer

    async def turn(self, messages: Sequence[Message] | None = None) -> Turn:
        """Make one model step with a history; None is the opening alone.

        Raises:
            SubcallError: it ended without an answer that may be used; so does every later turn.
        """
        self._go_on()
        step, role = self._step, self._step.role
        handed = self.opening if messages is None else tuple(messages)
        begins = len(self.opening)
        told = handed[begins:] if handed[:begins] == self.opening else (_REPLACED, *handed)
        this = step._replace(messages=handed, told=told)
        if self._turns == MAX_TOOL_ROUNDS:
            self.ended = SubcallFailed(f"role {role.name} asked for tools {MAX_TOOL_ROUNDS} times without an answer")
            raise self.ended
        self._turns += 1
        try:
            done = await self._calls.model_step(this, self._engine.name_step(this.key))
        except SubcallError as exc:
            self.ended = exc
            raise
        seen = done.observation
        assert seen is not None
        self._last = Turn(seen, None if seen.tool_calls else answer_of(done, role), done)
        return self._last

    async def use(self, turn: Turn, tool_call: ToolCall) -> Message:
        """Run a tool call of a turn as a subcall below it, unless it is refused; returns what the model is told.

        What a tool raises is told to the model, as that a call was refused is.

        Raises:
            SubcallError: a check withheld the result, or the budget is used up; so does every later turn.
        """
        self._go_on()
        if tool_call.refused:
            text = f"refused: {tool_call.refused}"
        else:
            try:
                ran = await self._calls.tool_step(self._step, self._tools[tool_call.name], tool_call, turn.subcall)
                text = ran.observation.output if ran.observation else ""
            except SubcallFailed as exc:
                text = f"failed: {exc}"
            except SubcallError as exc:
                self.ended = exc
                raise
        return Message(role="tool", content=text, tool_call_id=tool_call.id)

    async def to_the_end(self) -> Answer:
        """Take turns, and run the tools in the order in which they are asked for, until there is an answer.

        Raises:
            SubcallError: a turn or a tool ended otherwise.
        """
        messages = self.opening
        while True:
            turn = await self.turn(messages)
            if turn.answer is not None:
                return turn.answer
            told = [await self.use(turn, tool_call) for tool_call in turn.tool_calls]
            messages = (*messages, turn.message, *told)

    def _go_on(self) -> None:
        if self.ended:
            raise self.ended


def answer_of(subcall: StoredSubcall, role: Role) -> Answer:
    """The answer of a released subcall."""
    seen, judgement = subcall.observation, subcall.judgement
    assert seen is not None
    assert judgement is not None
    assert subcall.outcome is Outcome.OK
    data = answer_data(seen.output, role.output)
    answer = data.get("answer")
    return Answer(
        text=answer if isinstance(answer, str) else seen.output,
        data=data,
        reasoning=seen.reasoning,
        verdict=judgement.verdict,
        findings=judgement.findings,
        run_id=subcall.call.run_id,
        span_id=subcall.call.span_id,
        depth=subcall.call.depth,
    )
