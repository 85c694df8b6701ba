"""A server on loopback that streams what a test says, chunk by chunk, each when the test lets it go.

``with StreamServer(chunks) as server``: every POST is answered with the chunks. ``server.go(n)`` lets n more of them go,
``server.go()`` all; from the start ``freely`` lets all go at once. ``sent`` counts those that were sent, and ``was_cut`` is
set once the client has closed the connection before the last.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MANY = 1_000_000


def chat_events(deltas: Iterable[dict[str, Any]], *, finish: str = "stop", usage: bool = True) -> list[bytes]:
    """The events of a Chat Completions stream, one for each delta, then the end, the usage and ``[DONE]``."""
    head = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        counts = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        chunks.append(head | {"choices": [], "usage": counts})
    return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks), b"data: [DONE]\n\n"]


def told(*texts: str, reasoning: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The deltas of an answer that thinks first."""
    return [{"role": "assistant", "content": ""}, *({"reasoning_content": one} for one in reasoning)] + [
        {"content": text} for text in texts
    ]


class StreamServer:
    """The server; ``requests`` are the bodies that it was sent."""

    def __init__(self, chunks: Sequence[bytes], *, freely: bool = True, breaks: bool = False) -> None:
        self.chunks, self.breaks = chunks, breaks
        self.requests: list[dict[str, Any]] = []
        self.sent = 0
        self.was_cut = threading.Event()
        self._allowed = threading.Semaphore(MANY if freely else 0)
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Say nothing."""

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                server.requests.append(json.loads(self.rfile.read(size)))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    server.send(self)
                except OSError:
                    server.was_cut.set()
                    self.close_connection = True

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing of clients that went away."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        """Send the chunks to one client."""
        for chunk in self.chunks:
            self._allowed.acquire()
            handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            self.sent += 1
        if self.breaks:
            handler.close_connection = True
        else:
            handler.wfile.write(b"0\r\n\r\n")

    def go(self, count: int = MANY) -> None:
        """Let so many more chunks go."""
        self._allowed.release(count)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
