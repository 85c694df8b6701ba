"""A TCP proxy on loopback that loses a writer's connection at a chosen point of its transaction."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from types import TracebackType

BEGINS = b"pg_current_xact_id"  # in the first message of a writer's transaction, and in no other connection's
How = Literal["before", "half", "race", "after", "freeze"]


@dataclass(frozen=True, slots=True)
class Cut:
    """Which message of the client's to cut at (0 is the one that begins the transaction), and how.

    ``before`` it is forwarded; ``half`` of it is; ``race``: at once when it was forwarded; ``after`` the server has
    answered it, and without forwarding the answer; ``freeze``: it is forwarded, and nothing comes back, nor any end.
    """

    message: int
    how: How


class Proxy:
    """Forwards to a server on loopback. Each of ``cuts`` happens once, to the next transaction; then all goes through."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cuts: list[Cut] = []
        self.cut_short = 0
        self.accepts = True
        self._gate = threading.Lock()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close everything."""
        self.accepts = False
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self.accepts:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._sockets += [client, server]
                link = _Link(self, client, server)
                threading.Thread(target=link.forward, daemon=True).start()
                threading.Thread(target=link.answer, daemon=True).start()

    def next_cut(self) -> Cut | None:
        """The cut for a transaction that begins now."""
        with self._gate:
            return self.cuts.pop(0) if self.cuts else None

    def note_cut(self) -> None:
        """Count a cut that was made."""
        with self._gate:
            self.cut_short += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._swallow = threading.Event()
        self._answered = threading.Event()

    def forward(self) -> None:
        """From the client to the server, message by message: a client sends the next one when it has its answer."""
        cut: Cut | None = None
        count = 0
        with contextlib.suppress(OSError):
            while data := self._client.recv(2**20):
                if BEGINS in data:
                    cut, count = self._proxy.next_cut(), 0
                if cut and count == cut.message:
                    self._proxy.note_cut()
                    self._cut(cut.how, data)
                    if cut.how == "freeze":
                        return
                    break
                self._server.sendall(data)
                count += 1
        self._end()

    def _cut(self, how: How, data: bytes) -> None:
        if how == "before":
            return
        self._swallow.set()
        self._server.sendall(data[: len(data) // 2] if how == "half" else data)
        if how == "after":
            self._answered.wait(10)

    def answer(self) -> None:
        """From the server to the client."""
        with contextlib.suppress(OSError):
            while data := self._server.recv(2**20):
                if self._swallow.is_set():
                    self._answered.set()
                else:
                    self._client.sendall(data)
        self._answered.set()
        if not self._swallow.is_set():
            self._end()

    def _end(self) -> None:
        for one in (self._client, self._server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
