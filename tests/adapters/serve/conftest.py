"""A real ``monitor serve`` in a process of its own, and senders of spans."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.records import StoredRun, StoredSubcall

pytest.importorskip("opentelemetry.proto", reason="the extra `serve` is not installed")
ROOT = Path(__file__).parents[3]
JSON, PROTOBUF = "application/json", "application/x-protobuf"
END_SECONDS = 60


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """``monitor serve`` on a port of its own, and its log."""

    def __init__(self, db: str, folder: Path, *options: str, **environment: str) -> None:
        self.db, self._folder = db, folder
        command = [sys.executable, "-m", "monitor", "serve", "--json", "--db", db, "--port", "0", *options]
        self._errors = (folder / "serve.err").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.log: list[dict[str, Any]] = []
        self.url = self.read("listening")["url"]

    def read(self, event: str) -> dict[str, Any]:
        """The next line of the log that is of this kind."""
        assert self.process.stdout
        watch = threading.Timer(
            END_SECONDS, self.process.kill
        )  # a server that never says it must not hold up the suite
        watch.start()
        try:
            for line in self.process.stdout:
                self.log.append(json.loads(line))
                if self.log[-1]["event"] == event:
                    return self.log[-1]
        finally:
            watch.cancel()
        raise AssertionError(f"it ended before {event}: {self.log}; {self.errors}")

    @property
    def errors(self) -> str:
        return (self._folder / "serve.err").read_text("utf-8")

    def send(
        self,
        body: bytes | str | dict[str, Any],
        *,
        kind: str = JSON,
        path: str = "/v1/traces",
        coding: str = "",
        **headers: str,
    ) -> Answer:
        """Post a body, by default JSON."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
        if coding == "gzip":
            data = gzip.compress(data)
        given = {"Content-Type": kind, **({"Content-Encoding": coding} if coding else {}), **headers}
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=END_SECONDS)
        try:
            connection.request("POST", path, data, given)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; returns its exit code, when all of its log is read."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        assert self.process.stdout
        watch = threading.Timer(END_SECONDS, self.process.kill)
        watch.start()
        self.log += [json.loads(line) for line in self.process.stdout]
        watch.cancel()
        code = self.process.wait(END_SECONDS)
        self._close()
        return code

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(END_SECONDS)
        self._close()

    def _close(self) -> None:
        assert self.process.stdout
        self.process.stdout.close()
        self._errors.close()

    def runs(self) -> list[StoredRun]:
        with Store.open(self.db, create=False) as store:
            return store.runs()

    def subcalls(self, run_id: str = "") -> list[StoredSubcall]:
        """Those of one run, by default of the only one."""
        with Store.open(self.db, create=False) as store:
            if not run_id:
                (run,) = store.runs()
                run_id = run.start.run_id
            return store.subcalls(run_id)


def refused(*options: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start a server that does not start."""
    return subprocess.run(
        [sys.executable, "-m", "monitor", "serve", "--port", "0", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
    )


@pytest.fixture
def serve(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start a server; options are those of the command. Where none says so, a trace settles at once."""
    started: list[Served] = []

    def start(*options: str, db: str = "", **environment: str) -> Served:
        options = options if "--settle" in options else (*options, "--settle", "0.1")
        started.append(Served(db or new_database(), tmp_path, *options, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()
        elif not one.process.stdout or not one.process.stdout.closed:
            one.end()
