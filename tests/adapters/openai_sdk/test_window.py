"""Streams that are released before their end, by the real SDK: as they come, stored first, never what a rule matches."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openai import APIConnectionError, AsyncOpenAI, OpenAI

import monitor
from monitor.adapters.openai_sdk import responses_stream
from monitor.errors import Blocked, ConfigError, StoreError, SubcallError
from monitor.store import Store
from tests.store.databases import Database
from tests.stubs.stream_server import StreamServer, chat_events, told

if TYPE_CHECKING:
    from monitor.records import StoredSubcall
    from tests.adapters.wire_desk import Desk

WORDS = ("How ", "far ", "is ", "the ", "Moon? ", "It ", "is ", "384,400 ", "km ", "away ", "on ", "average.")
LONG = [f"word{number:03d} " for number in range(60)]
MESSAGES: Any = [{"role": "user", "content": "How far is the Moon?"}]
WAYS = ("sync", "async")


def client_of(desk: Desk, server: StreamServer, **how: Any) -> OpenAI:
    plain = OpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0)
    desk.clients.append(plain)
    return monitor.wrap(plain, db=desk.db, **{"policy": [desk.pack], "stream": "window", **how})


def read(desk: Desk, server: StreamServer, way: str = "sync", **how: Any) -> tuple[list[Any], Exception | None]:
    """The chunks that a caller gets, and what ends them."""
    chunks: list[Any] = []
    try:
        if way == "sync":
            for chunk in client_of(desk, server, **how).chat.completions.create(
                model="m", messages=MESSAGES, stream=True
            ):
                chunks.append(chunk)  # noqa: PERF402 - what came before an error counts
        else:
            asyncio.run(_read(desk, server, chunks, how))
    except (SubcallError, APIConnectionError, StoreError) as exc:
        return chunks, exc
    return chunks, None


async def _read(desk: Desk, server: StreamServer, chunks: list[Any], how: dict[str, Any]) -> None:
    plain = AsyncOpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0)
    async with monitor.wrap(plain, db=desk.db, **{"policy": [desk.pack], "stream": "window", **how}) as client:
        async for chunk in await client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
            chunks.append(chunk)  # noqa: PERF401 - as above


def one_rule(folder: Path, detection: str) -> str:
    """A pack of one rule, which withholds."""
    rule = f"{{title: T, id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11, name: acts, level: high, detection: {detection}}}"
    pack = folder / "other.yaml"
    pack.write_text(f"pack: other\nversion: 1.0.0\nrules:\n  - {rule}\n", encoding="utf-8")
    return str(pack)


def said(chunks: list[Any], name: str = "content") -> str:
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    return "".join(getattr(delta, name, None) or "" for delta in deltas)


def released(subcall: StoredSubcall, name: str = "output") -> str:
    return "".join(getattr(part, name) for part in subcall.released)


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_is_what_came_without_us_and_the_record_says_what_was_early(desk: Desk, way: str) -> None:
    with StreamServer(chat_events(told(*LONG, reasoning=["Hm, ", "the ", "Moon."]))) as server:
        bare = OpenAI(base_url=server.base_url, api_key="k")
        desk.clients.append(bare)
        expected = list(bare.chat.completions.create(model="m", messages=MESSAGES, stream=True))
        chunks, error = read(desk, server, way, stream_usage=False)
        assert error is None
        assert [chunk.model_dump() for chunk in chunks] == [chunk.model_dump() for chunk in expected]
        assert {type(chunk) for chunk in chunks} == {type(chunk) for chunk in expected}
        (subcall,) = desk.subcalls()
        seen = subcall.observation
        assert seen is not None
        assert (subcall.state, seen.output, seen.reasoning.text) == ("ok", "".join(LONG), "Hm, the Moon.")
        assert subcall.released_before_final
        assert seen.output.startswith(released(subcall))
        assert len(released(subcall)) > len(seen.output) - 40
        assert released(subcall, "reasoning") == seen.reasoning.text
        assert seen.usage.output_tokens == 7
        assert desk.run().state == "ok"
        assert len(chunks) == len(read(desk, server, way)[0]) + 1  # nobody asked for the usage: it is kept back


def test_a_chunk_is_there_before_the_stream_is_at_its_end(desk: Desk) -> None:
    with StreamServer(chat_events(told(*LONG)), freely=False) as server:
        stream = None
        server.go(31)  # the beginning, and 30 words
        stream = client_of(desk, server).chat.completions.create(model="m", messages=MESSAGES, stream=True)
        first = [next(stream) for _ in range(20)]
        assert server.sent == 31
        assert "".join(LONG).startswith(said(first))
        (subcall,) = desk.subcalls()
        assert (subcall.state, desk.run().state) == ("started", "started")
        assert released(subcall).startswith(said(first))  # what the caller has is in the store
        server.go()
        assert said([*first, *stream]) == "".join(LONG)
    (subcall,) = desk.subcalls()
    assert subcall.state == "ok"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cut", [1, 4])
@pytest.mark.parametrize("name", ["content", "reasoning_content"])
def test_a_match_across_chunks_is_withheld_from_its_first_codepoint(desk: Desk, way: str, cut: int, name: str) -> None:
    texts = [*LONG[:20], "x ALARM"[: 2 + cut], "ALARM"[cut:], *LONG[20:]]
    deltas = told(*texts) if name == "content" else told(*WORDS, reasoning=texts)
    with StreamServer(chat_events(deltas)) as server:
        chunks, error = read(desk, server, way)
    assert isinstance(error, Blocked)
    assert "planted_" in str(error)
    early = said(chunks, name)
    assert early
    assert "".join([*LONG[:20], "x "]).startswith(early)
    (subcall,) = desk.subcalls()
    assert subcall.state == "blocked"
    assert released(subcall, {"content": "output", "reasoning_content": "reasoning"}[name]) == early
    assert desk.run().state == "blocked"


def test_the_connection_is_closed_where_the_rest_can_change_nothing(desk: Desk) -> None:
    texts = [*LONG, "ALARM ", *LONG, *LONG]
    with StreamServer(chat_events(told(*texts)), freely=False) as server:
        server.go(90)
        chunks, error = read(desk, server)
        assert isinstance(error, Blocked)
        assert server.sent <= 90
        server.go()
        assert server.was_cut.wait(10)
    (subcall,) = desk.subcalls()
    seen = subcall.observation
    assert seen is not None
    assert (subcall.state, seen.outcome, seen.finish_reason) == ("blocked", "ok", "stopped_by_monitor")
    assert not seen.usage_reported
    assert "ALARM" in seen.output
    assert seen.output.startswith(said(chunks))


def test_what_is_redacted_is_covered_in_the_rest(desk: Desk) -> None:
    with StreamServer(chat_events(told(*LONG, "the SEC", "RET is out. ", *WORDS))) as server:
        chunks, error = read(desk, server)
    assert error is None
    assert said(chunks) == "".join(LONG) + "the ██████ is out. " + "".join(WORDS)
    assert sum(chunk.choices[0].delta.role == "assistant" for chunk in chunks if chunk.choices) == 1
    (subcall,) = desk.subcalls()
    assert len(released(subcall)) > 300
    assert "SECRET" not in released(subcall)


@pytest.mark.parametrize(
    "deltas",
    [
        told("<think>Hm, ALARM.</think>", *LONG),
        told("I think ", "I will say ALARM", " now.</th", "ink>", *LONG),
    ],
)
def test_what_a_think_tag_divides_is_judged_whole(desk: Desk, deltas: list[dict[str, Any]]) -> None:
    with StreamServer(chat_events(deltas)) as server:
        chunks, error = read(desk, server)
    assert isinstance(error, Blocked)
    assert "ALARM" not in said(chunks)
    assert len(said(chunks)) < 20


def test_an_answer_that_turns_out_to_be_a_thought_is_judged_as_one(desk: Desk, tmp_path: Path) -> None:
    """A rule on the answer alone does not stop a stream: a closing think tag may still make a thought of what came."""
    pack = one_rule(tmp_path, "{s: {output|contains: ALARM}, condition: s}")
    with StreamServer(chat_events(told("I think ", "ALARM ", *LONG, "</think>", *WORDS))) as server:
        chunks, error = read(desk, server, policy=[pack])
        assert error is None
        assert said(chunks) == "I think ALARM " + "".join(LONG) + "</think>" + "".join(WORDS)
    (subcall,) = desk.subcalls()
    assert subcall.state == "ok"
    assert released(subcall) in {"", "I think "}
    with StreamServer(chat_events(told(*LONG, "ALARM ", *LONG))) as server:
        chunks, error = read(desk, server, policy=[pack])
        assert isinstance(error, Blocked)
        assert not server.was_cut.is_set()


def test_tool_calls_wait_for_the_judgement(desk: Desk) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "x"}'}}
    end = {"index": 0, "function": {"arguments": ""}}
    with StreamServer(
        chat_events([*told(*LONG), {"tool_calls": [call]}, {"tool_calls": [end]}]), freely=False
    ) as server:
        server.go(63)
        stream = client_of(desk, server).chat.completions.create(model="m", messages=MESSAGES, stream=True)
        first = [next(stream) for _ in range(50)]
        assert not any(chunk.choices[0].delta.tool_calls for chunk in first)
        server.go()
        rest = list(stream)
    assert [chunk.choices[0].delta.tool_calls[0].id for chunk in rest if chunk.choices[0].delta.tool_calls] == [
        "c1",
        None,
    ]
    call["function"] = {"name": "look_up", "arguments": '{"word": "ALARM"}'}
    with StreamServer(chat_events([*told(*LONG), {"tool_calls": [call]}])) as server:
        chunks, error = read(desk, server)
    assert isinstance(error, Blocked)
    assert not any(chunk.choices[0].delta.tool_calls for chunk in chunks)


@pytest.mark.parametrize("way", WAYS)
def test_who_stops_reading_is_recorded_as_such(desk: Desk, way: str) -> None:
    with StreamServer(chat_events(told(*LONG, *LONG)), freely=False) as server:
        server.go(40)
        if way == "sync":
            stream = client_of(desk, server).chat.completions.create(model="m", messages=MESSAGES, stream=True)
            with closing(stream):
                got = said([next(stream) for _ in range(10)])
        else:
            got = asyncio.run(_stop_early(desk, server))
        server.go()
        assert server.was_cut.wait(10)
    (subcall,) = desk.subcalls()
    seen = subcall.observation
    assert seen is not None
    assert seen.error is not None
    assert (subcall.state, seen.error.kind) == ("cancelled", "cancelled")
    assert released(subcall).startswith(got)
    assert seen.output.startswith(released(subcall))
    assert desk.run().state != "started"


async def _stop_early(desk: Desk, server: StreamServer) -> str:
    plain = AsyncOpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0)
    async with monitor.wrap(plain, db=desk.db, policy=[desk.pack], stream="window") as client:
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        got = said([await anext(stream) for _ in range(10)])
        await stream.close()
        return got


def test_a_stream_that_nobody_reads_is_recorded(desk: Desk) -> None:
    with StreamServer(chat_events(told(*LONG))) as server:
        client_of(desk, server).chat.completions.create(model="m", messages=MESSAGES, stream=True).close()
    (subcall,) = desk.subcalls()
    assert (subcall.state, subcall.released) == ("cancelled", ())


def test_a_task_that_is_cancelled_is_recorded(desk: Desk) -> None:
    async def main(server: StreamServer) -> None:
        plain = AsyncOpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0)
        async with monitor.wrap(plain, db=desk.db, policy=[desk.pack], stream="window") as client:
            begun = asyncio.Event()

            async def work() -> None:
                async for chunk in await client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
                    if chunk.choices[0].delta.content:  # the first says only whose turn it is
                        begun.set()

            task = asyncio.create_task(work())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with StreamServer(chat_events(told(*LONG)), freely=False) as server:
        server.go(40)
        asyncio.run(main(server))
    (subcall,) = desk.subcalls()
    assert subcall.state == "cancelled"
    assert subcall.released_before_final
    assert desk.run().state == "cancelled"


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_that_breaks_off_fails_where_it_broke(desk: Desk, way: str) -> None:
    with StreamServer(chat_events(told(*LONG))[:40], breaks=True) as server:
        chunks, error = read(desk, server, way)
    assert isinstance(error, APIConnectionError)
    (subcall,) = desk.subcalls()
    seen = subcall.observation
    assert seen is not None
    assert subcall.state == "failed"
    assert seen.output == "".join(LONG[:39])
    assert released(subcall) == said(chunks) != ""


@pytest.mark.parametrize("kind", ["released", "observed", "judged"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_released_before_its_commit(desk: Desk, way: str, kind: str) -> None:
    """A fault between a part that is ready and its commit: nobody gets it, nor anything behind it."""
    Store.open(desk.db).close()
    broken = Database(desk.db)
    broken.refuse(kind)
    with StreamServer(chat_events(told(*LONG))) as server:
        chunks, error = read(desk, server, way)
    broken.allow()
    broken.close()
    assert isinstance(error, StoreError)
    (subcall,) = desk.subcalls()
    assert subcall.state == {"judged": "observed"}.get(kind, "started")
    assert released(subcall) == said(chunks)
    assert (said(chunks) == "") is (kind == "released")
    assert not any(chunk.choices and chunk.choices[0].finish_reason for chunk in chunks)


PROGRAM = """
import sys
import monitor
from openai import OpenAI

client = monitor.wrap(OpenAI(base_url=sys.argv[1], api_key="k"), db=sys.argv[2], policy=[sys.argv[3]], stream="window")
stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Go"}], stream=True)
for chunk in stream:
    sys.stdout.write(chunk.choices[0].delta.content or "")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("count", [20, 50])
def test_what_a_killed_process_had_released_is_in_the_store(desk: Desk, count: int) -> None:
    with StreamServer(chat_events(told(*LONG)), freely=False) as server:
        arguments = [sys.executable, "-c", PROGRAM, server.base_url, desk.db, desk.pack]
        with subprocess.Popen(arguments, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE) as process:
            server.go(count)
            assert process.stdout is not None
            got = process.stdout.read(8 * (count - 6))  # waits for that much
            process.kill()
            got += process.stdout.read()
    (subcall,) = desk.subcalls()
    assert (subcall.state, desk.run().state) == ("started", "started")
    assert subcall.released_before_final
    assert got
    assert released(subcall).startswith(got.decode())
    assert "".join(LONG[:count]).startswith(released(subcall))


OTHER_PACKS = {
    "no longest match": "{s: {output|re: 'a+b'}, condition: s}",
    "looks at the end of the text": "{s: {output|re: 'end$'}, condition: s}",
    "stands behind a `not`": "{s: {output|contains: bomb}, t: {output|contains: harmless}, condition: s and not t}",
    "known at its end only: `t: usage.output_tokens|gt`": "{t: {usage.output_tokens|gt: 5}, condition: t}",
}


@pytest.mark.parametrize("why", OTHER_PACKS)
@pytest.mark.parametrize("inside", [False, True])
def test_a_policy_that_forbids_it_is_refused_before_anything_is_spent(
    desk: Desk, tmp_path: Path, why: str, inside: bool
) -> None:
    pack = one_rule(tmp_path, OTHER_PACKS[why])
    with StreamServer(chat_events(told(*WORDS))) as server:
        plain = OpenAI(base_url=server.base_url, api_key="k")
        desk.clients.append(plain)

        def ask() -> None:
            if not inside:
                monitor.wrap(plain, stream="window", db=desk.db, policy=[pack])
                return
            client = monitor.wrap(plain, stream="window", db=desk.db)
            with monitor.observed_run("t", policy=[pack], db=desk.db):
                client.chat.completions.create(model="m", messages=MESSAGES, stream=True)

        with pytest.raises(ConfigError, match="acts: not windowable") as refused:
            ask()
        assert why in str(refused.value)
        assert server.requests == []
        assert monitor.wrap(plain, db=desk.db, policy=[pack])
    with pytest.raises(ConfigError, match="'judged' or 'window'"):
        monitor.wrap(plain, stream="now")  # type: ignore[arg-type] # that is what is tested


def test_in_a_run_around_it_and_under_what_a_call_was_handed(desk: Desk) -> None:
    """A rule that matches the prompt acts on any answer: then nothing is early. And the run stays open meanwhile."""
    poisoned: Any = [
        *MESSAGES,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "ALARM"},
    ]
    with StreamServer(chat_events(told(*LONG))) as server:
        client = client_of(desk, server)
        with monitor.observed_run("t", policy=[desk.pack], db=desk.db) as run:
            assert said(list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))) == "".join(
                LONG
            )
            stream = client.chat.completions.create(model="m", messages=poisoned, stream=True)
            with pytest.raises(Blocked, match="planted_history"):
                next(stream)
    assert run.result is not None
    first, second = desk.subcalls()
    assert (first.state, first.released_before_final) == ("ok", True)
    assert (second.state, second.released_before_final) == ("blocked", False)


def test_without_a_policy_each_chunk_is_released_once_it_is_stored(desk: Desk) -> None:
    with StreamServer(chat_events(told(*WORDS)), freely=False) as server:
        server.go(9)
        stream = client_of(desk, server, policy=[]).chat.completions.create(model="m", messages=MESSAGES, stream=True)
        first = said([next(stream) for _ in range(8)])
        assert "".join(WORDS).startswith(first)
        server.go()
        assert first + said(list(stream)) == "".join(WORDS)
    (subcall,) = desk.subcalls()
    assert (subcall.state, subcall.judgement and subcall.judgement.verdict.value) == ("ok", "unmeasured")
    assert released(subcall) == "".join(WORDS)


def test_an_error_before_the_stream_is_the_sdk_s_own(desk: Desk) -> None:
    from openai import BadRequestError

    plain = OpenAI(base_url=desk.stub.base_url, api_key="k", max_retries=0)
    desk.clients.append(plain)
    client = monitor.wrap(plain, db=desk.db, policy=[desk.pack], stream="window")
    with pytest.raises(BadRequestError):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "[[stub:400]] x"}], stream=True)
    (subcall,) = desk.subcalls()
    assert subcall.state == "failed"
    answer = client.chat.completions.create(model="m", messages=MESSAGES)  # what is no stream is judged whole
    assert answer.choices[0].message.content
    (subcall,) = desk.subcalls()
    assert (subcall.state, subcall.released) == ("ok", ())


def response_events(items: list[dict[str, Any]]) -> list[bytes]:
    """A stream of the Responses format with a delta for each word, as servers send it."""
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    details: dict[str, Any] = {"input_tokens_details": {"cached_tokens": 0}}
    details |= {"output_tokens_details": {"reasoning_tokens": 0}}
    whole = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": items}
    whole |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage | details}
    said: list[dict[str, Any]] = []
    for event in responses_stream.streamed(whole):
        one = event.json()
        if one["type"].endswith("_text.delta"):
            said += [{**one, "delta": word} for word in one["delta"].split("|") if word]
        else:
            said.append(json.loads(json.dumps(one).replace("|", "")))
    numbered = ({**one, "sequence_number": number} for number, one in enumerate(said))
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in numbered]


def items_of(thought: list[str], answer: list[str]) -> list[dict[str, Any]]:
    part = {"type": "output_text", "text": "|".join(answer), "annotations": []}
    summary = [{"type": "summary_text", "text": "|".join(thought)}]
    return [
        {"id": "rs", "type": "reasoning", "summary": summary},
        {"id": "ms", "type": "message", "role": "assistant", "status": "completed", "content": [part]},
    ]


async def _responses(desk: Desk, server: StreamServer, events: list[Any]) -> None:
    plain = AsyncOpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0)
    async with monitor.wrap(plain, db=desk.db, policy=[desk.pack], stream="window") as client:
        async for event in await client.responses.create(model="m", input="Hello", stream=True):
            events.append(event)  # noqa: PERF401 - what came before an error counts


def read_responses(desk: Desk, server: StreamServer, way: str) -> tuple[list[Any], Exception | None]:
    events: list[Any] = []
    try:
        if way == "async":
            asyncio.run(_responses(desk, server, events))
        else:
            for event in client_of(desk, server).responses.create(model="m", input="Hello", stream=True):
                events.append(event)  # noqa: PERF402 - as above
    except SubcallError as exc:
        return events, exc
    return events, None


def deltas(events: list[Any], kind: str = "response.output_text.delta") -> str:
    return "".join(event.delta for event in events if event.type == kind)


@pytest.mark.parametrize("way", WAYS)
def test_responses_come_as_they_came_without_us(desk: Desk, way: str) -> None:
    thought = "response.reasoning_summary_text.delta"
    with StreamServer(response_events(items_of(list(WORDS), LONG))) as server:
        bare = OpenAI(base_url=server.base_url, api_key="k")
        desk.clients.append(bare)
        expected = list(bare.responses.create(model="m", input="Hello", stream=True))
        events, error = read_responses(desk, server, way)
    assert error is None
    assert [(type(event), event.model_dump()) for event in events] == [(type(e), e.model_dump()) for e in expected]
    (subcall,) = desk.subcalls()
    assert (subcall.state, released(subcall, "reasoning")) == ("ok", deltas(events, thought))
    assert len(released(subcall)) > len("".join(LONG)) - 40


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["reasoning", "output"])
def test_responses_are_withheld_from_the_first_codepoint_of_a_match(desk: Desk, way: str, where: str) -> None:
    bad = [*LONG[:20], "AL", "ARM ", *LONG[20:]]
    items = items_of(bad, LONG) if where == "reasoning" else items_of(list(WORDS), bad)
    with StreamServer(response_events(items)) as server:
        events, error = read_responses(desk, server, way)
    assert isinstance(error, Blocked)
    assert f"planted_{where}" in str(error)
    kind = "response.output_text.delta" if where == "output" else "response.reasoning_summary_text.delta"
    assert "".join(LONG[:20]).startswith(deltas(events, kind))
    assert deltas(events, kind)
    (subcall,) = desk.subcalls()
    assert subcall.state == "blocked"
    assert released(subcall, where) == deltas(events, kind)


def test_responses_go_on_where_something_is_redacted(desk: Desk) -> None:
    with StreamServer(response_events(items_of(list(WORDS), [*LONG, "SEC", "RET ", *LONG]))) as server:
        events, error = read_responses(desk, server, "sync")
    assert error is None
    whole = "".join(LONG) + "██████ " + "".join(LONG)
    assert deltas(events) == whole
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert events[-1].response.output_text == whole
    for once in ("response.created", "response.completed", "response.output_text.done"):
        assert kinds.count(once) == 1
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 2
