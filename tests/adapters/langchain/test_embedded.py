"""A real open-weight model behind the real client of LangChain, monitored."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware
from monitor.errors import BudgetExceeded, WeightsError
from monitor.models import weights
from monitor.records import Limits
from monitor.settings import EmbeddedOptions
from tests.adapters.langchain.conftest import agent_of, stored

pytest.importorskip("xllamacpp")
from langchain_openai import ChatOpenAI

from monitor.models import embedded_server

pytestmark = pytest.mark.embedded


@pytest.fixture
def model() -> ChatOpenAI:
    try:
        weights.locate()
    except WeightsError as exc:
        pytest.skip(str(exc))
    address = embedded_server.start(EmbeddedOptions())
    return ChatOpenAI(
        model=embedded_server.MODEL_ALIAS,
        base_url=f"{address.url}/v1",
        api_key=SecretStr(address.api_key),
        max_tokens=24,
        temperature=0,
    )


def test_what_the_model_says_is_what_is_stored_and_handed_on(db: str, model: ChatOpenAI) -> None:
    agent = agent_of(model, [], middleware=[MonitorMiddleware(policy=["core"], db=db)])
    answer = agent.invoke({"messages": "The capital of France is"})["messages"][-1]
    ((run, (subcall,)),) = stored(db)
    assert run.end is not None
    assert (run.state, run.end.verdict.value) == ("ok", "pass")
    assert subcall.observation is not None
    assert subcall.observation.output == answer.content != ""
    assert subcall.observation.usage_reported
    assert 0 < subcall.observation.usage.output_tokens <= 24
    assert subcall.call.max_output_tokens == 24


def test_the_budget_bounds_the_real_answer(db: str, model: ChatOpenAI) -> None:
    """What the budget cuts short is no answer; the handler, which cannot bound it, still stores and charges it."""
    agent = agent_of(model, [], middleware=[MonitorMiddleware(policy=[], db=db, budget=Limits(output_tokens=5))])
    with pytest.raises(BudgetExceeded):
        agent.invoke({"messages": "Tell me a long story."})
    ((_, (subcall,)),) = stored(db)
    assert subcall.observation is not None
    assert subcall.observation.usage.output_tokens <= 5
    handler = MonitorCallbackHandler(policy=[], db=db)
    said = model.invoke("The capital of France is", {"callbacks": [handler]})
    _, (subcall,) = stored(db)[0]
    assert subcall.observation is not None
    assert subcall.observation.output == said.content
