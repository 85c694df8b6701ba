"""The server: a socket, the answers, and beside them a thread that records.

The thread has a loop of its own, so that a slow store or a long check holds up no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import signal
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.adapters.serve.recording import Patience, Recorded, Recorder
from monitor.errors import ConfigError
from monitor.store import Store, without_password
from monitor.store.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from monitor.adapters.serve.app import Receiver
    from monitor.loaded import LoadedChecks

_GRACE_SECONDS = 10  # for requests that are under way when the server ends
_LOOK_SECONDS = 0.02
_NEEDED = (
    "starlette",
    "uvicorn",
    "google.protobuf",
    "google.rpc.status_pb2",
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
)
_HINT = 'pip install "factored-monitor[serve]"'


@dataclass(frozen=True, slots=True)
class Place:
    """Where is listened, who may send, and where what came is kept until it is recorded."""

    host: str
    port: int
    inbox: Path
    token: str = field(default="", repr=False)
    inbox_bytes: int = 512 * 2**20
    patience: Patience = field(default_factory=Patience)


def require_installed() -> None:
    """Raises ConfigError where the packages of the extra ``serve`` are not installed."""
    try:
        for name in _NEEDED:
            importlib.import_module(name)
    except ImportError as exc:
        raise ConfigError(f"`monitor serve` needs {exc.name}, which is not installed: {_HINT}") from exc


def listen(place: Place) -> socket.socket:
    """A socket that listens; ``port`` 0 is any that is free.

    Raises ConfigError: the address cannot be had, or others than this machine reach it and there is no token.
    """
    if not place.token and not is_loopback(place.host):
        raise ConfigError(
            f"--host {place.host}: other machines reach it, so a token is needed: set MONITOR_SERVE_TOKEN (or serve_token "
            "in monitor.toml), or listen on 127.0.0.1"
        )
    try:
        family = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((place.host, place.port), family=family, backlog=256)
    except (OSError, OverflowError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise ConfigError(f"cannot listen on {place.host}, port {place.port}: {why}") from exc


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


class Serving:
    """One server; ``run`` it once. ``told`` hears, in a thread, what was recorded."""

    def __init__(self, place: Place, store: Store, checks: LoadedChecks, told: Callable[[Recorded], None]) -> None:
        self._place, self._store, self._checks, self._told = place, store, checks, told
        self._failure: Exception | None = None
        self._is_abandoned = False

    async def run(self, listening: socket.socket, ready: Callable[[], None]) -> tuple[int, int]:
        """Serve until a signal asks to end, then record what was accepted; a second one leaves that to the next start.

        ``ready`` is called when requests are answered. Returns how many spans are left in the inbox: those that wait,
        and those that have not ended.

        Raises:
            StoreError: what was accepted could not all be recorded; it is in the inbox.
            ConfigError: the inbox is another process's or another store's.
            asyncio.CancelledError: there was a second signal.
        """
        from monitor.adapters.serve.app import Receiver  # noqa: PLC0415 - of the extra `serve`

        place = self._place
        owner = without_password(self._store.url)
        with Inbox(place.inbox, owner=owner, max_bytes=place.inbox_bytes) as inbox:
            recorder = Recorder(inbox, self._store, self._checks, patience=place.patience, told=self._told)
            receiver = Receiver(inbox, token=place.token, settle_seconds=place.patience.settle)
            with _signals() as asked:
                ended, thread = self._recording(recorder, asked)
                try:
                    await self._answer(receiver, listening, ready, asked)
                finally:
                    ended()
                await _until(lambda: asked.again or not thread.is_alive())
            if thread.is_alive():
                self._is_abandoned = True
                raise asyncio.CancelledError
            if self._failure:
                raise self._failure
            return inbox.waiting()

    def _recording(self, recorder: Recorder, asked: _Asked) -> tuple[Callable[[], None], threading.Thread]:
        """Start to record; returns what ends it. If it breaks, the server is asked to end."""
        here = asyncio.get_running_loop()
        started = threading.Event()
        loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

        async def record() -> None:
            ended = asyncio.Event()
            loops.append((asyncio.get_running_loop(), ended))
            started.set()
            await recorder.run(ended)

        def work() -> None:
            try:
                asyncio.run(record())
            except Exception as exc:  # noqa: BLE001 - raised where the server runs
                if not self._is_abandoned:
                    self._failure = exc
                    here.call_soon_threadsafe(asked.set)

        def end() -> None:
            loop, ended = loops[0]
            with contextlib.suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(ended.set)

        thread = threading.Thread(target=work, name="monitor-recording", daemon=True)
        thread.start()
        started.wait()
        return end, thread

    async def _answer(
        self, receiver: Receiver, listening: socket.socket, ready: Callable[[], None], asked: _Asked
    ) -> None:
        import uvicorn  # noqa: PLC0415 - of the extra `serve`

        class Quiet(uvicorn.Server):
            """Leaves signals to us: uvicorn would end the process with them before what was accepted is recorded."""

            @contextlib.contextmanager
            def capture_signals(self) -> Generator[None, None, None]:
                yield

        config = uvicorn.Config(
            receiver.app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        server = Quiet(config)
        answering = asyncio.ensure_future(server.serve([listening]))
        await _until(lambda: server.started or answering.done())
        if server.started:
            ready()
        waiting = asyncio.ensure_future(asked.wait())
        await asyncio.wait({answering, waiting}, return_when=asyncio.FIRST_COMPLETED)
        receiver.is_closing = True
        server.should_exit = True
        waiting.cancel()
        await answering


async def _until(is_so: Callable[[], bool]) -> None:
    """Wait for what sets no event: another thread's end, or uvicorn's start."""
    while not is_so():  # noqa: ASYNC110 - as above
        await asyncio.sleep(_LOOK_SECONDS)


class _Asked(asyncio.Event):
    """Set by the first signal; ``again`` is true after the second."""

    again = False


@contextlib.contextmanager
def _signals() -> Iterator[_Asked]:
    loop, asked = asyncio.get_running_loop(), _Asked()

    def heard() -> None:
        asked.again = asked.is_set()
        asked.set()

    heeded = [
        one for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN
    ]
    for one in heeded:
        loop.add_signal_handler(one, heard)
    try:
        yield asked
    finally:
        for one in heeded:
            loop.remove_signal_handler(one)
