"""A stand-in for an OpenAI-compatible server on loopback: real HTTP, invented answers, planted faults.

In a test: ``with OpenAIStub() as stub: ... stub.base_url ... stub.requests``. As a process of its own, which outlives
a client that is killed: ``python tests/stubs/openai_stub.py --port 0 --log calls.jsonl``; its first line of output is
the base URL, and it serves until it is ended or has not been asked anything for ten minutes (``--idle``).

It speaks Chat Completions and Responses. An answer is a pure function of the messages, the seed and the schema asked for,
so a resumed run can be compared with an undisturbed one. Each request is logged before it is answered: one JSON line with
``key`` (SHA-256 of messages and seed), ``hash`` (of the messages alone), ``seed``, ``stream``, ``model`` and ``modes``.

What should go wrong is said by markers in the last user message, ``[[stub:NAME]]`` or ``[[stub:NAME=VALUE]]``, by the
header ``X-Stub: NAME,NAME=VALUE``, or for every request by ``OpenAIStub(modes={...})`` and ``--mode NAME=VALUE``:

====================  ==============================================================================================
``400`` ... ``599``   that HTTP status with an error body
``echo-key``          error (401 unless a status is given) that repeats the Authorization header in body and headers
``times=N``           the fault is planted only in the first N requests with the same key
``delay=SECONDS``     wait before answering
``hang``              half of the answer, then silence
``cut``               half of the answer, then the connection is closed; ``cut-before``: not a byte of answer
``malformed``         a response that is not JSON; ``bad-json``: a proper response whose content is not JSON
``hostile``           lone surrogates, NUL, NaN, 2^63, right-to-left and combining text in every string
``big=BYTES``         an answer of that many bytes
``over``              reports far more tokens than were sent and allowed; ``no-usage``: reports none
``ignore-stream``     answers in one piece although a stream was asked for; ``no-stream``: refuses streams with 400
``no-stream-options`` refuses ``stream_options`` with 400
``tool``              calls the first tool offered; ``bad-tool``: with arguments that are not JSON
``reasoning=TEXT``    sends ``reasoning_content`` with TEXT in it; ``refusal``: refuses in the ``refusal`` field
``say=TEXT``          answers TEXT word for word; ``cached``: reports half of the prompt as read from a cache
====================  ==============================================================================================
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: let it find its neighbour by the name that tests use
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.stubs import responses_format
from tests.stubs.schema_filler import WORDS, SchemaFiller, digest

HOSTILE = "lone \ud800 and \udfff, nul \0, NaN, 9223372036854775808, \u202eright to left\u202c שלום, e\u0301\u0327 ␛"
BYTES_PER_TOKEN = 4
MAX_PIECES = 16
FAULTS = {"echo-key", "delay", "hang", "cut", "cut-before", "malformed", "bad-json", "over", "no-usage", "bad-tool"}


@dataclass(frozen=True)
class StubRequest:
    """One request as it came in; the names of its headers are in lower case."""

    body: dict[str, Any]
    headers: dict[str, str]
    modes: dict[str, str]
    key: str


@dataclass
class Answer:
    """What the stub says to one request."""

    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = "stop"
    usage: dict[str, Any] | None = None


def read_modes(text: str) -> dict[str, str]:
    """The markers ``[[stub:NAME=VALUE]]`` of a text."""
    modes = {}
    for piece in text.split("[[stub:")[1:]:
        name, _, value = piece.partition("]]")[0].partition("=")
        modes[name.strip()] = value
    return modes


def answer(request: StubRequest) -> Answer:
    """The answer to a request: a pure function of it."""
    body, modes = request.body, request.modes
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    suffix = HOSTILE if "hostile" in modes else ""
    reply = Answer()
    tools = body.get("tools") or []
    if tools and {"tool", "bad-tool"} & modes.keys():
        function = tools[0]["function"]
        arguments = json.dumps(SchemaFiller(function.get("parameters") or {}, request.key, suffix=suffix).fill())
        arguments = '{"unfinished": "' if "bad-tool" in modes else arguments
        call = {"name": function["name"], "arguments": arguments}
        reply.tool_calls = [{"id": f"call_{request.key[:8]}", "type": "function", "function": call}]
        reply.finish_reason = "tool_calls"
    elif "say" in modes:
        reply.content = modes["say"]
    elif "refusal" in modes:
        reply.refusal = "I cannot help with that."
    elif "bad-json" in modes:
        reply.content = '{"answer": "unfinished'
    elif schema is not None:
        reply.content = json.dumps(SchemaFiller(schema, digest(request.key, schema), suffix=suffix).fill())
    else:
        reply.content = SchemaFiller({"type": "string", "maxLength": 10**6}, request.key, suffix=suffix).fill()
    if "big" in modes:
        reply.content = (reply.content + " ") * (int(modes["big"]) // (len(reply.content) + 1) + 1)
    if "reasoning" in modes:
        word = modes["reasoning"] or WORDS[int(request.key[:4], 16) % len(WORDS)]
        reply.reasoning = f"First I think of {word}. {suffix}"
    _limit(reply, body, modes)
    return reply


def _limit(reply: Answer, body: dict[str, Any], modes: dict[str, str]) -> None:
    """Cut the answer to the tokens allowed and count, unless the mode is one that does not care."""
    allowed = body.get("max_completion_tokens") or body.get("max_tokens") or 10**9
    if not {"big", "hostile", "over"} & modes.keys() and len(reply.content) > allowed * BYTES_PER_TOKEN:
        reply.content, reply.finish_reason = reply.content[: allowed * BYTES_PER_TOKEN], "length"
    if "no-usage" in modes:
        return
    factor = 1000 if "over" in modes else 1
    prompt = factor * (len(json.dumps(body["messages"])) // BYTES_PER_TOKEN + 1)
    said = len(reply.content) + len(reply.reasoning) + sum(len(c["function"]["arguments"]) for c in reply.tool_calls)
    output = factor * (min(allowed, said // BYTES_PER_TOKEN + 1) if factor == 1 else allowed)
    reply.usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": prompt // 2 if "cached" in modes else 0},
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def do_GET(self) -> None:
        self._json(200, {"object": "list", "data": [{"id": "stub", "object": "model"}]})

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        except (ConnectionError, ValueError):  # the client was killed while it was asking
            self.close_connection = True
            return
        is_responses = self.path.endswith("/responses")
        if is_responses:
            body = responses_format.as_chat(body)
        elif not self.path.endswith("/chat/completions"):
            self._json(404, {"error": {"message": f"no such path: {self.path}"}})
            return
        request = self.server.stub.take(body, {name.lower(): value for name, value in self.headers.items()})
        modes = request.modes
        self.server.stub.closing.wait(float(modes.get("delay", 0)))
        if not self._failed_at_once(modes, body):
            reply = answer(request)
            if is_responses:
                self._responses(responses_format.payload(reply, body), modes, is_stream=bool(body.get("stream")))
            elif body.get("stream") and "ignore-stream" not in modes:
                self._stream(reply, modes, body)
            else:
                self._whole(reply, modes, body)

    def _failed_at_once(self, modes: dict[str, str], body: dict[str, Any]) -> bool:
        status = next((int(mode) for mode in modes if mode.isdigit()), 401 if "echo-key" in modes else 0)
        said = f"planted {status}"
        if body.get("stream") and "no-stream" in modes:
            status, said = 400, "stream is not supported"
        if "stream_options" in body and "no-stream-options" in modes:
            status, said = 400, "unknown field: stream_options"
        if status:
            key = self.headers.get("Authorization", "") if "echo-key" in modes else ""
            error = {"message": f"{said} {key}", "type": "stub", "code": f"stub {key}", "param": None}
            self._json(status, {"error": error}, {"X-Echo": key} if key else {})
        elif "cut-before" in modes:
            self._cut()
        elif "malformed" in modes:
            kind = "text/event-stream" if body.get("stream") else "application/json"
            self._send(200, kind, b'data: {"choices": [{"delta": {"con\n\n')
        else:
            return False
        return True

    def _whole(self, reply: Answer, modes: dict[str, str], body: dict[str, Any]) -> None:
        message: dict[str, Any] = {"role": "assistant", "content": reply.content or None}
        extras = {"reasoning_content": reply.reasoning, "refusal": reply.refusal, "tool_calls": reply.tool_calls}
        message |= {name: value for name, value in extras.items() if value}
        choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
        payload = {**self._head(body, "chat.completion"), "choices": [choice], "usage": reply.usage}
        if "hang" in modes:
            self.server.stub.closing.wait()
        elif "cut" in modes:
            data = json.dumps(payload).encode()
            self._start(200, "application/json", {"Content-Length": str(len(data))})
            self.wfile.write(data[: len(data) // 2])
            self._cut()
        else:
            self._json(200, payload)

    def _stream(self, reply: Answer, modes: dict[str, str], body: dict[str, Any]) -> None:
        deltas = self._deltas(reply)
        head = self._head(body, "chat.completion.chunk")
        self._start(200, "text/event-stream", {"Transfer-Encoding": "chunked"})
        for index, delta in enumerate(deltas):
            if index >= len(deltas) // 2 and "hang" in modes:
                self.server.stub.closing.wait()
            if index >= len(deltas) // 2 and {"hang", "cut"} & modes.keys():
                self._cut()
                return
            self._event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        self._event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}]})
        if reply.usage and (body.get("stream_options") or {}).get("include_usage"):
            self._event({**head, "choices": [], "usage": reply.usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _responses(self, payload: dict[str, Any], modes: dict[str, str], *, is_stream: bool) -> None:
        events = list(responses_format.events(payload)) if is_stream else []
        data = b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
        data = data or json.dumps(payload).encode()
        kind = "text/event-stream" if is_stream else "application/json"
        self._start(200, kind, {"Content-Length": str(len(data))})
        is_cut = bool({"cut", "hang"} & modes.keys())
        self.wfile.write(data[: len(data) // 2] if is_cut else data)
        if "hang" in modes:
            self.server.stub.closing.wait()
        if is_cut:
            self._cut()

    @staticmethod
    def _deltas(reply: Answer) -> list[dict[str, Any]]:
        def pieces(text: str) -> list[str]:
            size = max(1, -(-len(text) // MAX_PIECES))
            return [text[start : start + size] for start in range(0, len(text), size)]

        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": piece} for piece in pieces(reply.reasoning)]
        deltas += [{"refusal": piece} for piece in pieces(reply.refusal)]
        deltas += [{"content": piece} for piece in pieces(reply.content)]
        for index, call in enumerate(reply.tool_calls):
            start = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
            deltas.append({"tool_calls": [start]})
            arguments = pieces(call["function"]["arguments"])
            deltas += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in arguments]
        return deltas

    @staticmethod
    def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-stub", "object": kind, "created": 0, "model": f"stub:{body.get('model')}"}

    def _start(self, status: int, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, kind: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        self._start(status, kind, {**(headers or {}), "Content-Length": str(len(data))})
        self.wfile.write(data)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, "application/json", json.dumps(value).encode(), headers)

    def _event(self, value: Any) -> None:
        self._chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):  # the client may have gone first
            self.connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    stub: OpenAIStub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what many tests are about; anything else is a fault of the stub."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class OpenAIStub:
    """The server. ``requests`` has all requests in the order of their arrival; ``base_url`` ends in ``/v1``."""

    def __init__(self, *, port: int = 0, log: Path | None = None, modes: dict[str, str] | None = None) -> None:
        self.requests: list[StubRequest] = []
        self.closing = threading.Event()
        self.modes = modes or {}
        self.last_asked = time.monotonic()
        self._log = log
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.stub = self
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> OpenAIStub:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> StubRequest:
        """Log a request. Its ``modes`` are those asked for, less the faults whose ``times`` are over."""
        messages = body["messages"]
        users = [m["content"] for m in messages if m["role"] == "user" and isinstance(m["content"], str)]
        asked = "".join(f"[[stub:{mode}]]" for mode in headers.get("x-stub", "").split(",") if mode)
        modes = {**self.modes, **read_modes(asked), **read_modes(users[-1] if users else "")}
        key = digest(messages, body.get("seed"))
        with self._lock:
            seen = sum(earlier.key == key for earlier in self.requests) if "times" in modes else 0
            if seen >= int(modes.get("times", 1)):
                modes = {name: value for name, value in modes.items() if name not in FAULTS and not name.isdigit()}
            request = StubRequest(body, headers, modes, key)
            self.requests.append(request)
            if self._log:
                with self._log.open("ab", buffering=0) as file:
                    file.write(json.dumps(self._log_line(request)).encode() + b"\n")
        return request

    @staticmethod
    def _log_line(request: StubRequest) -> dict[str, Any]:
        body = request.body
        asked = {"seed": body.get("seed"), "stream": bool(body.get("stream")), "model": body.get("model")}
        hashes = {"key": request.key, "hash": digest(body["messages"])}
        return {**hashes, **asked, "modes": request.modes, "at": time.time()}


def main() -> None:
    """Serve until the process is ended or idle: no test that dies leaves a server behind for ever."""
    parser = argparse.ArgumentParser(description="A stand-in for an OpenAI-compatible server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--mode", action="append", default=[], metavar="NAME[=VALUE]")
    parser.add_argument("--idle", type=float, default=600.0, help="seconds without a request after which it ends")
    options = parser.parse_args()
    modes = read_modes("".join(f"[[stub:{mode}]]" for mode in options.mode))
    with OpenAIStub(port=options.port, log=options.log, modes=modes) as stub:
        print(stub.base_url, flush=True)
        while time.monotonic() - stub.last_asked < options.idle:
            time.sleep(0.5)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
