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
