"""Answers in shapes that few servers send, and what the SDK makes of them: all that reaches the caller is judged."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI

import monitor
from monitor.adapters.openai_sdk.chat import Chat
from monitor.adapters.openai_sdk.wire import Event, read_events
from monitor.errors import Blocked, SubcallError, SubcallFailed
from monitor.records import ReasoningState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.adapters.wire_desk import Desk

ASKED: list[Any] = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def says(desk: Desk) -> Iterator[Callable[..., OpenAI]]:
    """A wrapped client of a server that answers with these bytes."""
    servers = []

    def serve(body: bytes, kind: str = "application/json", status: int = 200, **how: Any) -> OpenAI:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Say nothing."""

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        client = OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="sk-test", max_retries=0)
        desk.clients.append(client)
        return monitor.wrap(client, db=desk.db, policy=[desk.pack], **how)

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def chat(**message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x", **message}, "finish_reason": "stop"}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    ).encode()


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}


def stream(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks) + b"data: [DONE]\n\n"


def ask(client: OpenAI, **more: Any) -> Any:
    answer: Any = client.chat.completions.create(model="m", messages=ASKED, **more)
    return list(answer) if more.get("stream") else answer


@pytest.mark.parametrize("path", ["chat/completions", "/chat/completions/", "responses"])
def test_a_path_without_its_slash_is_no_way_around(says: Callable[..., OpenAI], path: str) -> None:
    part = {"type": "output_text", "text": "ALARM", "annotations": []}
    item = {"type": "message", "role": "assistant", "content": [part]}
    both = json.loads(chat(content="ALARM")) | {"status": "completed", "output": [item]}
    client = says(json.dumps(both).encode())
    with pytest.raises(Blocked, match="planted_output"):
        client.post(path, cast_to=object, body={"model": "m", "messages": ASKED, "input": "Hello"})


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "the call cannot be read", "failed_generation": "ALARM"}},
        {"error": {"message": "x"}, "detail": ["ALARM"]},
        "ALARM",
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_what_an_error_carries_beside_its_message_is_judged(
    desk: Desk, says: Callable[..., OpenAI], body: Any, *, is_stream: bool
) -> None:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    client = says(data, "text/plain" if isinstance(body, str) else "application/json", 400)
    with pytest.raises(SubcallFailed, match="planted_output") as caught:
        ask(client, stream=is_stream)
    assert "ALARM" not in str(caught.value)
    assert caught.value.__cause__ is None
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.output == "ALARM"


def test_an_error_s_message_is_judged_to_its_end(desk: Desk, says: Callable[..., OpenAI], tmp_path: Any) -> None:
    pack = (
        (tmp_path / "planted.yaml")
        .read_text(encoding="utf-8")
        .replace('"output|contains": ALARM', '"error|contains": ALARM')
    )
    (tmp_path / "planted.yaml").write_text(pack, encoding="utf-8")
    body = {"error": {"message": "x" * 3000 + " ALARM"}}
    with pytest.raises(SubcallFailed, match="planted_output"):
        ask(says(json.dumps(body).encode(), status=400))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (
            stream(chunk({"content": "AL"}), chunk({"content": "ARM"}), chunk({}, "stop")).replace(b"\n", b"\r"),
            "text/event-stream",
        ),
        (b": hello\n\n" + stream(chunk({"content": "AL"}), chunk({"content": "ARM"}), chunk({}, "stop")), "text/plain"),
        (b'{"choices": [], "note": "ALARM"}', "application/json"),
        (b"data : ALARM\n\n", "text/event-stream"),
        (
            stream(chunk({"content": "x"}, "stop")) + b"data: " + json.dumps(chunk({"content": "ALARM"})).encode(),
            "text/event-stream",
        ),
    ],
)
def test_however_a_stream_is_written_all_of_it_is_judged(says: Callable[..., OpenAI], body: bytes, kind: str) -> None:
    with pytest.raises(SubcallError, match="planted_output"):
        ask(says(body, kind), stream=True)


def test_an_answer_without_an_answer_in_it_is_judged_as_it_stands(says: Callable[..., OpenAI]) -> None:
    with pytest.raises(SubcallFailed, match="planted_output"):
        ask(says(b'{"choices": [], "note": "ALARM"}'))


def test_fields_that_are_not_known_are_judged_too(desk: Desk, says: Callable[..., OpenAI]) -> None:
    cited = {"type": "url_citation", "url_citation": {"title": "ALARM", "url": "u", "start_index": 0, "end_index": 1}}
    for message in ({"annotations": [cited]}, {"more": {"said": ["ALARM"]}}):
        with pytest.raises(Blocked, match="planted_output"):
            ask(says(chat(**message)))
    with pytest.raises(Blocked, match="planted_reasoning"):
        ask(says(chat(reasoning_content="All is well.", reasoning="ALARM")))
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.reasoning.text == "All is well.\n\nALARM"


def test_one_thought_under_two_names_is_told_once_and_a_sealed_one_is_no_absent_one() -> None:
    def heard(**message: Any) -> Any:
        return Chat().heard({"choices": [{"message": message, "finish_reason": "stop"}]})

    detail = [{"type": "reasoning.text", "text": "so"}]
    assert heard(reasoning="so", reasoning_content="so", reasoning_details=detail).reasoning == "so"
    assert heard(reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}]).state is ReasoningState.ENCRYPTED


def test_calls_of_a_stream_are_told_apart_by_index_and_by_id() -> None:
    def part(index: int, **more: Any) -> Event:
        return Event(json.dumps(chunk({"tool_calls": [{"index": index, **more}]})))

    def calls(*events: Event) -> list[tuple[str, str]]:
        heard = Chat().heard(Chat().merged(list(events)))
        return [(call.name, call.arguments) for call in heard.tool_calls]

    one = part(1, id="a", function={"name": "read", "arguments": '{"a":'})
    two = part(2, id="b", function={"name": "pay", "arguments": '{"b":'})
    ends = [part(1, function={"arguments": "1}"}), part(2, function={"arguments": "2}"})]
    assert calls(one, two, *ends) == [("read", '{"a":1}'), ("pay", '{"b":2}')]
    same = [part(0, id=name, function={"name": name, "arguments": "{}"}) for name in ("read", "pay")]
    assert calls(*same) == [("read", "{}"), ("pay", "{}")]
    again = [part(0, id="a", function={"name": "read", "arguments": "{"}), part(0, id="z", function={"arguments": "}"})]
    assert calls(*again) == [("read", "{}")]


def test_an_event_that_came_without_its_empty_line_is_read() -> None:
    assert [event.data for event in read_events(b"data: one\r\rdata: two\r\n\r\ndata: three")] == [
        "one",
        "two",
        "three",
    ]


def response(*parts: Any) -> dict[str, Any]:
    item = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": list(parts)}
    head = {"id": "r", "object": "response", "created_at": 0, "model": "m", "status": "completed", "tools": []}
    return {**head, "output": [item], "parallel_tool_calls": False, "tool_choice": "auto"}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": [], **more}


CITED = {"type": "url_citation", "title": "ALARM", "url": "u", "start_index": 0, "end_index": 1}


@pytest.mark.parametrize(
    "parts",
    [
        [text("x", annotations=[CITED])],
        [{"type": "text", "text": "ALARM"}],
        [text("x"), {"type": "new", "of": ["ALARM"]}],
    ],
)
def test_whatever_a_message_of_a_response_says_is_judged(says: Callable[..., OpenAI], parts: list[Any]) -> None:
    client = says(json.dumps(response(*parts)).encode())
    with pytest.raises(Blocked, match="planted_output"):
        client.responses.create(model="m", input="Hello")


AT = {"output_index": 0, "content_index": 0, "item_id": "m", "sequence_number": 1}
CALL = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "ALARM", "status": "in_progress"}


@pytest.mark.parametrize(
    ("event", "caught"),
    [
        ({"type": "response.output_text.done", **AT, "text": "ALARM", "logprobs": []}, "output"),
        ({"type": "response.content_part.done", **AT, "part": text("ALARM")}, "output"),
        ({"type": "response.output_text.annotation.added", **AT, "annotation": CITED, "annotation_index": 0}, "output"),
        ({"type": "response.created", "response": response(text("ALARM")), "sequence_number": 0}, "output"),
        ({"type": "response.completed", "response": response(text("ALARM")), "sequence_number": 0}, "output"),
        ({"type": "response.reasoning_text.done", **AT, "text": "ALARM"}, "reasoning"),
        ({"type": "response.function_call_arguments.done", **AT, "arguments": "ALARM", "name": "f"}, "arguments"),
        ({"type": "response.output_item.added", **AT, "item": CALL}, "arguments"),
        ({"type": "response.news", "said": {"of": ["ALARM"]}, "sequence_number": 1}, "output"),
    ],
)
def test_what_a_stream_says_on_its_way_is_judged(
    says: Callable[..., OpenAI], event: dict[str, Any], caught: str
) -> None:
    events = [event, {"type": "response.completed", "response": response(text("Fine.")), "sequence_number": 2}]
    body = b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)
    with pytest.raises(Blocked, match=f"planted_{caught}"):
        list(says(body, "text/event-stream").responses.create(model="m", input="Hello", stream=True))


def test_where_a_citation_is_left_out_the_texts_stay_in_their_places(says: Callable[..., OpenAI]) -> None:
    parts = [text("A SECRET.", annotations=[{**CITED, "title": "SECRET"}]), text("Two.")]
    answer = says(json.dumps(response(*parts)).encode()).responses.create(model="m", input="Hello")
    assert [part.text for part in answer.output[0].content] == ["A ██████.", "Two."]  # type: ignore[union-attr]
    assert "SECRET" not in answer.model_dump_json()
    cited = {"annotations": [{"type": "url_citation", "url_citation": {"title": "SECRET", "url": "u"}}]}
    assert ask(says(chat(content="A SECRET.", **cited))).choices[0].message.content == "A ██████."
