"""A planted key is nowhere to be found: not in errors, not in their chains, not in logs."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from monitor.errors import ProviderError
from monitor.models import secrets
from monitor.models.base import ModelClient, Progress
from monitor.models.langchain_client import LangChainModel
from monitor.models.openai_client import OpenAIModel
from tests.stubs.openai_stub import OpenAIStub

if TYPE_CHECKING:
    from tests.models.conftest import MakeRequest

KEY = 'pl4nted/"key"+ü-0123456789'
PLAIN_KEY = "planted-key-0123456789"

MakeClient = Callable[[str], ModelClient]


def openai_client(base_url: str) -> ModelClient:
    return OpenAIModel("small", base_url=base_url, api_key=PLAIN_KEY)


def langchain_client(base_url: str) -> ModelClient:
    from langchain_openai import ChatOpenAI

    return LangChainModel(ChatOpenAI(model="small", base_url=base_url, api_key=PLAIN_KEY, max_retries=0), name="lc")


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        quote(KEY, safe=""),
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
        json.dumps(KEY),
        json.dumps({"key": KEY}),
        json.dumps(KEY, ensure_ascii=False),
        repr(KEY),
        f"Bearer {KEY}",
        f"https://user:{quote(KEY, safe='')}@host/v1?key={quote(KEY)}",
    ],
)
def test_a_registered_key_goes_in_every_form(form: str) -> None:
    secrets.register(KEY)

    cleaned = secrets.clean(f"before {form} after")

    assert secrets.REMOVED in cleaned
    assert "0123456789" not in cleaned
    assert "MDEyMzQ1Njc4O" not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


@pytest.mark.parametrize("variable", ["ACME_API_KEY", "ACME_TOKEN", "ACME_SECRET", "MONITOR_MODEL_KEY"])
def test_keys_in_the_environment_are_known(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "swordfish-and-chips")

    assert secrets.clean("was swordfish-and-chips") == f"was {secrets.REMOVED}"


def test_unknown_keys_after_bearer_and_in_openais_form_go_too() -> None:
    said = "Authorization: Bearer abc.def-123456, Incorrect API key provided: sk-proj-AbCd***wxyz."

    assert secrets.clean(said) == (
        f"Authorization: Bearer {secrets.REMOVED}, Incorrect API key provided: {secrets.REMOVED}."
    )


def test_plain_words_stay() -> None:
    secrets.register("none")
    said = "the bearer of bad news: none of the 3 tokens fits http://host/path"

    assert secrets.clean(said) == said


@pytest.mark.parametrize("make", [openai_client, langchain_client])
@pytest.mark.parametrize("mode", ["400", "401", "429", "500"])
def test_a_provider_that_echoes_the_key_leaks_nothing(
    stub: OpenAIStub, ask: MakeRequest, caplog: pytest.LogCaptureFixture, mode: str, make: MakeClient
) -> None:
    """In the body, in headers, through the SDK's, LangChain's and the HTTP library's logs at DEBUG."""
    stub.modes = {mode: "", "echo-key": ""}
    with caplog.at_level(logging.DEBUG):
        error = fail(make(stub.base_url), ask)

    assert error.status == int(mode)
    assert stub.requests[0].headers["authorization"] == f"Bearer {PLAIN_KEY}"
    assert_nowhere(PLAIN_KEY, error, caplog)
    assert any(record.name.startswith(("openai", "httpcore")) for record in caplog.records), "nothing was logged at all"


@pytest.mark.parametrize("make", [openai_client, langchain_client])
def test_a_key_in_the_url_of_a_server_that_is_gone_leaks_nothing(
    ask: MakeRequest, caplog: pytest.LogCaptureFixture, make: MakeClient
) -> None:
    with OpenAIStub() as gone:
        pass
    host = gone.base_url.removeprefix("http://")
    with caplog.at_level(logging.DEBUG):
        error = fail(make(f"http://user:{PLAIN_KEY}@{host}/{PLAIN_KEY}"), ask)

    assert error.kind == "connection"
    assert_nowhere(PLAIN_KEY, error, caplog)


def fail(model: ModelClient, ask: MakeRequest) -> ProviderError:
    async def once() -> None:
        try:
            await model.complete(ask(), Progress())
        finally:
            await model.aclose()

    with pytest.raises(ProviderError) as caught:
        asyncio.run(once())
    return caught.value


def assert_nowhere(key: str, error: ProviderError, caplog: pytest.LogCaptureFixture) -> None:
    shown = [str(error), repr(error), *traceback.format_exception(error), caplog.text]
    shown += [repr(vars(record)) for record in caplog.records]
    shown += [repr(vars(error)), repr(error.args)]
    assert [text for text in shown if key in text] == []
    assert (error.__cause__, error.__context__) == (None, None)
