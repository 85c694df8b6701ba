"""Whatever an answer or a result says is judged, in whichever part of a message of LangChain's it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.config import get_stream_writer
from pydantic import BaseModel

from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware
from monitor.adapters.langchain.overwrite import answer_in
from monitor.errors import Blocked, SubcallFailed
from monitor.models.langchain_format import reply_of, said_besides
from tests.adapters.langchain.conftest import agent_of, calls, says, stored
from tests.stubs.openai_stub import OpenAIStub

if TYPE_CHECKING:
    from collections.abc import Callable

ASK: Any = {"messages": "What is in the note?"}
FINE: Any = {"type": "text", "text": "Fine."}


class Word(BaseModel):
    """A structured answer."""

    word: str


@pytest.mark.parametrize(
    ("surface", "answer"),
    [
        ("reasoning", AIMessage([{"type": "thinking", "thinking": "I am PLANTED"}, FINE])),
        ("output", AIMessage([{"type": "refusal", "refusal": "No: PLANTED"}])),
        ("output", AIMessage("", additional_kwargs={"refusal": "No: PLANTED"})),
        ("output", AIMessage("", additional_kwargs={"audio": {"data": "UklG", "transcript": "PLANTED"}})),
        ("output", AIMessage([FINE, {"type": "server_tool_result", "output": {"pages": ["a PLANTED page"]}}])),
    ],
)
@pytest.mark.parametrize("door", ["middleware", "callbacks"])
def test_what_an_answer_says_beside_its_text_is_judged(
    db: str, pack: Callable[..., list[str]], surface: str, answer: AIMessage, door: str
) -> None:
    model = says(answer.model_copy(deep=True))
    agent = agent_of(model, middleware=[MonitorMiddleware(policy=pack(surface), db=db)])
    handler = MonitorCallbackHandler(policy=pack(surface), db=db)
    with pytest.raises(Blocked, match="planted"):
        agent.invoke(ASK) if door == "middleware" else model.invoke("x", {"callbacks": [handler]})


def test_a_refusal_of_the_real_sdk_is_in_the_record(db: str) -> None:
    with OpenAIStub() as stub:
        model = ChatOpenAI(model="m", base_url=stub.base_url, api_key="sk-test", max_retries=0)
        agent_of(model, middleware=[MonitorMiddleware(policy=[], db=db)]).invoke({"messages": "[[stub:refusal]] x"})
    ((_, (subcall,)),) = stored(db)
    assert subcall.observation is not None
    assert subcall.observation.output == "I cannot help with that."


def test_of_several_answers_each_says_all_of_itself() -> None:
    broken: Any = {"name": "pay", "args": "{PLANTED", "id": "1", "error": "", "type": "invalid_tool_call"}
    messages = [
        AIMessage([{"type": "thinking", "thinking": "one"}, FINE]),
        AIMessage("", additional_kwargs={"refusal": "two"}, invalid_tool_calls=[broken]),
    ]
    reply = reply_of(whole := answer_in(LLMResult(generations=[[ChatGeneration(message=item) for item in messages]])))
    assert (reply.reasoning, reply.text, said_besides(whole)) == ("one", "Fine.two", [])
    assert [call.arguments for call in reply.tool_calls] == ["{PLANTED"]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "search_result", "source": "x", "title": "t", "content": [{"type": "text", "text": "PLANTED"}]},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "PLANTED"}},
    ],
)
def test_what_a_document_in_a_result_says_is_judged(db: str, pack: Callable[..., list[str]], part: Any) -> None:
    @tool
    def note(number: int) -> list[Any]:
        """Read a note."""
        return [part, {"type": "image", "base64": "UExBTlRFRA==", "mime_type": "image/png"}]

    door = MonitorMiddleware(policy=pack("result"), db=db)
    with pytest.raises(Blocked, match="planted"):
        agent_of(says(calls("note", number=1), "done"), [note], middleware=[door]).invoke(ASK)
    ((_, subcalls),) = stored(db)
    assert subcalls[-1].observation is not None
    assert subcalls[-1].observation.output.endswith("PLANTED[image]")


def test_a_structured_answer_that_langchain_asks_for_by_a_tool_is_no_call_of_a_tool_outside_the_list(db: str) -> None:
    door = MonitorMiddleware(policy=["core"], db=db)
    answer = agent_of(says(calls("Word", word="moon")), response_format=Word, middleware=[door]).invoke(ASK)
    assert answer["structured_response"] == Word(word="moon")
    ((run, (subcall,)),) = stored(db)
    assert subcall.call.tools == ("Word",)
    assert run.end is not None
    assert run.end.verdict.value == "pass"


def test_what_a_tool_s_error_carries_along_is_judged(db: str, pack: Callable[..., list[str]]) -> None:
    def note(number: int) -> str:
        """Read a note."""
        raise ExceptionGroup("several", [ValueError(f"PLANTED in {number}")])

    door = MonitorMiddleware(policy=pack("error"), db=db)
    with pytest.raises(SubcallFailed, match="planted"):
        agent_of(says(calls("note", number=1), "done"), [note], middleware=[door]).invoke(ASK)


def test_what_the_answer_with_an_error_says_is_judged(db: str, pack: Callable[..., list[str]]) -> None:
    body = {"error": {"message": "the call cannot be read", "failed_generation": "PLANTED"}}
    request = httpx.Request("POST", "http://127.0.0.1/v1")
    answer: Any = httpx.Response(400, json=body, request=request)
    error = openai.BadRequestError("x", response=answer, body=body["error"])
    with pytest.raises(SubcallFailed, match="planted"):
        agent_of(says(error), middleware=[MonitorMiddleware(policy=pack("output"), db=db)]).invoke(ASK)


def test_what_a_tool_writes_to_the_stream_by_itself_is_not_held_back(db: str, pack: Callable[..., list[str]]) -> None:
    """A limit that the guide names."""

    def note(number: int) -> str:
        """Read a note."""
        get_stream_writer()(f"PLANTED in {number}")
        return "fine"

    agent = agent_of(
        says(calls("note", number=1), "done"), [note], middleware=[MonitorMiddleware(policy=pack("result"), db=db)]
    )
    assert list(agent.stream(ASK, stream_mode="custom")) == ["PLANTED in 1"]
    ((_, subcalls),) = stored(db)
    assert "PLANTED" not in str(subcalls[1].observation)
