"""A conversation with a role, driven by LangChain's ``create_agent``: its loop and middleware, our subcalls.

The agent's model is the conversation: each of its model calls is a turn, reserved, stored, judged and released like any
other. Its tools are names: each tool call goes to the conversation as well, before LangChain would run anything. What
LangChain holds are released texts. An error of a turn ends the conversation, whatever a middleware makes of it.

Needs the extra ``models``. Importing this module loads LangChain.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

try:
    from langchain.agents import create_agent
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
    from langchain_core.outputs import ChatGeneration, ChatResult
    from langchain_core.tools import StructuredTool
except ImportError as exc:
    from monitor.errors import MissingExtraError

    raise MissingExtraError("LangChain, whose agent this is,", "models") from exc

from pydantic import PrivateAttr

from monitor.canonical import escape_text
from monitor.errors import RecipeError, SubcallError
from monitor.models.langchain_format import to_langchain, tool_calls
from monitor.records import Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from monitor.models.base import ToolSpec
    from monitor.orchestrate.conversation import Answer, Conversation, Turn

_ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}


async def run_agent(conversation: Conversation, *, middleware: Sequence[AgentMiddleware[Any, Any, Any]] = ()) -> Answer:
    """Let LangChain's agent drive a conversation to its answer.

    ``middleware`` stands around the monitor's own, which is the innermost. What it changes in the messages is what the next
    turn is handed, and so is on record; the tools are the conversation's, and it can add none. A model or a tool that it
    calls by itself is outside of the run: not stored, not checked, not charged.

    Raises:
        SubcallError: a turn, or a tool call, ended otherwise than with something that may be used.
        RecipeError: the agent ended without an answer of the role, or a middleware brought a tool of its own.
    """
    desk = _Desk(conversation)
    agent = create_agent(
        _Model(desk),
        tools=[_named(spec) for spec in conversation.tools],
        middleware=[*middleware, _ThroughTheDoor(desk)],
    )
    try:
        opening: list[Any] = [*to_langchain(conversation.opening)]
        await agent.ainvoke({"messages": opening})
    except SubcallError:
        raise
    except Exception as exc:
        if conversation.ended:  # what LangChain or a middleware made of it
            raise conversation.ended from exc
        raise
    return conversation.answer


class _Desk:
    """Our texts and theirs. A text that was ours comes back as it was; one that is foreign is escaped on its way in."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self._calls: dict[str, tuple[Turn, ToolCall]] = {}
        self._texts = {message.content for message in conversation.opening}

    async def turn(self, messages: Sequence[BaseMessage]) -> AIMessage:
        """One turn with their history, as theirs. Tool calls get ids of their own, for providers' may stand twice."""
        turn = await self.conversation.turn([self._message(message) for message in messages])
        self._texts.add(turn.message.content)
        calls = []
        for index, call in enumerate(turn.tool_calls):
            call_id = f"{turn.subcall.call.span_id}-{index}"
            self._calls[call_id] = (turn, call)
            calls.append({"name": call.name, "args": _arguments(call), "id": call_id, "type": "tool_call"})
        return AIMessage(turn.message.content, tool_calls=calls)

    async def use(self, call_id: str, name: str) -> ToolMessage:
        """One tool call of a turn, answered: run, failed or refused."""
        if call_id not in self._calls:
            raise RecipeError(f"a middleware asked for the tool {name}, which no turn of the role asked for")
        told = await self.conversation.use(*self._calls[call_id])
        self._texts.add(told.content)
        return ToolMessage(told.content, tool_call_id=call_id, name=name)

    def _message(self, message: BaseMessage) -> Message:
        """A message of theirs as ours."""
        if message.type not in _ROLES:
            raise RecipeError(f"a middleware put in a message of type {message.type}; known: {', '.join(_ROLES)}")
        text = str(message.text)
        ours: Any = {"role": _ROLES[message.type], "content": text if text in self._texts else escape_text(text)}
        if isinstance(message, AIMessage):
            ours["tool_calls"] = tuple(self._call(call) for call in tool_calls(message))
        if isinstance(message, ToolMessage):
            asked = self._calls.get(message.tool_call_id)
            ours["tool_call_id"] = asked[1].id if asked else escape_text(message.tool_call_id)
        return Message(**ours)

    def _call(self, call: ToolCall) -> ToolCall:
        """A tool call of theirs as the model wrote it, unless it was changed since."""
        _, asked = self._calls.get(call.id, (None, None))
        if asked and call.name == asked.name and json.loads(call.arguments) == _arguments(asked):
            return asked
        return call


class _Model(BaseChatModel):
    """The chat model of the agent: a turn of the conversation."""

    cache: bool | None = False
    _desk: _Desk = PrivateAttr()

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self._desk = desk

    @property
    def _llm_type(self) -> str:
        return "monitor"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> _Model:
        """The model as it is: what it is told of tools is the conversation's."""
        known = {spec.name for spec in self._desk.conversation.tools}
        names = {tool.get("name", "") if isinstance(tool, dict) else getattr(tool, "name", "") for tool in tools}
        if foreign := sorted(names - known):
            raise RecipeError(
                f"the agent was given the tool {', '.join(foreign)}, which the role was not handed: hand it to the role"
            )
        return self

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=await self._desk.turn(messages))])

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise RecipeError("this model is only called by run_agent, which awaits it")


class _ThroughTheDoor(AgentMiddleware[Any, Any, Any]):
    """Every tool call goes to the conversation; LangChain runs none."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self._desk = desk

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> ToolMessage:
        """Answer one tool call."""
        del handler
        return await self._desk.use(request.tool_call["id"], request.tool_call["name"])


def _named(spec: ToolSpec) -> StructuredTool:
    """A tool that LangChain knows by name and never runs."""

    async def never(**_: Any) -> str:
        raise RecipeError(f"the tool {spec.name} was called past the conversation")

    return StructuredTool(
        name=spec.name, description=spec.description or spec.name, args_schema=spec.parameters, coroutine=never
    )


def _arguments(call: ToolCall) -> dict[str, Any]:
    """The arguments as LangChain wants them; {} for what cannot be read as such (such a call is refused)."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}
