r"""What each wrap adds to a call, beside the same commits made raw and beside Langfuse, OpenTelemetry and MLflow.

    python3 -m venv peers
    peers/bin/pip install -e .[agents,langchain,models] langfuse mlflow \
        opentelemetry-exporter-otlp-proto-http opentelemetry-instrumentation-openai-v2 opentelemetry-util-genai==1.1b0
    peers/bin/python bench/wraps.py [--turns 100] [--batch 4] [--json] [--no-peers]

Each family of ours, with its bare call and its raw commits, and each peer is a process of its own (``wraps_worker.py``),
for some change the SDK for the whole process. They take turns of a few calls, in an order that changes with every turn,
against one stub server on loopback.

bare        the client or framework alone
inside      ours, in one observed run that is open all the while: three commits for each call (started, observed, judged)
own         ours, each call a run of its own: two more (the run's start and end)
raw         the very rows that ours wrote, in as many commits, made around a bare call by nothing but SQLite
            (``journal_mode=WAL``, ``synchronous=FULL``, the write-ahead log as long as it gets beforehand); timed are
            the commits alone
peers       as their documentation says to set them up, messages and answers recorded: Langfuse and OpenTelemetry send to a
            sink on loopback, MLflow stores in SQLite

What is added is a contender's time minus that of the bare turn beside it. What is durable is measured by killing a process
(SIGKILL) when its last call has returned, and looking for the texts of its calls in the store or at the sink; and, to see
that they are found at all, by letting one end as any program does.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.monitor_overhead import ANSWER, ROOT, RULES, first_rules
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

FAMILIES = ("chat", "chat-async", "responses", "responses-async", "middleware", "callback", "agents-sdk")
PEERS = ("langfuse", "opentelemetry", "mlflow")
KILLED_AFTER = 200


# ------------------------------------------------------------------------------------------------------ the parent


class Child:
    """A worker, as the parent has it."""

    def __init__(self, family: str, kind: str, folder: Path, base_url: str) -> None:
        self.family, self.kind = family, kind
        self.ways = ("bare", "raw-inside", "inside", "raw-own", "own") if kind == "family" else (kind,)
        command = [
            sys.executable,
            str(Path(__file__).with_name("wraps_worker.py")),
            family,
            kind,
            str(folder),
            base_url,
        ]
        said = (folder / f"{family}-{kind}.log").open("w")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, text=True, cwd=folder)

    def answer(self) -> str:
        """The next line that is for us. Raises RuntimeError where the worker ended."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(("ready", "[")):
                return line
        raise RuntimeError(f"the worker {self.family} {self.kind} ended: {self.process.wait()}; see its log")

    def ask(self, what: str, count: int = 0) -> list[float]:
        """Have it do something."""
        assert self.process.stdin is not None
        print(what, count, file=self.process.stdin, flush=True)
        return list(json.loads(self.answer()))

    def last(self, how: str, count: int) -> None:
        """Have it make calls and, when the last one has returned, be killed (``die``) or end by itself (``end``)."""
        assert self.process.stdin is not None
        print(how, count, file=self.process.stdin, flush=True)
        self.process.wait()

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def measure(children: list[Child], turns: int, batch: int, say: Callable[[str], None]) -> Any:
    """Times of each (family, way), turn by turn: the mean of a turn's calls."""
    say("warming up, and recording the rows that are written raw afterwards")
    for child in children:
        child.answer()
    for child in children:
        for way in child.ways:
            if not way.startswith("raw"):
                child.ask(way, turns * batch if way in {"inside", "own"} else 20)
    for child in children:
        if child.kind == "family":
            child.ask("rows")
    plans = [(child, way) for child in children for way in child.ways]
    times: dict[tuple[str, str], list[float]] = {(child.family, way): [] for child, way in plans}
    for turn in range(turns):
        if turn % 10 == 0:
            say(f"turn {turn} of {turns}")
        shift = turn * 7 % len(plans)
        for child, way in plans[shift:] + plans[:shift]:
            times[child.family, way].append(statistics.fmean(child.ask(way, batch)))
    return times


def durable(folder: Path, peers: tuple[str, ...], base_url: str, received: Path, how: str) -> dict[str, int]:
    """How many of the calls of a process that was killed when the last one had returned can be found; or that ended."""
    found: dict[str, int] = {}
    for kind in ("family", *peers):
        place = folder / f"{how}-{kind}"
        place.mkdir()
        (place / "twelve.yaml").write_text((folder / "twelve.yaml").read_text())
        for old in received.iterdir():
            old.unlink()
        child = Child("chat", kind, place, base_url)
        child.answer()
        child.last(how, KILLED_AFTER)
        time.sleep(1)  # what was sent already arrives
        if kind == "family":
            found |= {f"ours, {way}": judged(place / f"chat-{way}.db") for way in ("inside", "own")}
            continue
        where = [place / "mlflow.db", place / "mlflow.db-wal"] if kind == "mlflow" else sorted(received.iterdir())
        kept = b"".join(path.read_bytes() for path in where if path.exists())
        marks = (f"chat-{kind}-{number:06d}".encode() for number in range(1, KILLED_AFTER + 1))
        found[kind] = sum(mark in kept for mark in marks)
    return found


def judged(db: Path) -> int:
    """How many subcalls in the store have their verdict."""
    with Store.open(str(db), create=False) as store:
        return sum(call.judgement is not None for run in store.runs() for call in store.subcalls(run.start.run_id))


def sink(folder: Path) -> None:
    """Take whatever is sent, keep it in files, and say that all is well; the first line of output is the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            (folder / f"{time.monotonic_ns()}").write_bytes(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def started(*command: str) -> tuple[subprocess.Popen[str], str]:
    """A server in a process of its own, and its address."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


# ------------------------------------------------------------------------------------------------------- the report


def added(times: Any, family: str, way: str) -> list[float]:
    """What a way adds to the bare call, turn by turn."""
    return [mine - bare for mine, bare in zip(times[family, way], times[family, "bare"], strict=True)]


def spread(values: list[float]) -> str:
    """Median and mean."""
    return f"{statistics.median(values):6.2f} {statistics.fmean(values):6.2f}"


def report(times: Any, kept: dict[str, dict[str, int]], peers: tuple[str, ...], load: str) -> None:
    """Print all as tables."""
    print(f"milliseconds added to a call, median and mean over turns; load {load}")
    titles = f"{'inside a run':^13} {'raw':^13} {'ratio':>5}  {'own run':^13} {'raw':^13} {'ratio':>5}"
    print(f"{'':16} {'bare':>7}  {titles}")
    for family in FAMILIES:
        line = f"{family:16} {statistics.median(times[family, 'bare']):7.2f}"
        for way in ("inside", "own"):
            mine, raw = added(times, family, way), times[family, f"raw-{way}"]
            line += f"  {spread(mine)} {spread(raw)}  {sum(mine) / sum(raw):4.2f}"
        print(line)
    print(
        "\nChat Completions, added; calls found of a process that was killed when the last returned; of one that ended"
    )
    for way, name in (("inside", "ours, inside"), ("own", "ours, own"), *((peer, peer) for peer in peers)):
        print(f"{name:16} {spread(added(times, 'chat', way))} {kept['die'][name]:5} {kept['end'][name]:5}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--sink", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.sink:
        sink(Path(asked.sink))
        return
    peers = () if asked.no_peers else PEERS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        received = folder / "received"
        received.mkdir()
        stub, base_url = started(str(ROOT / "tests/stubs/openai_stub.py"), "--port", "0", "--mode", f"say={ANSWER}")
        taking, os.environ["BENCH_SINK"] = started(__file__, "--sink", str(received))
        try:
            before = os.getloadavg()[0]
            (folder / "twelve.yaml").write_text(first_rules(ROOT / "policies/oversight.yaml", RULES))
            contenders = [(family, "family") for family in FAMILIES]
            contenders += [("chat", peer) for peer in peers]
            children = [Child(family, kind, folder, base_url) for family, kind in contenders]
            try:
                times = measure(children, asked.turns, asked.batch, lambda text: print(text, file=sys.stderr))
            finally:
                for child in children:
                    child.end()
            load = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores"
            print("killing a process of each, and letting one end", file=sys.stderr)
            kept = {how: durable(folder, peers, base_url, received, how) for how in ("die", "end")}
        finally:
            for process in (stub, taking):
                process.kill()
                process.wait()
    if asked.json:
        rows = [{"family": family, "way": way, "ms": found} for (family, way), found in times.items()]
        print(json.dumps({"load": load, "times": rows, "found": kept}, indent=2))
        return
    report(times, kept, peers, load)


if __name__ == "__main__":
    main()
