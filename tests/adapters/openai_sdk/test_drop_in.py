"""A wrapped client is the client that it was: types, errors, retries, raw responses, options, other resources."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel

import monitor
from monitor.errors import Blocked, ConfigError, SubcallFailed
from monitor.records import Limits
from monitor.store import Store
from tests.adapters.openai_sdk.test_chat import plain, user, wrapped, wrapped_async

if TYPE_CHECKING:
    from tests.adapters.wire_desk import Desk


class Place(BaseModel):
    name: str
    size: int


def test_it_is_of_the_same_type_and_shares_its_connections(desk: Desk) -> None:
    client = plain(desk, timeout=7.0, organization="org")
    made = monitor.wrap(client, db=desk.db, policy=[])
    assert isinstance(made, OpenAI)
    assert type(made).__name__ == "OpenAI"
    assert (made.timeout, made.organization, made.max_retries) == (7.0, "org", 0)
    assert made._client is client._client
    client.chat.completions.create(model="m", messages=user("Hello"))
    assert desk.all_runs() == []
    azure = AzureOpenAI(azure_endpoint=desk.stub.base_url, api_key="k", api_version="2025-01-01")
    desk.clients.append(azure)
    assert isinstance(monitor.wrap(azure, db=desk.db, policy=[]), AzureOpenAI)


def test_copies_of_it_are_wrapped_too(desk: Desk) -> None:
    say = user("[[stub:say=ALARM]] x")
    for client in (wrapped(desk).with_options(timeout=5), wrapped(desk).copy(max_retries=1)):
        with pytest.raises(Blocked):
            client.chat.completions.create(model="m", messages=say)
    with pytest.raises(Blocked):
        wrapped(desk).post("/chat/completions", body={"model": "m", "messages": say}, cast_to=object)


def test_raw_and_streaming_responses(desk: Desk) -> None:
    client = wrapped(desk)
    raw = client.chat.completions.with_raw_response.create(model="m", messages=user("[[stub:say=SECRET]] x"))
    assert (raw.status_code, raw.retries_taken) == (200, 0)
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().choices[0].message.content == "██████"
    assert "SECRET" not in raw.text
    streaming = client.chat.completions.with_streaming_response
    with streaming.create(model="m", messages=user("[[stub:say=SECRET]] x"), stream=True) as response:
        assert "SECRET" not in "\n".join(response.iter_lines())
    with pytest.raises(Blocked):
        client.chat.completions.with_raw_response.create(model="m", messages=user("[[stub:say=ALARM]] x"))


def test_helpers_parse_what_is_released(desk: Desk) -> None:
    client = wrapped(desk)
    answer = client.chat.completions.parse(model="m", messages=user("Where?"), response_format=Place)
    assert isinstance(answer.choices[0].message.parsed, Place)
    (subcall,) = desk.subcalls()
    assert '"size"' in subcall.call.output_schema
    with client.chat.completions.stream(model="m", messages=user("Where?"), response_format=Place) as stream:
        kinds = {event.type for event in stream}
        assert {"chunk", "content.delta", "content.done"} <= kinds
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Place)

    async def main() -> None:
        async with wrapped_async(desk) as later:
            parsed = await later.chat.completions.parse(model="m", messages=user("Where?"), response_format=Place)
            assert isinstance(parsed.choices[0].message.parsed, Place)
            say = user("[[stub:say=ALARM]] x")
            with pytest.raises(Blocked):
                async with later.chat.completions.stream(model="m", messages=say):
                    pass

    asyncio.run(main())


def test_other_resources_are_not_touched(desk: Desk) -> None:
    assert [model.id for model in wrapped(desk).models.list()] == ["stub"]
    assert desk.all_runs() == []


def test_of_what_is_not_observed_the_log_says_so_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    client = wrapped(desk)
    for _ in range(2):
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="m", prompt="x")
    with pytest.raises(openai.NotFoundError):
        client.post("/threads/t_1/runs", body={}, cast_to=object)
    client.models.list()
    client.chat.completions.create(model="m", messages=user("Hello"))
    said = [record.getMessage() for record in caplog.records if record.name.startswith("monitor.adapters")]
    assert said == [
        f"POST {path} is not observed: its answer is neither stored nor checked"
        for path in ("/completions", "/threads/…/runs")
    ]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("mode", "error", "kind"),
    [
        ("429", openai.RateLimitError, "rate_limit"),
        ("500", openai.InternalServerError, "server_error"),
        ("400", openai.BadRequestError, "bad_request"),
        ("cut", openai.APIConnectionError, "connection"),
        ("cut-before", openai.APIConnectionError, "connection"),
    ],
)
def test_errors_are_recorded_and_raised_as_they_are(
    desk: Desk, mode: str, error: type[Exception], kind: str, *, stream: bool
) -> None:
    def ask(client: OpenAI) -> None:
        answer: Any = client.chat.completions.create(model="m", messages=user(f"[[stub:{mode}]] x"), stream=stream)
        list(answer)

    async def ask_later() -> None:
        async with wrapped_async(desk) as client:
            await client.chat.completions.create(model="m", messages=user(f"[[stub:{mode}]] x"), stream=stream)

    with pytest.raises(openai.APIError) as bare:
        ask(plain(desk))
    with pytest.raises(error) as found:
        ask(wrapped(desk))
    assert mode == "cut" or (type(found.value), str(found.value)) == (type(bare.value), str(bare.value))
    with pytest.raises(error):
        asyncio.run(ask_later())
    for run in desk.all_runs():
        assert run.state == "failed"
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.error is not None
    assert subcall.observation.error.kind == kind
    assert "sk-test" not in subcall.observation.error.message


def test_each_retry_is_an_attempt(desk: Desk) -> None:
    client = wrapped(desk).with_options(max_retries=2)
    answer = client.chat.completions.with_raw_response.create(
        model="m", messages=user("[[stub:500]][[stub:times=1]] x")
    )
    assert answer.retries_taken == 1
    first, second = sorted(desk.subcalls(), key=lambda subcall: subcall.call.attempt)
    assert (first.state, second.state) == ("failed", "ok")
    assert (second.call.attempt, second.call.key) == (2, first.call.key)
    assert second.call.retry_of == second.call.parent_id == first.call.span_id


def test_an_error_that_a_rule_withholds_is_not_told(desk: Desk, tmp_path: Any) -> None:
    pack = tmp_path / "e.yaml"
    pack.write_text(
        "pack: e\nversion: 1.0.0\nrules:\n  - title: x\n    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7b00\n    name: told\n"
        "    level: high\n    detection: {s: {error|contains: planted}, condition: s}\n"
    )
    client = monitor.wrap(plain(desk), db=desk.db, policy=[str(pack)])
    with pytest.raises(SubcallFailed, match="withheld") as found:
        client.chat.completions.create(model="m", messages=user("[[stub:500]] x"))
    assert "planted" not in str(found.value)


def test_200_concurrent_calls_have_the_right_parents(desk: Desk) -> None:
    client = wrapped_async(desk)

    @monitor.subcall("parent")
    async def parent(number: int) -> str:
        answer = await client.chat.completions.create(model="m", messages=user(f"[[stub:say=answer {number}]] x"))
        return answer.choices[0].message.content or ""

    async def main() -> list[str]:
        async with client, monitor.observed_run("x", db=desk.db, policy=[], budget=Limits(calls=200)):
            return await asyncio.gather(*(parent(number) for number in range(200)))

    assert asyncio.run(main()) == [f"answer {number}" for number in range(200)]
    subcalls = {subcall.call.span_id: subcall for subcall in desk.subcalls()}
    assert len(subcalls) == 400
    for subcall in subcalls.values():
        if subcall.call.role == "assistant":
            assert subcall.call.parent_id is not None
            assert subcall.observation is not None
            number = subcall.observation.output.removeprefix("answer ")
            assert subcalls[subcall.call.parent_id].call.task == f'{{"number":{number}}}'


def test_threads_that_carry_the_run_share_one_client(desk: Desk) -> None:
    client = wrapped(desk)

    def ask(number: int) -> str:
        answer = client.chat.completions.create(model="m", messages=user(f"[[stub:say={number}]] x"))
        return answer.choices[0].message.content or ""

    with monitor.observed_run("x", db=desk.db, policy=[]) as run, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(monitor.carried(ask), range(24))) == [str(number) for number in range(24)]
    with Store.open(desk.db) as store:
        assert len(list(store.subcalls(run.run_id))) == 24


@pytest.mark.parametrize("what", [None, "client", OpenAI])
def test_what_is_no_client_is_refused(what: Any) -> None:
    with pytest.raises(ConfigError, match="OpenAI or AsyncOpenAI"):
        monitor.wrap(what)


def test_a_client_is_wrapped_once(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="wrapped already"):
        monitor.wrap(wrapped(desk))
    assert isinstance(wrapped_async(desk), AsyncOpenAI)
