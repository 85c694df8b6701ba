"""Scripted chat models of the real LangChain, and packs that catch one word on each surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from monitor.records import StoredRun, StoredSubcall


class Scripted(BaseChatModel):
    """A chat model that says what it is told to: messages one after the other, or what a function makes of the history."""

    answers: Any
    max_tokens: int | None = None
    asked: list[Any]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self.bind(tools=[getattr(tool, "name", tool) for tool in tools])

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> ChatResult:
        self.asked.append({"messages": messages, "max_tokens": self.max_tokens, **options})
        said = self.answers(messages) if callable(self.answers) else self.answers.pop(0)
        if isinstance(said, BaseException):
            raise said
        message = AIMessage(said) if isinstance(said, str) else said
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> Iterator[Any]:
        message = self._generate(messages, stop, run_manager, **options).generations[0].message
        for word in str(message.content).split(" "):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word + " "))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk


def agent_of(model: Any, tools: Any = (), **options: Any) -> Any:
    """``create_agent``, without its many types."""
    return create_agent(model, tools, **options)


def says(*answers: Any) -> Scripted:
    return Scripted(answers=list(answers), asked=[])


def calls(name: str, call_id: str = "1", /, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": call_id}])


def thinks(thought: str, text: str) -> AIMessage:
    return AIMessage([{"type": "reasoning", "reasoning": thought}, {"type": "text", "text": text}])


PLANTED: dict[str, list[Any]] = {
    "reasoning": [thinks("I am PLANTED", "Fine.")],
    "output": ["All is PLANTED."],
    "arguments": [AIMessage("", tool_calls=[{"name": "note", "args": {"number": 1, "why": "PLANTED"}, "id": "1"}])],
    "result": [calls("note", number=13), "never said"],
}

SURFACES = {"reasoning": "reasoning", "output": "output", "arguments": "tool.arguments", "result": "tool.result"}
PACK = """
pack: planted
version: 1.0.0
rules:
  - title: A planted word
    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11
    name: planted
    level: high
    action: {action}
    detection: {{s: {{{surface}|contains: PLANTED}}, condition: s}}
"""


@pytest.fixture
def db(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., list[str]]:
    """Write a pack that catches the word PLANTED on one surface."""

    def write(surface: str = "output", action: str = "withhold") -> list[str]:
        path = tmp_path / f"{surface}.yaml"
        path.write_text(PACK.format(surface=SURFACES.get(surface, surface), action=action), encoding="utf-8")
        return [str(path)]

    return write


def stored(db: str) -> list[tuple[StoredRun, list[StoredSubcall]]]:
    """All runs, the newest first, with their subcalls."""
    with Store.open(db) as store:
        return [(run, list(store.subcalls(run.start.run_id))) for run in store.runs()]
